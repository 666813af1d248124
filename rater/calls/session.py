"""One leg's life, without I/O and without a clock: signals in, commands out.

Theory of operation. A leg is *reserved* before anything else: limits and the first slice of money are asked of the
store. While that is under way the world does not stand still; the leg may be dialled, answered or over before the
answer is there, so those are noted and acted on when it comes.

    RESERVING ──allowed──▶ HELD ──dialled──▶ RINGING ──answered──▶ TALKING ──ended──▶ SETTLING ──settled──▶ DONE
        │                    └───────── ended ──────┴─▶ SETTLING                          ▲
        └──denied──▶ DENIED ──ended──▶ DONE                     (RESERVING, ended: reserve is answered first) ┘

HELD is a gated leg whose dialplan has its verdict but has not dialled yet.

The switch's own timer is the only thing that must work when everything else is dead. Before the answer it sits on
the caller's channel and is set anew while it rings, so that ringing costs no talk time; with the answer it moves
to the billed leg, armed for exactly what is paid. Each extension moves it on. If no further slice can be had, the
session tries again at half of what is left, down to `LAST_TRY_MS`: another leg may have given money back. When the
paid end is past and the switch has not acted, the session hangs up itself.

When the answer was missed (the connection was away) and only learnt of later, nobody knows when it was. Then the
charge begins when it was learnt of, to the caller's benefit, but the timer counts from the earliest moment at which
it may have been (`paid_from_ms`), so that nobody talks longer than what is paid.

Warnings come at set spans before an end that is certain: while more can be had, nobody is alarmed. So that it is
known in time whether more can be had, the next slice is asked for before the longest span begins.

The end is charged from answer to hang-up by the switch's clock. An *estimated* end is the last proof of life, and
no end is later than the paid slice.
"""

from __future__ import annotations

from enum import IntEnum

from rater.calls.commands import (
    CAUSE_BUSY,
    CAUSE_CONGESTION,
    CAUSE_NORMAL,
    CAUSE_NOT_SUBSCRIBED,
    CAUSE_REJECTED,
    AnnounceEnd,
    AnswerGate,
    ArmTimer,
    Command,
    ExtendSlice,
    Forget,
    HangUp,
    Party,
    PersistAnswer,
    ReserveSlice,
    SettleLeg,
    WakeAt,
    Warn,
)
from rater.calls.signals import (
    Answered,
    Dialled,
    Disposition,
    Due,
    Ended,
    Extended,
    Grade,
    HangupRequested,
    Lost,
    Mode,
    MoneyArrived,
    Reserved,
    Seen,
    Settled,
    Signal,
)
from rater.events.facts import LegFacts
from rater.ids import LegId
from rater.money import duration_s
from rater.verdict import Reason

DISARMED_MS = 86_400_000
"""A timer cannot be taken off, only set far away."""
LAST_TRY_MS = 300
OVERDUE_MS = 500
"""How long after the paid end the switch's timer is trusted to act."""
GRACE_MS = 1000
"""For the first extension, when the paid slice may be over by the time that the answer is learnt of."""
LOOK_MS = 1000
"""How long before the first warning it must be known whether the end is certain."""
ASK_AGAIN_MS = 500
CUT_WINDOW_MS = 400
"""An end this close to the end of the last slice is the timer's doing."""


_CONGESTED = frozenset({
    Reason.TRUNK_LIMIT, Reason.RESELLER_LIMIT, Reason.CALL_RATE_LIMIT, Reason.STORE_UNAVAILABLE, Reason.NOT_READY,
    Reason.STALE_LEADER, Reason.OVERLOADED,
})  # fmt: skip


class State(IntEnum):
    RESERVING = 0
    HELD = 1
    RINGING = 2
    TALKING = 3
    SETTLING = 4
    DENIED = 5
    DONE = 6


