"""Where one scenario of the suite of moves plays: lines, telephones and trunks of its own, and what they must show.

Many scenarios play at once around one Asterisk and one daemon. So nothing is shared: each has three lines, every
line an account of its own, every sipp a number of its own (its port, see etc/moves.conf). What a trunk's sipp saw
of a number is what the event of that number must tell.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest import approx

from rater.events.notices import DeniedRecord
from rater.events.rated import RatedEvent

from .ami import Ami, Event
from .asterisk import MOVING_LINES, Asterisk
from .sipp import LONG_MS, SipCall, Sipp, Telephony, times
from .site import CATALOG, Site
from .sound import Ear

OPENING_MICRO = 1_000_000_000
PRICE_MICRO = 1_000_000
"""A second."""
EXACT_S = 0.25
FROM_TRUNK = ("User-Agent: carrier",)
LINES_EACH = 3
POOR_MICRO, POOR_LINES = 7_000_000, MOVING_LINES[-20:-3]
"""Lines with money for seven seconds."""
WARN_BEFORE_S = (4, 2)
SINGLE, SINGLE_TOO = MOVING_LINES[-2], MOVING_LINES[-3]
"""Lines that may have one call."""
FOLLOWED = MOVING_LINES[-1]
"""The line that etc/followme.conf knows."""


def write_catalog(folder: Path) -> Path:
    """The lab's prices for the moving lines, each with an account of its own, `a<line>`, that may have 8 calls; a
    few are poor, and one may have one call."""
    shutil.copytree(CATALOG, folder)
    accounts, lines = [], ["line,account,endpoint,account_code,limit,limit_out,limit_in"]
    for line in MOVING_LINES:
        opening, limit = opening_micro(line) // 1_000_000, 1 if line in (SINGLE, SINGLE_TOO) else 8
        accounts.append(
            f'[account.a{line}]\nplan = "second"\nmodality = "prepaid"\nopening = "{opening}.00"\n'
            f"[account.a{line}.limits]\nboth = {limit}\n"
        )
        lines.append(f"{line},a{line},{line},A{line},{limit},,")
    (folder / "accounts.toml").write_text("\n".join(accounts))
    (folder / "lines.csv").write_text("\n".join(lines) + "\n")
    (folder / "trunks.toml").write_text(
        '[trunk.first]\nswitch = "lab"\npattern = "PJSIP/trunk-*"\n'
        '[trunk.second]\nswitch = "lab"\npattern = "PJSIP/trunk2-*"\n'
    )
    return folder


def opening_micro(line: int) -> int:
    return POOR_MICRO if line in POOR_LINES else OPENING_MICRO


def number(sipp: Sipp, trunk: int = 1) -> str:
    """The outside number that leads to a sipp over the first or the second trunk."""
    return f"55113{'00' if trunk == 1 else '02'}{sipp.port}"


@dataclass(frozen=True)
class Leg:
    """One leg as it must be told: who pays, and the sipp whose record of `number` is the truth."""

    number: str
    line: int
    sipp: Sipp
    disposition: str = "answered"
    direction: str = "out"
    trunk: str = "first"
    cut: str = ""
    dialled: str = ""
    """What that sipp was called by or called itself, where it is not the number or the inbound leg's line."""

    def seen(self) -> SipCall:
        """The call as its sipp saw it. An inbound leg's is the telephone's, where the line is dialled."""
        wanted = self.dialled or (self.number if self.direction == "out" else str(self.line))

        def mine(calls: list[SipCall]) -> list[SipCall]:
            return [call for call in calls if f"sip:{wanted}@" in call.messages[0][3]]

        found = mine(self.sipp.until(lambda calls: all(c.ended_s for c in mine(calls)), 3, f"the end of {wanted}"))
        assert len(found) == 1, f"{wanted} was dialled {len(found)} times"
        return found[0]


