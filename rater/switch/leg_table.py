"""The legs of one switch: what is told of them, and where their actions go. Pure.

What is a leg, and when, is the tracker's to say; see there.
"""

from __future__ import annotations

from rater.calls.signals import Answered, Attempted, Dialled, Direction, Ended, Grade, Mode, Payer, Seen, Signal
from rater.dialled import is_dialled
from rater.ids import CallId, LegId, SwitchId, TrunkId
from rater.switch.channels import Channel, ChannelTable, Trunks
from rater.switch.legs import Leg, LegChannels, disposition
from rater.switch.passage import answered as answer_passing


class LegTable:
    """`dial_mode`: of legs that did not pass the gate."""

    def __init__(self, switch: SwitchId, boot: str, trunks: Trunks, dial_mode: Mode) -> None:
        self.switch = switch
        self.boot = boot
        self.channels = ChannelTable(trunks)
        self.legs: dict[LegId, Leg] = {}
        self._dial_mode = dial_mode
        self._out: list[Signal] = []
        self._put_off: dict[LegId, None] = {}
        """Those whose timer waits until a channel has passed the gate, in the order in which they will be told."""
        self.passed: list[LegId] = []
        """Those whose channel has passed the gate, for whoever keeps their verdicts to take out."""

    def attempt(
        self,
        named_after: Channel,
        caller: Channel | None,
        payer: Payer,
        direction: Direction,
        number: str,
        trunk: TrunkId | None,
        at_ms: int,
        arrived_ns: int,
        mode: Mode | None = None,
    ) -> Leg:
        """A new leg. It is named after the channel that it is, or that asks for it."""
        linkedid = (caller if caller is not None else named_after).linkedid or named_after.uniqueid
        leg = Leg(
            self.name_leg(named_after), CallId(f"{self.switch}.{self.boot}.{linkedid}"), mode or self._dial_mode,
            direction, payer, trunk, caller,
        )  # fmt: skip
        self.legs[leg.id] = leg
        shown, channel_id = (caller.caller, caller.uniqueid) if caller is not None else ("", "")
        self.emit(
            leg,
            Attempted(
                leg.id, leg.call, self.switch, leg.mode, direction, payer, number if is_dialled(number) else "",
                trunk, shown, at_ms, arrived_ns, channel_id,
            ),
        )  # fmt: skip
        return leg

    def name_leg(self, channel: Channel) -> LegId:
        """The first leg has the channel's own name, further ones are numbered."""
        count = channel.legs_named
        channel.legs_named += 1
        name = f"{self.switch}.{self.boot}.{channel.uniqueid}"
        return LegId(f"{name}.{count}" if count else name)

    def own(self, leg: Leg, billed: Channel, trunk: TrunkId, at_ms: int) -> None:
        """From here on that channel is the leg; what it went through already is told now."""
        if leg.asking and leg.caller is not None:
            self.gate_passed(leg.caller, at_ms)
        leg.open = False
        leg.billed = billed
        leg.trunk = trunk
        billed.leg = leg
        self.emit(leg, Dialled(leg.id, trunk, billed.uniqueid, at_ms))
        if billed.up_at_ms is not None:
            self.answered(leg, billed.up_at_ms)
        if billed.hung_at_ms is not None:
            self.end(leg, billed.hung_at_ms, billed.cause, billed.dial_status)

    def answered(self, leg: Leg, at_ms: int, grade: Grade = Grade.OBSERVED) -> None:
        if not leg.answered and not leg.ended:
            leg.answered = True
            self.emit(leg, Answered(leg.id, at_ms, grade))
            answer_passing(self, leg, at_ms, grade)

    def end(self, leg: Leg, at_ms: int, cause: int, status: str, grade: Grade = Grade.OBSERVED) -> None:
        if not leg.ended:
            leg.ended = True
            leg.open = leg.asking = False
            self.emit(leg, Ended(leg.id, at_ms, cause, disposition(leg.answered, status, cause), grade))

    def emit(self, leg: Leg, signal: Signal) -> None:
        """Nothing more is told of a leg that was forgotten."""
        if not leg.forgotten:
            self._out.append(signal)

    def take_signals(self) -> list[Signal]:
        """What was emitted outside of `feed`."""
        signals, self._out = self._out, []
        return signals

    # -- for actions ---------------------------------------------------------------------------------------------

    def channels_of(self, leg: LegId) -> LegChannels | None:
        """Where a leg's actions go; None when it is not known here."""
        found = self.legs.get(leg)
        return found.channels() if found is not None else None

    def is_alone(self, leg: LegId) -> bool:
        """No other live leg is dialled by this one's caller."""
        found = self.legs.get(leg)
        if found is not None:
            for other in self.legs.values():
                if other is not found and other.is_dialled_by(found.caller):
                    return False
        return True

    def gate_decided(self, leg: LegId, allowed: bool) -> None:
        """The verdict is on its way: a denied attempt is not taken over by a dial that comes all the same."""
        found = self.legs.get(leg)
        if found is not None and not allowed:
            found.open = False

    def puts_off(self, leg: LegId, name: str) -> bool:
        """Whether a timer of that channel has to wait, since the channel asks at the gate and has the gate's guard.
        The leg is told as seen when the gate is passed, whichever way, and sets what is right then."""
        channel = self.channels.named(name)
        if channel is None or not channel.asks:
            return False
        self._put_off[leg] = None
        return True

    def gate_passed(self, channel: Channel, at_ms: int) -> None:
        """Its dialplan goes on, with a verdict or without."""
        if not channel.asks:
            return
        channel.unheard = False
        if channel.gate is not None:
            channel.gate.asking = False
            self.passed.append(channel.gate.id)
        for leg in [self.legs[leg] for leg in self._put_off]:
            if leg.caller is channel or leg.billed is channel:
                self._put_off.pop(leg.id, None)
                if not leg.ended:
                    self.emit(leg, Seen(leg.id, at_ms))

    def forget(self, leg: LegId) -> None:
        """The core is done with it. Its channel stays marked, so that no late event makes it a leg again."""
        self._put_off.pop(leg, None)
        found = self.legs.pop(leg, None)
        if found is not None:
            found.open = False
            found.forgotten = True