# Members looked up once: compiled code asks a class for one each time, which takes longer than what it is for.
_RESERVING, _HELD, _RINGING, _TALKING = State.RESERVING, State.HELD, State.RINGING, State.TALKING
_SETTLING, _DENIED, _DONE = State.SETTLING, State.DENIED, State.DONE
_GATE = Mode.GATE
_OBSERVED, _ESTIMATED = Grade.OBSERVED, Grade.ESTIMATED
_CALLER, _BILLED = Party.CALLER, Party.BILLED
_ANSWERED = Disposition.ANSWERED


def denial_cause(reason: Reason) -> int:
    """The Q.850 cause that tells the caller's telephone why (ITU-T Q.850 table 1)."""
    if reason in (Reason.LINE_LIMIT, Reason.ACCOUNT_LIMIT, Reason.CLASS_LIMIT):
        return CAUSE_BUSY
    if reason in _CONGESTED:
        return CAUSE_CONGESTION
    if reason in (Reason.INSUFFICIENT_CREDIT, Reason.ALLOWANCE_EXHAUSTED, Reason.BLOCKED_DESTINATION):
        return CAUSE_NOT_SUBSCRIBED
    return CAUSE_REJECTED


class Session:
    """`facts` is filled in as the leg lives. `fails_open`: what a gated call gets when no decision comes in time.
    `decide_by_ms`, `extend_ahead_ms`, `warn_s`: spans, see the settings."""

    def __init__(
        self,
        facts: LegFacts,
        *,
        mode: Mode,
        horizon_s: int,
        fails_open: bool = False,
        decide_by_ms: int = 1500,
        extend_ahead_ms: int = 5000,
        warn_s: tuple[int, ...] = (),
    ) -> None:
        self.leg = LegId(facts.id)
        self.facts = facts
        self.mode = mode
        self.state = _RESERVING
        self.gate_waits = mode is _GATE
        self.granted_s = 0
        self.final = self.capped = False
        self.horizon_s = horizon_s
        self.answered_at_ms: int | None = None
        self.paid_from_ms = 0
        self.ended: Ended | None = None
        self.seen_at_ms = facts.attempted_at_ms
        self.decide_by_ms = decide_by_ms
        self.ahead_ms = extend_ahead_ms
        self._extending = False
        self._fails_open = fails_open
        self._told_end = ("", 0)
        # Nobody is warned of an end that nobody pays for.
        unwarned = not warn_s or facts.emergency or facts.direction == "in"
        self._warn_ms = () if unwarned else tuple(s * 1000 for s in warn_s)
        self._warned_ms = (max(self._warn_ms) if self._warn_ms else 0) + 1
        """The span of the last warning of the present end."""

    # -- birth ---------------------------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> list[Command]:
        """The first commands of a new leg."""
        return [ReserveSlice(self.leg), WakeAt(self.leg, now_ms + self.decide_by_ms)]

    def resume(self, *, granted_s: int, final: bool, answered_at_ms: int | None, seen_at_ms: int) -> None:
        """Take up a stored leg after a restart. Nothing is sent until the switch has shown whether it lives."""
        self.gate_waits = False
        self.granted_s = granted_s
        self.final = final
        self.answered_at_ms = answered_at_ms
        self.paid_from_ms = self.facts.unanswered_at_ms or answered_at_ms or 0
        self.seen_at_ms = seen_at_ms
        if answered_at_ms is not None:
            self.state = _TALKING
        else:
            self.state = _RINGING if self.facts.dialled_at_ms is not None else _HELD

    # -- one signal ----------------------------------------------------------------------------------------------

    def handle(self, signal: Signal, now_ms: int) -> list[Command]:
        """What follows from `signal` at switch time `now_ms`. What no longer matters yields nothing."""
        if isinstance(signal, Reserved):
            return self._reserved(signal, now_ms)
        if isinstance(signal, Due):
            return self._due(now_ms)
        if isinstance(signal, Dialled):
            return self._dialled(signal)
        if isinstance(signal, Answered):
            return self._answered(signal, now_ms)
        if isinstance(signal, Extended):
            return self._extended(signal, now_ms)
        if isinstance(signal, Ended):
            return self._ended(signal)
        if isinstance(signal, Settled):
            self.state = _DONE
            return [Forget(self.leg)]
        if isinstance(signal, Seen):
            return self._seen(signal, now_ms)
        if isinstance(signal, MoneyArrived):
            return self._money_arrived(now_ms)
        if isinstance(signal, Lost):
            return self._lost()
        if isinstance(signal, HangupRequested):
            self.facts.cut = "operator"
            return [HangUp(self.leg, CAUSE_NORMAL)]
        return []

    @property
    def paid_until_ms(self) -> int:
        """When the paid slices end; only once answered."""
        return self._paid_until()

    def _paid_until(self) -> int:
        assert self.paid_from_ms
        return self.paid_from_ms + self.granted_s * 1000

    # -- the switch ----------------------------------------------------------------------------------------------

    def _dialled(self, signal: Dialled) -> list[Command]:
        if self.facts.dialled_at_ms is None:
            self.facts.dialled_at_ms = signal.at_ms
            self.facts.trunk = signal.trunk
            self.facts.channel_id = signal.channel_id
            if self.state is _HELD:
                self.state = _RINGING
        return []

    def _answered(self, signal: Answered, now_ms: int) -> list[Command]:
        if self.answered_at_ms is not None or self.state > _TALKING:
            return []
        self.answered_at_ms = self.paid_from_ms = self.facts.answered_at_ms = signal.at_ms
        self.facts.answer_grade = signal.grade._value_
        if signal.grade is not _OBSERVED:
            # When it was asked for or last listed as ringing; not when it was dialled, which may be learnt of late.
            self.paid_from_ms = self.facts.unanswered_at_ms = min(signal.at_ms, self.seen_at_ms)
        self.seen_at_ms = max(self.seen_at_ms, signal.at_ms)
        return self._talk(now_ms) if self.state is _HELD or self.state is _RINGING else []

    def _talk(self, now_ms: int) -> list[Command]:
        """Answered and paid: the timer moves from the caller to the billed leg."""
        assert self.answered_at_ms is not None
        self.state = _TALKING
        self._rearm_warnings(self._paid_until() - now_ms, afresh=True)
        if self._paid_until() <= now_ms and not self.final and self.facts.answer_grade != _OBSERVED:
            return [
                ArmTimer(self.leg, _BILLED, GRACE_MS),
                ArmTimer(self.leg, _CALLER, DISARMED_MS),
                PersistAnswer(self.leg, self.answered_at_ms),
                *self._extend(now_ms),
            ]
        return [
            *self._arm_billed(now_ms),
            ArmTimer(self.leg, _CALLER, DISARMED_MS),
            PersistAnswer(self.leg, self.answered_at_ms),
            self._wake(now_ms),
        ]

    def _arm_billed(self, now_ms: int) -> list[Command]:
        left_ms = self._paid_until() - now_ms
        if left_ms <= 0:
            return self._cut_overdue()
        return [ArmTimer(self.leg, _BILLED, left_ms), *self._announce_end()]

    def _announce_end(self) -> list[Command]:
        """What is certain of the end, or was and no longer is."""
        certain = self.final and self.facts.direction == "out" and not self.facts.emergency
        end = (self._cut_reason(), self._paid_until()) if certain else ("", 0)
        if end == self._told_end:
            return []
        self._told_end = end
        return [AnnounceEnd(self.leg, *end)]

    def _ended(self, signal: Ended) -> list[Command]:
        if self.ended is not None or self.state is _DONE:
            return []
        self.ended = signal
        if self.state is _RESERVING:
            return []
        if self.state is _DENIED:
            self.state = _DONE
            return [Forget(self.leg)]
        return self._settle()

    def _settle(self) -> list[Command]:
        """The one place where a duration is made."""
        ended = self.ended
        assert ended is not None
        self.state = _SETTLING
        facts = self.facts
        ended_at_ms = max(ended.at_ms, facts.attempted_at_ms)
        talked_s = None
        if self.answered_at_ms is not None:
            if ended.grade is _ESTIMATED:
                ended_at_ms = max(self.answered_at_ms, min(max(ended.at_ms, self.seen_at_ms), self._paid_until()))
            talked_ms = max(0, ended_at_ms - self.answered_at_ms)
            talked_s = duration_s(talked_ms)
            if ended.grade is not _ESTIMATED:
                self._note_cut(ended_at_ms)
        facts.ended_at_ms = ended_at_ms
        facts.cause = ended.cause
        facts.grade = ended.grade._value_
        answered = self.answered_at_ms is not None
        facts.disposition = (_ANSWERED if answered else ended.disposition)._value_
        was_leg = answered or (facts.dialled_at_ms is not None and facts.direction == "out")
        return [SettleLeg(self.leg, talked_s, emit=was_leg)]

    def _note_cut(self, ended_at_ms: int) -> None:
        if not self.facts.cut and self.final and abs(ended_at_ms - self._paid_until()) <= CUT_WINDOW_MS:
            self.facts.cut = self._cut_reason()

    def _cut_reason(self) -> str:
        if self.granted_s >= self.horizon_s:
            return "max_length"
        return Reason.SPEND_LIMIT.code if self.capped else "credit"

    def _seen(self, signal: Seen, now_ms: int) -> list[Command]:
        self.seen_at_ms = max(self.seen_at_ms, signal.at_ms)
        if self.state is _TALKING:
            return [*self._arm_billed(now_ms), self._wake(now_ms)]
        if self.state is _HELD or self.state is _RINGING:
            return self._arm_caller(now_ms)
        return []

    # -- the store -----------------------------------------------------------------------------------------------

    def _reserved(self, signal: Reserved, now_ms: int) -> list[Command]:
        if self.state is not _RESERVING:
            return []
        self.facts.reason = signal.reason.code
        if not signal.reason.allows:
            return self._denied(signal.reason)
        self.granted_s = signal.granted_s
        self.final, self.capped = signal.final, signal.capped
        waits, self.gate_waits = self.gate_waits, False
        if self.ended is not None:
            return self._settle()
        commands: list[Command] = []
        if waits:
            commands.append(AnswerGate(self.leg, signal.reason, signal.granted_s))
        if self.answered_at_ms is not None:
            return commands + self._talk(now_ms)
        self.state = _RINGING if self.facts.dialled_at_ms is not None else _HELD
        # The gate's answer sets the caller's timer itself, before the dialplan goes on.
        return commands + (self._arm_caller(now_ms) if not waits else [self._wake_ringing(now_ms)])

    def _denied(self, reason: Reason) -> list[Command]:
        waits, self.gate_waits = self.gate_waits, False
        if self.ended is not None:
            self.state = _DONE
            return [Forget(self.leg)]
        self.state = _DENIED
        if self.mode is _GATE and waits:
            return [AnswerGate(self.leg, reason, 0)]
        self.facts.cut = reason.code
        return [HangUp(self.leg, denial_cause(reason))]

    def _extended(self, signal: Extended, now_ms: int) -> list[Command]:
        self._extending = False
        if self.state is not _TALKING and self.state is not _HELD and self.state is not _RINGING:
            return []
        grew = signal.granted_s > self.granted_s
        self.granted_s = signal.granted_s
        if self.state is not _TALKING:
            return []
        self.final, self.capped = signal.final, signal.capped
        if grew:
            self._rearm_warnings(self._paid_until() - now_ms)
        return [*(self._arm_billed(now_ms) if grew else self._announce_end()), self._wake(now_ms)]

    def _money_arrived(self, now_ms: int) -> list[Command]:
        if self.state is _TALKING and self.final:
            return self._extend(now_ms)
        return []

    def _lost(self) -> list[Command]:
        """Nothing of ours is left to charge: a newer leader has the leg, or it was settled. Hands off."""
        self.state = _DONE
        return [Forget(self.leg)]

    # -- time ----------------------------------------------------------------------------------------------------

    def _due(self, now_ms: int) -> list[Command]:
        if self.state is _RESERVING:
            return self._undecided()
        if self.state is _HELD or self.state is _RINGING:
            return [*self._arm_caller(now_ms), ExtendSlice(self.leg, 0, renew_only=True)]
        if self.state is not _TALKING:
            return []
        if now_ms >= self._paid_until() + OVERDUE_MS:
            return [*self._cut_overdue(), WakeAt(self.leg, now_ms + 5000)]
        if now_ms >= self._paid_until():
            return [WakeAt(self.leg, self._paid_until() + OVERDUE_MS)]
        return [*self._warn(now_ms), *self._extend(now_ms)]

    def _undecided(self) -> list[Command]:
        """The store is late. The gate gets what it is configured to get; the leg itself waits for the answer."""
        if not self.gate_waits:
            return []
        self.gate_waits = False
        if self._fails_open:
            return [AnswerGate(self.leg, Reason.ALLOWED, 0)]
        return [AnswerGate(self.leg, Reason.STORE_UNAVAILABLE, 0)]

    def _extend(self, now_ms: int) -> list[Command]:
        if self._extending:
            return [self._wake(now_ms)]
        assert self.paid_from_ms
        self._extending = True
        elapsed_s = max(0, now_ms - self.paid_from_ms) // 1000
        return [ExtendSlice(self.leg, min(elapsed_s, self.granted_s)), self._wake(now_ms)]

    def _wake(self, now_ms: int) -> WakeAt:
        """The next look: ahead of the paid end, nearer and nearer to it when nothing more could be had."""
        until_ms, last_ms = self._paid_until(), LAST_TRY_MS
        left_ms = until_ms - now_ms
        if left_ms > 2 * last_ms:
            ahead_ms = left_ms // 2 if self.final else min(self.ahead_ms, left_ms // 2)
            at_ms = until_ms - max(ahead_ms, last_ms)
            return WakeAt(self.leg, min(at_ms, self._look_at(now_ms)))
        return WakeAt(self.leg, max(until_ms + OVERDUE_MS, now_ms + 1))

    # -- warnings ------------------------------------------------------------------------------------------------

    def _look_at(self, now_ms: int) -> int:
        """When warnings want the next look; far away when there are none left."""
        if not self._warn_ms:
            return now_ms + DISARMED_MS
        if not self.final:
            return max(self._paid_until() - max(self._warn_ms) - LOOK_MS, now_ms + ASK_AGAIN_MS)
        due_ms = max((span for span in self._warn_ms if span < self._warned_ms), default=None)
        return now_ms + DISARMED_MS if due_ms is None else max(self._paid_until() - due_ms, now_ms + 1)

    def _warn(self, now_ms: int) -> list[Command]:
        """The warning that is due, once; of several that are overdue the last."""
        if not self._warn_ms:
            return []
        left_ms = self._paid_until() - now_ms
        due = [span for span in self._warn_ms if left_ms <= span < self._warned_ms]
        if not due or not self.final:
            return []
        self._warned_ms = min(due)
        return [Warn(self.leg, self._warned_ms // 1000)]

    def _rearm_warnings(self, left_ms: int, *, afresh: bool = False) -> None:
        """The end has moved to `left_ms` from now: what lies ahead again may be told again. `afresh`: the call
        begins, and nobody is warned at once that it will be short."""
        self._warned_ms = left_ms if afresh else max(self._warned_ms, left_ms)

    def _arm_caller(self, now_ms: int) -> list[Command]:
        return [ArmTimer(self.leg, _CALLER, self.granted_s * 1000), self._wake_ringing(now_ms)]

    def _wake_ringing(self, now_ms: int) -> WakeAt:
        return WakeAt(self.leg, now_ms + max(500, self.granted_s * 500))

    def _cut_overdue(self) -> list[Command]:
        if not self.facts.cut:
            self.facts.cut = self._cut_reason()
        return [HangUp(self.leg, CAUSE_NORMAL)]
