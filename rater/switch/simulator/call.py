"""One call on the simulated switch, from its first channel to the last hang-up.

A `Script` says what the parties will do; a `Route` who they are. Whoever is attached to the switch may end the call
earlier: by the gate's answer, by Hangup, or by a timeout it armed. `Fate` says what became of it.

The order of events is that of an Asterisk 22 whose dialplan runs ``Dial``:

    Newchannel (caller) · [gate] · Newchannel, NewCallerid, NewAccountCode, NewConnectedLine (callee) · DialBegin ·
    NewConnectedLine (caller) · Newstate Ringing · DialState · Newstate Up · DialEnd · Newstate (caller) Up ·
    BridgeEnter ×2 · HangupRequest · BridgeLeave ×2 · SoftHangupRequest · Hangup (callee, caller)

with DeviceStateChange in between. Tests compare it with captures of a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rater.switch.simulator.channel import (
    CAUSE_BUSY,
    CAUSE_CONGESTION,
    CAUSE_INTERWORKING,
    CAUSE_NO_ANSWER,
    CAUSE_NORMAL,
    SIP_CANCELLED,
    SIP_STATUS,
    Channel,
    State,
)
from rater.switch.simulator.world import SECOND_US, Timer, World

SOFT_EXPLICIT = 32
"""What SoftHangupRequest gives as its cause is no Q.850 cause but who asked: a manager …"""
SOFT_DIALPLAN_ENDED = 16
"""… or the end of the dialplan."""
RINGING_AFTER_US = 20_000


class Kind(StrEnum):
    OUT = "out"
    IN = "in"
    INTERNAL = "internal"


class Outcome(StrEnum):
    """What the far end does when nobody interferes."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The caller gives up while it rings."""


