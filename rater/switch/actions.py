"""Turns the core's commands into AMI actions. Pure.

Timing of the gate's answer, as measured on Asterisk 22: a channel in ``AGI(agi:async)`` looks for commands when it
begins and then every 100 ms, unless a frame on the channel wakes it. `AbsoluteTimeout` queues such a frame. Sent
*behind* ``ASYNCAGI BREAK`` it has the dialplan go on within 1 ms; before it, or without it, after 100 ms. So every
answer ends with one.
"""

from __future__ import annotations

from rater.calls.commands import AnnounceEnd, AnswerGate, ArmTimer, Forget, HangUp, Party, SwitchCommand, Warn
from rater.calls.signals import Direction
from rater.ids import LegId
from rater.switch.frames import Action
from rater.switch.legs import LegChannels
from rater.switch.payer import paying_side
from rater.switch.sent import made, seconds_of, shape
from rater.switch.tracker import Tracker

DISARMED_S = 86_400
"""A timer cannot be set to 0, only far away."""
LEAST_TIMER_MS = 1
VERDICT, REASON, SECONDS = "RATER_VERDICT", "RATER_REASON", "RATER_SECONDS"
CUT, CUT_AT = "RATER_CUT", "RATER_CUT_AT"
DECIDED = f"ARRAY({REASON},{SECONDS},{VERDICT})"
"""One Setvar instead of three, the verdict being set last. The values are codes and digits, without commas. The
gate's dialplan needs the module of this function, func_strings, for others, too."""
CERTAIN_END = f"ARRAY({CUT_AT},{CUT})"
WARNING_CONTEXT = "rater-warning"
WHISPER = "quWES"
"""ChanSpy: quietly, into this one channel, so that only its party hears it; gone with either of the two."""
BEAT, FAIL = "RATER_BEAT", "RATER_FAIL"
_OUT, _BILLED = Direction.OUT, Party.BILLED
_SET = shape("Setvar", ("Channel", "Variable", "Value"))
_SET_GLOBAL = shape("Setvar", ("Variable", "Value"))
_LEAVE_GATE = shape("AGI", ("Channel", "Command"))
_LIMIT = shape("AbsoluteTimeout", ("Channel", "Timeout"))
_HANG_UP = shape("Hangup", ("Channel",))
_HANG_UP_WITH_CAUSE = shape("Hangup", ("Channel", "Cause"))


