"""What the tests of the switch adapter share: captures of a real switch, trackers, and legs told in a line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rater.calls.signals import Answered, Attempted, Dialled, Direction, Ended, KnownLeg, Mode, Signal
from rater.catalog.model import SwitchRules, Trunk
from rater.ids import CallId, LegId, SwitchId, TrunkId
from rater.switch.ami_parse import Frame
from rater.switch.capture import read_header, read_stream
from rater.switch.frames import frame_parser
from rater.switch.resync import resync
from rater.switch.tracker import Tracker

CAPTURES = Path(__file__).parent / "captures"
LAB = SwitchId("lab")
TRUNKS = (
    Trunk(TrunkId("trunk"), None, "PJSIP/trunk-*"),
    Trunk(TrunkId("trunk2"), None, "PJSIP/trunk2-*"),
)


def capture_names() -> list[str]:
    return sorted(path.stem for path in CAPTURES.glob("*.ami"))


def capture_bytes(name: str) -> bytes:
    """The stream, without the header line."""
    path = CAPTURES / f"{name}.ami"
    return b"".join(read_stream(path, read_header(path)[1]))


def capture_frames(name: str) -> list[Frame]:
    return frame_parser().feed(capture_bytes(name))


def capture_events(name: str) -> list[Frame]:
    """The events behind the list of channels."""
    return [f for f in capture_frames(name) if "Event" in f and not f["Event"].startswith("CoreShow")]


def new_tracker(boot: str = "b", mode: Mode = Mode.WATCH) -> Tracker:
    tracker = Tracker(LAB, boot, SwitchRules(LAB), TRUNKS, mode)
    tracker.connected(0)
    return tracker


def feed(tracker: Tracker, frames: list[Frame], arrived_ns: int = 1) -> list[Signal]:
    return [signal for frame in frames for signal in tracker.feed(frame, arrived_ns)]


def first_list(
    tracker: Tracker, listing: list[Frame], known: list[KnownLeg] | None = None, at_ms: int = 5_000
) -> list[Signal]:
    """The resync of a connection that has just come up."""
    return resync(tracker, listing, known or [], at_ms, asked_ns=10, arrived_ns=20, initial=True)


def later_list(
    tracker: Tracker, listing: list[Frame], known: list[KnownLeg], at_ms: int, *, asked_ns: int
) -> list[Signal]:
    """A resync while the connection is up."""
    return resync(tracker, listing, known, at_ms, asked_ns=asked_ns, arrived_ns=asked_ns + 1, initial=False)


@dataclass
class Told:
    """What the signals told of one leg."""

    attempted: Attempted
    dialled: Dialled | None = None
    answered: Answered | None = None
    ended: Ended | None = None

    def __str__(self) -> str:
        """``watch out ACC1001/1001 +33123456789 trunk answered 16 1.5s``"""
        a = self.attempted
        payer = "/".join(filter(None, (a.payer.account_code, a.payer.endpoint, a.payer.variable)))
        parts = [a.mode.value, a.direction.value, payer or "nobody", a.number or "-"]
        parts.append(self.dialled.trunk if self.dialled is not None else "undialled")
        if self.ended is None:
            return " ".join([*parts, "alive"])
        parts += [self.ended.disposition.value, str(self.ended.cause)]
        if self.answered is not None:
            parts.append(f"{(self.ended.at_ms - self.answered.at_ms) / 1000:.1f}s")
        return " ".join(parts)


def told(signals: list[Signal]) -> dict[LegId, Told]:
    """The legs in order of their attempts. Fails when a signal comes twice, or before the attempt."""
    legs: dict[LegId, Told] = {}
    for signal in signals:
        if isinstance(signal, Attempted):
            assert signal.leg not in legs, f"{signal.leg} attempted twice"
            legs[signal.leg] = Told(signal)
            continue
        leg = legs[signal.leg]
        if isinstance(signal, Dialled):
            assert leg.dialled is None, f"{signal.leg} dialled twice"
            leg.dialled = signal
        elif isinstance(signal, Answered):
            assert leg.answered is None, f"{signal.leg} answered twice"
            leg.answered = signal
        elif isinstance(signal, Ended):
            assert leg.ended is None, f"{signal.leg} ended twice"
            leg.ended = signal
    return legs


def lines(signals: list[Signal]) -> list[str]:
    return [str(leg) for leg in told(signals).values()]


# -- frames made by hand -------------------------------------------------------------------------------------------

_NAMES = {"line": "PJSIP/1001-00000001", "line2": "PJSIP/1002-00000003", "trunk": "PJSIP/trunk-00000002"}


def event(name: str, at_s: float = 1000.0, **headers: str) -> Frame:
    return {"Event": name, "Timestamp": f"{1_700_000_000 + at_s:.3f}", **headers}


def channel(name: str, uniqueid: str, *, state: int = 0, linkedid: str = "1.1", account: str = "", exten: str = "",
            side: str = "") -> dict[str, str]:  # fmt: skip
    """The headers of one side of an event."""
    return {
        f"{side}Channel": _NAMES.get(name, name),
        f"{side}ChannelState": str(state),
        f"{side}AccountCode": account,
        f"{side}Exten": exten,
        f"{side}Uniqueid": uniqueid,
        f"{side}Linkedid": linkedid,
    }


def call_events(number: str = "+33123456789", *, answered: bool = True) -> list[Frame]:
    """A plain call of line 1001 (uniqueid 1.1) over the trunk (1.2), in the order of a real switch."""
    line = channel("line", "1.1", state=4, account="ACC1001", exten=number)
    dest = channel("trunk", "1.2", account="ACC1001", side="Dest")
    up = [
        event("Newstate", 2, **channel("trunk", "1.2", state=6, account="ACC1001")),
        event("DialEnd", 2, **line, **dest | {"DestChannelState": "6"}, DialStatus="ANSWER"),
        event("Newstate", 2, **channel("line", "1.1", state=6, account="ACC1001")),
    ]
    rung = [event("DialEnd", 4, **line, **dest, DialStatus="NOANSWER")]
    state = 6 if answered else 5
    return [
        event("Newchannel", 1, **line),
        event("Newchannel", 1, **channel("trunk", "1.2")),
        event("DialBegin", 1, **line, **dest, DialString=f"{number}@trunk"),
        event("Newstate", 1.5, **channel("trunk", "1.2", state=5, account="ACC1001")),
        *(up if answered else rung),
        event("Hangup", 5, **channel("trunk", "1.2", state=state, account="ACC1001"), Cause="16"),
        event("Hangup", 5, **channel("line", "1.1", state=6 if answered else 4, account="ACC1001"), Cause="16"),
    ]


def known(leg: str, *, channel_id: str = "", caller: str = "", answered: bool = False, call: str = "1.1",
          direction: Direction = Direction.OUT, seen_at_ms: int = 4_000,
          dialled: str = "") -> KnownLeg:  # fmt: skip
    return KnownLeg(
        LegId(f"lab.{leg}"), CallId(f"lab.b.{call}"), channel_id, caller, answered, direction, seen_at_ms, dialled
    )


def row(name: str, uniqueid: str, *, state: int = 6, linkedid: str = "1.1", app: str = "", data: str = "",
        account: str = "", exten: str = "", caller: str = "") -> Frame:  # fmt: skip
    """A CoreShowChannel event."""
    headers = channel(name, uniqueid, state=state, linkedid=linkedid, account=account, exten=exten)
    return {
        "Event": "CoreShowChannel",
        **headers,
        "Application": app,
        "ApplicationData": data,
        "CallerIDNum": caller,
    }