class Fate(StrEnum):
    """What became of a call. The first five as in Outcome."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    """Refused at the gate, or hung up by a manager before the answer."""
    CUT = "cut"
    """Ended by a timeout or by a manager while they talked."""
    LOST = "lost"
    """The switch died under it."""
    MOVED = "moved"
    """A party went on elsewhere, without the other."""


@dataclass(frozen=True, slots=True)
class Script:
    """`ring_s`: from the dial to the outcome; `talk_s`: from the answer to the hang-up, by the caller or the far
    end."""

    outcome: Outcome = Outcome.ANSWERED
    ring_s: float = 1.0
    talk_s: float = 5.0
    caller_hangs_up: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """`caller` and `callee` are stems of channel names, such as ``PJSIP/1001``; `number` is what was dialled."""

    kind: Kind
    caller: str
    callee: str
    number: str
    dial_string: str
    account_code: str = ""
    callee_account_code: str = ""
    caller_number: str = "<unknown>"
    caller_name: str = "<unknown>"
    context: str = "lines"


class Call:
    """`begin` starts it, `dial` and `refuse` are the dialplan's; `on_end` is called once, with the call, `on_dial`
    when its second channel is there. `sender`: who sent the first one here, as a stem of channel names."""

    def __init__(
        self,
        world: World,
        route: Route,
        script: Script,
        *,
        dialplan: Callable[[Call], None],
        on_end: Callable[[Call], None],
        on_dial: Callable[[Call], None] = lambda call: None,
        sender: str = "",
    ) -> None:
        self.route = route
        self.script = script
        self.sender = sender
        self.fate: Fate | None = None
        self.cause = 0
        self.caller: Channel | None = None
        self.callee: Channel | None = None
        self.started_us = 0
        self.answered_us: int | None = None
        self.ended_us: int | None = None
        self._world = world
        self._dialplan = dialplan
        self._on_end = on_end
        self._on_dial = on_dial
        self._timers: list[Timer] = []

    @property
    def talking(self) -> bool:
        return self.answered_us is not None and self.fate is None

    @property
    def talked_s(self) -> float:
        """Seconds from the answer to the end, or to now."""
        if self.answered_us is None:
            return 0.0
        end_us = self.ended_us if self.ended_us is not None else self._world.now_us()
        return (end_us - self.answered_us) / SECOND_US

    def begin(self, channel: Channel | None = None) -> None:
        """The caller's channel appears, or one that is there already was sent here, and goes into the dialplan."""
        route = self.route
        self.started_us = self._world.now_us()
        if channel is None:
            self._world.calls_processed += 1
            channel = self._world.new_channel(
                route.caller,
                State.RING,
                account_code=route.account_code,
                caller_number=route.caller_number,
                caller_name=route.caller_name,
                context=route.context,
                exten=route.number,
            )
        self.caller = channel
        self._own(channel)
        self._dialplan(self)

    def meet(self, first: Channel, second: Channel) -> None:
        """Two channels that are there already talk to each other, in a bridge that they are in."""
        self.started_us = self.answered_us = self._world.now_us()
        self.caller, self.callee = first, second
        self._own(first)
        self._own(second)
        self._talk()

    def leave(self, leaving: Channel, *, by_dialplan: bool = True) -> None:
        """One party is out of the call and hung up; the other goes on elsewhere."""
        self._over(Fate.MOVED, CAUSE_NORMAL)
        if by_dialplan:
            self._soft_hangup(leaving, SOFT_DIALPLAN_ENDED)
        self._world.destroy(leaving, CAUSE_NORMAL)
        self._on_end(self)

    def _own(self, channel: Channel) -> None:
        channel.on_hangup = lambda cause: self._interrupted(channel, cause)
        channel.on_timeout = lambda: self._timed_out(channel)

    def hang_up(self, *, by_caller: bool) -> None:
        """A party puts the receiver down, at any time."""
        channel = self.caller if by_caller or self.callee is None else self.callee
        if self.fate is not None or channel is None:
            return
        cause = CAUSE_NORMAL if self.answered_us is not None else CAUSE_INTERWORKING
        if self.answered_us is None:
            channel.tech_cause = SIP_CANCELLED
        self._request_hangup(channel, cause)
        if self.answered_us is not None:
            self._end_talk(Fate.ANSWERED, CAUSE_NORMAL)
        else:
            if self.callee is not None:
                self.callee.tech_cause = SIP_CANCELLED
            self._end_ringing(Fate.CANCELLED, "CANCEL", callee_cause=cause, caller_cause=cause)

    def lose(self) -> None:
        """The switch died: nobody is told anything."""
        if self.fate is None:
            self.fate = Fate.LOST
            self.ended_us = self._world.now_us()
            self._on_end(self)

    # For the dialplan

    def refuse(self, cause: int) -> None:
        """The dialplan hangs up instead of dialling."""
        if self.fate is None:
            self._soft_hangup(self._caller(), SOFT_DIALPLAN_ENDED)
            self._finish(Fate.DENIED, cause)

    def dial(self) -> None:
        """The dialplan runs Dial."""
        world, route, caller = self._world, self.route, self._caller()
        caller.application, caller.application_data = "Dial", f"PJSIP/{route.dial_string},60"
        callee = world.new_channel(
            route.callee,
            State.DOWN,
            linkedid=caller.linkedid,
            account_code=route.callee_account_code,
            context="from-trunk" if route.kind is Kind.OUT else "lines",
        )
        self.callee = callee
        callee.application, callee.application_data = "AppDial", "(Outgoing Line)"
        self._own(callee)
        self._introduce(caller, callee)
        self._on_dial(self)
        world.emit("DialBegin", f"{caller.lines()}{callee.lines('Dest')}DialString: {route.dial_string}\r\n")
        caller.connected_number = route.number
        world.emit("NewConnectedLine", caller.lines())
        self._play(callee)

    def _introduce(self, caller: Channel, callee: Channel) -> None:
        """What Dial writes on the new channel before it dials."""
        callee.caller_number = callee.exten = self.route.number
        callee.connected_number, callee.connected_name = caller.caller_number, caller.caller_name
        before, given = callee.account_code, caller.account_code or caller.peer_account
        callee.account_code = given or before
        lines = callee.lines()
        presentation = "CID-CallingPres: 0 (Presentation Allowed, Not Screened)\r\n"
        self._world.emit("NewCallerid", lines + presentation)
        if given and given != before:
            self._world.emit("NewAccountCode", f"{lines}OldAccountCode: {before}\r\n")
        self._world.emit("NewConnectedLine", lines)

    # What the parties do

    def _play(self, callee: Channel) -> None:
        script = self.script
        ring_us = round(script.ring_s * SECOND_US)
        if script.outcome in (Outcome.ANSWERED, Outcome.NO_ANSWER, Outcome.CANCELLED):
            self._after(min(RINGING_AFTER_US, ring_us), lambda: self._ring(callee))
        steps: dict[Outcome, Callable[[], None]] = {
            Outcome.ANSWERED: self._answer,
            Outcome.BUSY: lambda: self._far_end_ends(Fate.BUSY, "BUSY", CAUSE_BUSY),
            Outcome.FAILED: lambda: self._far_end_ends(Fate.FAILED, "CONGESTION", CAUSE_CONGESTION),
            Outcome.NO_ANSWER: self._rings_out,
            Outcome.CANCELLED: lambda: self.hang_up(by_caller=True),
        }
        self._after(ring_us, steps[script.outcome])

    def _ring(self, callee: Channel) -> None:
        world = self._world
        world.set_state(callee, State.RINGING)
        world.emit("DialState", f"{self._caller().lines()}{callee.lines('Dest')}DialStatus: RINGING\r\n")
        world.tell_device(self._caller().device)

    def _answer(self) -> None:
        world, caller, callee = self._world, self._caller(), self._callee()
        world.set_timeout(callee, 0)
        world.set_state(callee, State.UP)
        self._dial_end("ANSWER")
        if caller.state is not State.UP:
            world.set_state(caller, State.UP)
        self.answered_us = world.now_us()
        callee.exten = ""
        world.bridge(callee, caller)
        self._talk()

    def _talk(self) -> None:
        script = self.script
        self._after(round(script.talk_s * SECOND_US), lambda: self.hang_up(by_caller=script.caller_hangs_up))

    def _far_end_ends(self, fate: Fate, status: str, cause: int) -> None:
        self._callee().tech_cause = SIP_STATUS.get(cause, "")
        self._request_hangup(self._callee(), cause)
        self._end_ringing(fate, status, callee_cause=cause, caller_cause=cause)

    def _rings_out(self) -> None:
        self._end_ringing(Fate.NO_ANSWER, "NOANSWER", callee_cause=0, caller_cause=CAUSE_NO_ANSWER)

    # How it ends

    def _interrupted(self, channel: Channel, cause: int) -> None:
        """A manager hung up a channel of this call."""
        if self.fate is not None:
            return
        self._soft_hangup(channel, SOFT_EXPLICIT)
        if self.answered_us is not None:
            self._end_talk(Fate.CUT, cause or CAUSE_NORMAL)
        elif channel is self.caller:
            self._end_ringing(Fate.DENIED, "CANCEL", callee_cause=0, caller_cause=cause)
        else:
            self._end_ringing(Fate.DENIED, "CHANUNAVAIL", callee_cause=cause, caller_cause=cause)

    def _timed_out(self, channel: Channel) -> None:
        if self.fate is not None:
            return
        if self.answered_us is not None:
            self._end_talk(Fate.CUT, CAUSE_NORMAL)
        else:
            self._end_ringing(Fate.NO_ANSWER, "CANCEL", callee_cause=0, caller_cause=0)

    def _end_talk(self, fate: Fate, cause: int) -> None:
        self._world.unbridge(self._caller())
        self._world.unbridge(self._callee())
        self._soft_hangup(self._caller(), SOFT_DIALPLAN_ENDED)
        self._world.destroy(self._callee(), cause)
        self._finish(fate, cause)

    def _end_ringing(self, fate: Fate, status: str, *, callee_cause: int, caller_cause: int) -> None:
        if self.callee is not None:
            self._dial_end(status)
            self._world.destroy(self.callee, callee_cause)
        self._soft_hangup(self._caller(), SOFT_DIALPLAN_ENDED)
        self._finish(fate, caller_cause)

    def _over(self, fate: Fate, cause: int) -> None:
        self.fate, self.cause = fate, cause
        self.ended_us = self._world.now_us()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _finish(self, fate: Fate, cause: int) -> None:
        self._over(fate, cause)
        if self.answered_us is None and not self._caller().tech_cause:
            self._caller().tech_cause = SIP_STATUS.get(cause, "")
        self._world.destroy(self._caller(), cause)
        self._on_end(self)

    def _request_hangup(self, channel: Channel, cause: int) -> None:
        self._world.emit("HangupRequest", f"{channel.lines()}Cause: {cause}\r\n{channel.tech_line()}")

    def _soft_hangup(self, channel: Channel, who: int) -> None:
        self._world.emit("SoftHangupRequest", f"{channel.lines()}Cause: {who}\r\n{channel.tech_line()}")

    def _dial_end(self, status: str) -> None:
        channels = self._caller().lines() + self._callee().lines("Dest")
        self._world.emit("DialEnd", f"{channels}DialStatus: {status}\r\n")

    def _after(self, delay_us: int, action: Callable[[], None]) -> None:
        self._timers.append(self._world.later(delay_us, action))

    def _caller(self) -> Channel:
        assert self.caller is not None, "the call has not begun"
        return self.caller

    def _callee(self) -> Channel:
        assert self.callee is not None, "nothing was dialled yet"
        return self.callee