class Actions:
    """`prefix` tells the ActionIDs of one connection from those of another."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._made = 0

    def _number(self) -> int:
        """Of an action, in its id."""
        self._made += 1
        return self._made

    def of(self, command: SwitchCommand, tracker: Tracker) -> list[Action]:
        """What the switch is told. Nothing when the channels concerned are gone, or for `Forget`."""
        if isinstance(command, Forget):
            return []
        if isinstance(command, ArmTimer):
            timer = command
            channels = tracker.channels_of(timer.leg)
            return self._arm_timer(timer, channels, tracker) if channels is not None else []
        channels = tracker.channels_of(command.leg)
        if channels is None:
            return []
        if isinstance(command, AnswerGate):
            return self._answer_gate(command, channels, tracker)
        if isinstance(command, AnnounceEnd):
            return self._announce_end(command, channels)
        if isinstance(command, HangUp):
            return self._hang_up(command.leg, command.cause, channels, tracker)
        return self._warn(command, tracker)

    def _arm_timer(self, command: ArmTimer, channels: LegChannels, tracker: Tracker) -> list[Action]:
        if channels.passes:
            return []
        channel = channels.billed if command.party is _BILLED else channels.caller
        return self._arm(command.leg, channel, command.after_ms, tracker)

    def _answer_gate(self, command: AnswerGate, channels: LegChannels, tracker: Tracker) -> list[Action]:
        allowed = command.reason.allows
        tracker.gate_decided(command.leg, allowed)
        if channels.caller is None:
            return []
        if not channels.asking:
            return self._answer_too_late(command, channels, tracker)
        caller = channels.caller
        limited = command.seconds > 0
        told = f"{command.seconds},allow" if allowed else "0,deny"
        return [
            self._set(caller, DECIDED, f"{command.reason.code},{told}"),
            made(_LEAVE_GATE, self._prefix, self._number(), caller, "ASYNCAGI BREAK"),
            self._timer(caller, command.seconds * 1000 if limited else DISARMED_S * 1000),
        ]

    def _answer_too_late(self, command: AnswerGate, channels: LegChannels, tracker: Tracker) -> list[Action]:
        """The dialplan has stopped waiting and gone by its own rule. A call that passed is limited or ended now."""
        if channels.billed is None:
            return []
        if not command.reason.allows:
            return self._hang_up(command.leg, 0, channels, tracker)
        limits = command.seconds > 0 and not channels.answered and not channels.passes
        return self._arm(command.leg, channels.caller, command.seconds * 1000, tracker) if limits else []

    def _arm(self, leg: LegId, channel: str | None, after_ms: int, tracker: Tracker) -> list[Action]:
        """A channel that asks at the gate keeps the gate's guard, without which it would wait for as long as the
        timer says should nobody answer; the tracker has the leg set its timer anew when the gate is passed."""
        if channel is None or tracker.puts_off(leg, channel):
            return []
        return [self._timer(channel, after_ms)]

    def _hang_up(self, leg: LegId, cause: int, channels: LegChannels, tracker: Tracker) -> list[Action]:
        """Before the answer the caller goes too, so that it hears the cause and no dialplan tries on; not when it
        rings elsewhere at the same time, and never the outside caller of a line."""
        doomed = [channels.billed]
        if not channels.answered and channels.direction is _OUT and tracker.is_alone(leg):
            doomed.append(channels.caller)
        return [self._hang_up_one(name, cause) for name in doomed if name]

    def _hang_up_one(self, channel: str, cause: int) -> Action:
        if cause:
            return made(_HANG_UP_WITH_CAUSE, self._prefix, self._number(), channel, str(cause))
        return made(_HANG_UP, self._prefix, self._number(), channel)

    def _warn(self, command: Warn, tracker: Tracker) -> list[Action]:
        """A Local channel plays what the dialplan has for so many seconds, and whispers it to the paying side."""
        leg = tracker.legs.get(command.leg)
        listener = paying_side(tracker.channels, leg) if leg is not None else None
        if listener is None:
            return []
        return [
            {
                "Action": "Originate",
                "ActionID": f"{self._prefix}-{self._number()}",
                "Channel": f"Local/{command.seconds}@{WARNING_CONTEXT}/n",
                "Application": "ChanSpy",
                "Data": f"{listener.name},{WHISPER}",
                "Timeout": "3000",
                "Async": "true",
            }
        ]

    def _announce_end(self, command: AnnounceEnd, channels: LegChannels) -> list[Action]:
        if channels.caller is None:
            return []
        at = str(command.at_ms) if command.cut else ""
        return [self._set(channels.caller, CERTAIN_END, f"{at},{command.cut}")]

    def _set(self, channel: str, variable: str, value: str) -> Action:
        return made(_SET, self._prefix, self._number(), channel, variable, value)

    def _timer(self, channel: str, after_ms: int) -> Action:
        return made(_LIMIT, self._prefix, self._number(), channel, seconds_of(max(after_ms, LEAST_TIMER_MS)))

    # -- for the switch as a whole -------------------------------------------------------------------------------

    def beat(self, epoch_s: int) -> Action:
        """Tell the dialplan, by the switch's own clock, that we are ready to decide."""
        return made(_SET_GLOBAL, self._prefix, self._number(), BEAT, str(epoch_s))

    def fail_policy(self, fail: str) -> Action:
        """`fail`: open | closed; what the dialplan does by itself while we are away."""
        return made(_SET_GLOBAL, self._prefix, self._number(), FAIL, fail)
