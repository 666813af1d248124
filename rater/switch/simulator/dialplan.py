"""What the simulated switch's dialplan does with a new call: in gate mode what ``deploy/asterisk/rater.conf`` does
in front of ``Dial``, in watch mode nothing but ``Dial``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from rater.switch.simulator.agi import AsyncAgi
from rater.switch.simulator.call import Call, Kind
from rater.switch.simulator.channel import Channel
from rater.switch.simulator.world import SECOND_US, World

BEAT = "RATER_BEAT"
FAIL = "RATER_FAIL"
FAIL_INBOUND = "RATER_FAIL_IN"
VERDICT = "RATER_VERDICT"
REASON = "RATER_REASON"
SECONDS = "RATER_SECONDS"
OWN_UNTIL = "RATER_OWN_UNTIL"
"""When the timer ends that the channel had before; here in microseconds."""
NO_TIMER = "none"
LEAST_TIMER_S = 0.02
GUARD_S = 3
_NUMBER = re.compile(r"(?=.{1,32}$)\+?[0-9*#]*", re.ASCII)
_EMERGENCY = re.compile(r"112|911|19[0-9]", re.ASCII)
_CAUSES = {
    "insufficient_credit": 21,
    "allowance_exhausted": 21,
    "blocked_destination": 21,
    "line_limit": 17,
    "account_limit": 17,
    "trunk_limit": 34,
    "malformed_number": 28,
    "unknown_number": 1,
    "daemon_away": 34,
    "no_verdict": 34,
    "store_unavailable": 34,
    "not_ready": 34,
    "overloaded": 42,
}
_ANY_OTHER_CAUSE = 21


class Gating(StrEnum):
    NONE = "none"
    """Watch mode: the dialplan knows nothing of rater."""
    OUTBOUND = "outbound"
    BOTH = "both"
    """Inbound calls ask as well."""


@dataclass(frozen=True, slots=True)
class Dialplan:
    world: World
    gating: Gating

    def enter(self, call: Call) -> None:
        """A call's first channel comes in."""
        kind = call.route.kind
        if self.gating is not Gating.NONE and kind is Kind.OUT:
            _Gate(self.world, call, FAIL, (call.route.number, "out")).ask()
        elif self.gating is Gating.BOTH and kind is Kind.IN:
            endpoint = call.route.callee.partition("/")[2]
            _Gate(self.world, call, FAIL_INBOUND, (call.route.number, "in", endpoint)).ask()
        else:
            call.dial()


class _Gate:
    """The contexts rater-gate and rater-gate-in: ask, wait for the verdict at most GUARD_S, act on it."""

    def __init__(self, world: World, call: Call, fail_variable: str, arguments: tuple[str, ...]) -> None:
        assert call.caller is not None, "the gate is entered by a channel"
        self._world = world
        self._call = call
        self._channel: Channel = call.caller
        self._fail_variable = fail_variable
        self._arguments = arguments
        self._place = (self._channel.context, self._channel.exten, self._channel.priority)
        self._after_dial_timeout = self._channel.on_timeout

    def ask(self) -> None:
        variables = self._channel.variables
        number = self._arguments[0]
        variables.update({VERDICT: "", SECONDS: ""})
        outbound = self._call.route.kind is Kind.OUT
        if not _NUMBER.fullmatch(number):
            variables[REASON] = "malformed_number"
            self._leave("deny")
        elif outbound and _EMERGENCY.fullmatch(number):
            variables[REASON] = "emergency"
            self._leave("allow")
        elif abs(self._world.now_us() // SECOND_US - _leading_number(self._world.globals.get(BEAT, ""))) > GUARD_S:
            variables[REASON] = "daemon_away"
            self._without()
        else:
            variables[REASON] = "no_verdict"
            self._channel.context, self._channel.exten, self._channel.priority = "rater-ask", "s", 8
            self._world.set_timeout(self._channel, min(GUARD_S, self._note_own_timer()))
            self._channel.on_timeout = self._guard_struck
            AsyncAgi(self._world, self._channel, self._arguments, on_done=self._answered)

    def _note_own_timer(self) -> float:
        """The timer that the channel has already, unless an earlier pass through the gate has set it for its call.
        What is left of it, endless when there is none."""
        before = self._channel.variables.get(OWN_UNTIL, "")
        at_us = self._channel.timeout_at_us
        if at_us is None or before == NO_TIMER:
            self._channel.variables[OWN_UNTIL] = NO_TIMER
            return math.inf
        at_us = max(at_us, _leading_number(before))
        self._channel.variables[OWN_UNTIL] = str(at_us)
        return self._left_s(at_us)

    def _left_s(self, at_us: int) -> float:
        return max(LEAST_TIMER_S, (at_us - self._world.now_us()) / SECOND_US)

    def _put_timer_back(self, seconds: int) -> None:
        """What was granted (0: without a limit), or what is left of the timer that was there, if that is less."""
        own = self._channel.variables[OWN_UNTIL]
        limits_s = [float(seconds)] if seconds else []
        if own != NO_TIMER:
            limits_s.append(self._left_s(int(own)))
        self._world.set_timeout(self._channel, min(limits_s, default=0))

    def _guard_struck(self) -> None:
        if self._channel.agi is not None:
            self._channel.agi.abandon()
        self._answered()

    def _answered(self) -> None:
        variables = self._channel.variables
        verdict = variables.get(VERDICT, "")
        self._put_timer_back(_leading_number(variables.get(SECONDS, "")) if verdict == "allow" else 0)
        own = variables[OWN_UNTIL]
        if own != NO_TIMER and int(own) <= self._world.now_us():
            verdict, variables[REASON] = "deny", "no_verdict"
        if verdict in ("allow", "deny"):
            self._leave(verdict)
        else:
            self._without()

    def _without(self) -> None:
        """No verdict can be had: pass or refuse as set."""
        variables = self._world.globals
        if self._fail_variable == FAIL:
            verdict = "allow" if variables.get(FAIL) == "open" else "deny"
        else:
            verdict = "deny" if variables.get(FAIL_INBOUND) == "closed" else "allow"
        self._channel.variables[SECONDS] = ""
        self._leave(verdict)

    def _leave(self, verdict: str) -> None:
        channel = self._channel
        channel.variables[VERDICT] = verdict
        channel.on_timeout = self._after_dial_timeout
        channel.context, channel.exten, channel.priority = self._place
        if verdict == "allow":
            self._call.dial()
        else:
            reason = channel.variables.get(REASON, "")
            channel.context, channel.exten, channel.priority = "rater-denied", reason, 1
            self._call.refuse(_CAUSES.get(reason, _ANY_OTHER_CAUSE))


def _leading_number(text: str) -> int:
    """The digits that a text begins with, as a number; 0 when there are none."""
    digits = re.match(r"[0-9]+", text)
    return int(digits[0]) if digits else 0