class Stage:
    """`index`: which lines are its own. Actions, waits and expectations of one scenario."""

    def __init__(self, asterisk: Asterisk, site: Site, mode: str, folder: Path, index: int) -> None:
        self.asterisk = asterisk
        self.site = site
        self.mode = mode
        self._index = index
        self._ears: list[Ear] = []
        self.ami = Ami(asterisk.ami_port)
        self.lines = list(MOVING_LINES[index * LINES_EACH : (index + 1) * LINES_EACH])
        self.phones = Telephony(folder, asterisk.sip_port, self.set_global)

    def poor(self) -> int:
        """A line that can pay seven seconds; from now on one of the stage's own."""
        line = POOR_LINES[self._index % len(POOR_LINES)]
        self.lines.append(line)
        return line

    def ear(self) -> Ear:
        """Somebody who listens; its port goes into a telephone as MEDIA_PORT."""
        self._ears.append(Ear())
        return self._ears[-1]

    def close(self) -> None:
        for ear in self._ears:
            ear.close()
        self.phones.stop()
        self.ami.close()

    # -- what plays ------------------------------------------------------------------------------------------------

    def set_global(self, name: str, value: object) -> None:
        self.ami.action("Setvar", Variable=name, Value=value)

    def trunk(
        self, *, ring_ms: int = 100, talk_ms: int = LONG_MS, scenario: str = "callee", **values: object
    ) -> Sipp:
        """A subscriber of the public network."""
        return self.phones.listener("trunk", scenario, {**times(ring_ms, talk_ms), **values})

    def phone(
        self, line: int, *, ring_ms: int = 100, talk_ms: int = LONG_MS, scenario: str = "callee", **values: object
    ) -> Sipp:
        """The telephone that rings when the line is dialled."""
        sipp = self.phones.listener(f"phone{line}", scenario, {**times(ring_ms, talk_ms), **values})
        self.set_global(f"PHONE_{line}", sipp.port)
        return sipp

    def call(
        self, line: int, to: str, *, talk_ms: int = LONG_MS, scenario: str = "caller", **values: object
    ) -> Sipp:
        """A line calls; it hangs up (or does what the scenario says) `talk_ms` after the answer."""
        return self.phones.caller(line, to, talk_ms=talk_ms, scenario=scenario, values=values)

    def call_in(self, to: str, *, talk_ms: int = LONG_MS) -> Sipp:
        """Somebody outside calls a number of ours."""
        return self.phones.caller("21999990000", to, talk_ms=talk_ms, headers=FROM_TRUNK)

    def uri(self, to: str) -> str:
        """An extension of the switch, for a REFER."""
        return f"sip:{to}@127.0.0.1:{self.asterisk.sip_port}"

    # -- the switch ------------------------------------------------------------------------------------------------

    def act(self, name: str, **headers: object) -> None:
        """An AMI action that must succeed."""
        reply = self.ami.action(name, **headers)
        assert reply["Response"] in ("Success", "Goodbye"), f"{name}: {reply}"

    def dialled(self, to: str, timeout_s: float = 6.0) -> Event:
        """The DialBegin towards a number or a line, of a real channel."""
        return self.ami.wait(
            "DialBegin", timeout_s=timeout_s,
            where=lambda e: f"sip:{to}@" in e["DialString"] and not e["DestChannel"].startswith("Local/"),
        )  # fmt: skip

    def channel_of(self, line: int, *, nth: int = 0) -> str:
        """The line's own channel; `nth`: of several, in order of their making."""
        found: list[str] = []

        def made(event: Event) -> bool:
            name = event["Channel"]
            if name.startswith(f"PJSIP/{line}-") and name not in found:
                found.append(name)
            return len(found) > nth

        return self.ami.wait("Newchannel", where=made)["Channel"]

    def variable(self, channel: str, name: str) -> str:
        return self.ami.action("Getvar", Channel=channel, Variable=name).get("Value", "")

    def replaces(self, channel: str) -> str:
        """What a REFER adds to its target so that it takes this channel's place (RFC 3891)."""
        call_id, ours, theirs = (
            self.variable(channel, f"CHANNEL(pjsip,{name})") for name in ("call-id", "local_tag", "remote_tag")
        )
        return f"?Replaces={call_id.replace('@', '%40')}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}"

    def told(self) -> list[str]:
        """What the switch told meanwhile of this stage's numbers and lines, for a person who looks at a failure."""
        marks = {str(line) for line in self.lines} | {str(sipp.port) for sipp in self.phones.all}
        calls = {e["Linkedid"] for e in self.ami.events() if any(m in str(e.headers) for m in marks)} - {""}
        skipped = {"VarSet", "RTCPSent", "RTCPReceived", "Newexten", "ChallengeSent", "NewConnectedLine"}
        keys = (
            "Timestamp",
            "Channel",
            "ChannelStateDesc",
            "DestChannel",
            "DialStatus",
            "Newname",
            "Cause",
            "BridgeUniqueid",
        )
        return [
            " ".join([e.name, *(e[key] for key in keys)])
            for e in self.ami.events()
            if e["Linkedid"] in calls and e.name not in skipped
        ]

    # -- waiting ---------------------------------------------------------------------------------------------------

    def talk(self, sipp: Sipp, seconds: float, count: int = 1) -> None:
        """Wait until that sipp's last call was answered so long ago."""
        calls = sipp.until_answered(count)
        answered_s = max(call.answered_s or 0.0 for call in calls)
        time.sleep(max(0.0, answered_s + seconds - time.time()))

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 5.0) -> None:
        self.site.until(condition, timeout_s, what)

    def holds(self, **lines: int) -> None:
        """So many slots are held by each line (``l1101=2``) and by its account, now or within a moment."""
        for name, count in lines.items():
            line = name.removeprefix("l")
            for scope in (f"line:{line}", f"account:a{line}"):
                self.until(lambda s=scope, n=count: self.site.holders(s) == n, f"{count} slots of {scope}", 3.0)  # type: ignore[misc]

    def denial(self, line: int) -> DeniedRecord:
        """The one that there is of that line, now or within a moment."""
        account = f"a{line}"
        self.until(lambda: any(d.account == account for d in self.site.denials()), "the denial")
        (found,) = [d for d in self.site.denials() if d.account == account]
        return found

    # -- judging ---------------------------------------------------------------------------------------------------

    def judge(self, legs: Sequence[Leg]) -> None:
        """Everything is over: exactly these legs were told, each as its sipp saw it, and the books balance."""
        self.until(self._is_quiet, "the settling of all legs", 8.0)
        events = self._events()
        told, expected = sorted(map(_as_told, events)), sorted(map(_as_expected, legs))
        assert told == expected, f"told {told}, expected {expected}"
        for leg in legs:
            (event,) = [e for e in events if _as_told(e) == _as_expected(leg)]
            _compare(leg, event)
        for line in self.lines:
            account = self.site.account(f"a{line}") if any(e.account == f"a{line}" for e in events) else None
            if account is not None:
                charged = sum(e.amount_micro for e in events if e.account == account.account)
                assert account.balance_micro == opening_micro(line) - charged
                assert account.reserved_micro == 0
            assert self.site.holders(f"line:{line}") == self.site.holders(f"account:a{line}") == 0

    def _events(self) -> list[RatedEvent]:
        accounts = {f"a{line}" for line in self.lines}
        return [event for event in self.site.events() if event.account in accounts]

    def _is_quiet(self) -> bool:
        accounts = {f"a{line}" for line in self.lines}
        return not any(leg.account in accounts for leg in self.site.legs())


def _as_told(event: RatedEvent) -> tuple[str, ...]:
    return (event.direction, event.number, event.account, event.line, event.trunk, event.disposition, event.cut)


def _as_expected(leg: Leg) -> tuple[str, ...]:
    account = f"a{leg.line}"
    return (leg.direction, leg.number, account, str(leg.line), leg.trunk, leg.disposition, leg.cut)


def _compare(leg: Leg, event: RatedEvent) -> None:
    """Times against sipp's clock, the price against the event's own milliseconds (README, Decisions)."""
    if leg.disposition != "answered":
        assert event.answered_at is None and (event.duration_s, event.amount_micro) == (0, 0)
        return
    seen = leg.seen()
    assert seen.answered_s is not None and seen.ended_s is not None and event.answered_at is not None
    late_s = (_epoch_s(event.answered_at) - seen.answered_s, _epoch_s(event.ended_at) - seen.ended_s)
    assert late_s == approx((0, 0), abs=EXACT_S), f"{leg.number}: answered and ended off by {late_s} s"
    assert event.duration_ms / 1000 == approx(seen.talked_s, abs=EXACT_S), leg.number
    assert event.duration_s == max(1, (event.duration_ms + 500) // 1000)
    assert event.grade == "observed"
    assert event.amount_micro == (PRICE_MICRO * event.duration_s if leg.direction == "out" else 0)


def _epoch_s(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
