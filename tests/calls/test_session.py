"""The session alone: what each signal makes it ask for, whatever order the world chooses."""

from __future__ import annotations

import pytest

from rater.calls.commands import (
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
)
from rater.calls.session import OVERDUE_MS, Session, State
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
)
from rater.events.rated import LegFacts
from rater.ids import LegId, TrunkId
from rater.verdict import Reason

LEG = LegId("pbx1.t0.100.1")
TRUNK = TrunkId("carrier")
T0 = 1_790_000_000_000


def facts(direction: str = "out") -> LegFacts:
    return LegFacts(
        id=LEG, call="pbx1.t0.100", switch="pbx1", mode="gate", direction=direction, account="ACME", line="1001",
        trunk="", caller="1001", dialled="0123", number="33123", prefix="33", destination="France",
        destination_class="fixed", plan="basic", catalog_version=1, steps=[], emergency=False, attempted_at_ms=T0,
    )  # fmt: skip


def session(mode: Mode = Mode.GATE, *, fails_open: bool = False, direction: str = "out") -> Session:
    return Session(facts(direction), mode=mode, horizon_s=3600, fails_open=fails_open)


def switch_side(commands: list[Command]) -> list[Command]:
    return [c for c in commands if not isinstance(c, WakeAt)]


def wake(commands: list[Command]) -> int:
    [at_ms] = [c.at_ms for c in commands if isinstance(c, WakeAt)]
    return at_ms


def allowed(granted_s: int = 30, *, final: bool = False) -> Reserved:
    return Reserved(LEG, Reason.ALLOWED, granted_s, final)


def dialled(at_ms: int = T0 + 10) -> Dialled:
    return Dialled(LEG, TRUNK, "101.2", at_ms)


def ended(at_ms: int, *, disposition: Disposition = Disposition.ANSWERED, grade: Grade = Grade.OBSERVED) -> Ended:
    return Ended(LEG, at_ms, 16, disposition, grade)


def ringing(granted_s: int = 30, *, final: bool = False, mode: Mode = Mode.GATE) -> Session:
    s = session(mode)
    s.begin(T0)
    s.handle(allowed(granted_s, final=final), T0)
    s.handle(dialled(), T0 + 10)
    return s


def talking(granted_s: int = 30, *, final: bool = False, mode: Mode = Mode.GATE) -> Session:
    s = ringing(granted_s, final=final, mode=mode)
    s.handle(Answered(LEG, T0 + 2000), T0 + 2000)
    assert s.state is State.TALKING
    return s


def test_a_gated_leg_is_reserved_first_and_answered_with_what_was_granted() -> None:
    s = session()
    assert switch_side(s.begin(T0)) == [ReserveSlice(LEG)]
    assert switch_side(s.handle(allowed(), T0 + 5)) == [AnswerGate(LEG, Reason.ALLOWED, 30)]
    assert s.state is State.HELD


def test_the_answer_moves_the_timer_to_the_billed_leg_for_exactly_what_is_paid() -> None:
    s = session()
    s.begin(T0)
    s.handle(allowed(30), T0)
    s.handle(dialled(), T0 + 10)
    commands = s.handle(Answered(LEG, T0 + 8000), T0 + 8020)
    assert ArmTimer(LEG, Party.BILLED, 29_980) in commands
    assert PersistAnswer(LEG, T0 + 8000) in commands
    [caller] = [c for c in commands if isinstance(c, ArmTimer) and c.party is Party.CALLER]
    assert caller.after_ms >= 3600 * 1000, "the caller's own timer must no longer end the call"


def test_ringing_long_keeps_the_callers_timer_alive_without_taking_more_money() -> None:
    s = session()
    s.begin(T0)
    first = s.handle(allowed(4), T0)
    s.handle(dialled(), T0 + 10)
    assert wake(first) < T0 + 4000, "the timer must be set anew before it fires"
    commands = s.handle(Due(LEG), T0 + 2000)
    assert ArmTimer(LEG, Party.CALLER, 4000) in commands
    assert ExtendSlice(LEG, 0, renew_only=True) in commands


def test_a_watched_leg_that_is_denied_is_hung_up_and_forgotten_when_it_is_gone() -> None:
    s = session(Mode.WATCH)
    s.begin(T0)
    s.handle(dialled(), T0)
    commands = s.handle(Reserved(LEG, Reason.LINE_LIMIT, 0, False), T0 + 3)
    assert commands == [HangUp(LEG, 17)]
    assert s.handle(ended(T0 + 9, disposition=Disposition.FAILED), T0 + 9) == [Forget(LEG)]


def test_a_gated_denial_goes_to_the_dialplan_and_charges_nothing() -> None:
    s = session()
    s.begin(T0)
    assert s.handle(Reserved(LEG, Reason.INSUFFICIENT_CREDIT, 0, False), T0) == [
        AnswerGate(LEG, Reason.INSUFFICIENT_CREDIT, 0)
    ]
    assert s.handle(ended(T0 + 9), T0 + 9) == [Forget(LEG)]


def test_a_leg_answered_while_it_is_being_reserved_is_armed_when_the_answer_comes() -> None:
    s = session(Mode.WATCH)
    s.begin(T0)
    s.handle(dialled(), T0)
    assert s.handle(Answered(LEG, T0 + 1), T0 + 1) == []
    assert ArmTimer(LEG, Party.BILLED, 29_991) in s.handle(allowed(30), T0 + 10)


def test_a_caller_who_hangs_up_while_the_gate_decides_releases_everything_and_leaves_no_event() -> None:
    s = session()
    s.begin(T0)
    assert s.handle(ended(T0 + 1, disposition=Disposition.CANCELLED), T0 + 1) == []
    assert s.handle(allowed(), T0 + 5) == [SettleLeg(LEG, None, emit=False)]
    assert s.handle(Settled(LEG, 0), T0 + 6) == [Forget(LEG)]
    assert s.state is State.DONE


@pytest.mark.parametrize("disposition", [Disposition.BUSY, Disposition.NO_ANSWER, Disposition.CANCELLED])
def test_an_unanswered_leg_settles_without_a_duration_but_with_an_event(disposition: Disposition) -> None:
    s = session()
    s.begin(T0)
    s.handle(allowed(), T0)
    s.handle(dialled(), T0 + 10)
    assert s.handle(ended(T0 + 5000, disposition=disposition), T0 + 5000) == [SettleLeg(LEG, None, emit=True)]
    assert s.facts.disposition == disposition.value


@pytest.mark.parametrize(
    ("talked_ms", "charged_s"), [(1, 1), (400, 1), (1499, 1), (1500, 2), (10_004, 10), (9_996, 10), (29_990, 30)]
)
def test_the_duration_is_answer_to_hangup_to_the_nearest_second_at_least_one(
    talked_ms: int, charged_s: int
) -> None:
    s = talking()
    end_ms = T0 + 2000 + talked_ms
    assert s.handle(ended(end_ms), end_ms) == [SettleLeg(LEG, charged_s, emit=True)]


def test_it_extends_ahead_of_the_end_and_arms_for_the_new_whole() -> None:
    s = talking(30)
    commands = s.handle(Due(LEG), T0 + 2000 + 25_000)
    assert switch_side(commands) == [ExtendSlice(LEG, 25)]
    commands = s.handle(Extended(LEG, 90, False), T0 + 2000 + 25_010)
    assert switch_side(commands) == [ArmTimer(LEG, Party.BILLED, 90_000 - 25_010)]
    assert wake(commands) == T0 + 2000 + 90_000 - 5000


def test_only_one_extension_is_under_way_at_a_time() -> None:
    s = talking(30, final=True)
    assert ExtendSlice(LEG, 25) in s.handle(Due(LEG), T0 + 27_000)
    assert switch_side(s.handle(MoneyArrived(LEG), T0 + 27_001)) == []


def test_with_nothing_more_to_be_had_the_timer_stays_and_later_tries_come_closer_to_the_end() -> None:
    s = talking(4, final=True)
    end_ms = T0 + 2000 + 4000
    now_ms, tries = T0 + 2000, 0
    while True:
        commands = s.handle(Due(LEG), now_ms)
        if not any(isinstance(c, ExtendSlice) for c in commands):
            break
        tries += 1
        commands = s.handle(Extended(LEG, 4, True), now_ms)
        assert switch_side(commands) == [], "an unchanged grant must not touch the timer"
        now_ms = wake(commands)
        if now_ms > end_ms:
            break
    assert 2 <= tries <= 6
    assert now_ms == end_ms + OVERDUE_MS


def test_money_in_mid_call_prolongs_a_leg_that_had_come_to_its_end() -> None:
    s = talking(4, final=True)
    assert ExtendSlice(LEG, 1) in s.handle(MoneyArrived(LEG), T0 + 3500)
    assert ArmTimer(LEG, Party.BILLED, 62_500) in s.handle(Extended(LEG, 64, False), T0 + 3500)


def test_a_leg_that_outlives_its_paid_end_is_hung_up_by_us() -> None:
    s = talking(4, final=True)
    commands = s.handle(Due(LEG), T0 + 2000 + 4000 + OVERDUE_MS)
    assert HangUp(LEG, 16) in commands
    assert s.facts.cut == "credit"


def test_an_end_at_the_paid_end_is_a_cut_and_an_earlier_one_is_not() -> None:
    cut, own = talking(4, final=True), talking(4, final=True)
    cut.handle(ended(T0 + 6007), T0 + 6007)
    own.handle(ended(T0 + 4000), T0 + 4000)
    assert (cut.facts.cut, own.facts.cut) == ("credit", "")


def test_a_leg_at_its_longest_is_cut_for_length_not_for_credit() -> None:
    s = talking(3600, final=True)
    s.handle(ended(T0 + 2000 + 3_600_003), T0 + 2000 + 3_600_003)
    assert s.facts.cut == "max_length"


def test_a_leg_that_a_spend_cap_ends_says_so_until_money_is_what_it_lacks() -> None:
    capped, short = talking(4), talking(4)
    for s, again in ((capped, True), (short, False)):
        s.handle(Extended(LEG, 4, True, True), T0 + 3000)
        s.handle(Extended(LEG, 5, True, again), T0 + 4000)
        s.handle(ended(T0 + 7003), T0 + 7003)
    assert (capped.facts.cut, short.facts.cut) == ("spend_limit", "credit")


def test_an_estimated_end_is_the_last_proof_of_life_and_never_past_the_paid_slice() -> None:
    seen, late = talking(30), talking(30)
    seen.handle(Seen(LEG, T0 + 14_000), T0 + 14_000)
    assert seen.handle(ended(0, grade=Grade.ESTIMATED), T0 + 60_000) == [SettleLeg(LEG, 12, emit=True)]
    assert late.handle(ended(T0 + 99_000, grade=Grade.ESTIMATED), T0 + 99_000) == [SettleLeg(LEG, 30, emit=True)]
    assert seen.facts.cut == late.facts.cut == ""


def test_repeated_signals_change_nothing() -> None:
    s = talking(30)
    assert s.handle(Answered(LEG, T0 + 9000), T0 + 9000) == []
    assert s.handle(dialled(T0 + 9000), T0 + 9000) == []
    assert s.answered_at_ms == T0 + 2000
    s.handle(ended(T0 + 12_000), T0 + 12_000)
    assert s.handle(ended(T0 + 15_000), T0 + 15_000) == []
    assert s.handle(allowed(), T0 + 15_000) == []


@pytest.mark.parametrize(("fails_open", "reason"), [(True, Reason.ALLOWED), (False, Reason.STORE_UNAVAILABLE)])
def test_a_store_that_is_late_leaves_no_call_in_the_gate(fails_open: bool, reason: Reason) -> None:
    s = session(fails_open=fails_open)
    due_ms = wake(s.begin(T0))
    assert s.handle(Due(LEG), due_ms) == [AnswerGate(LEG, reason, 0)]
    late = s.handle(allowed(30), due_ms + 500)
    assert not any(isinstance(c, AnswerGate) for c in late), "the gate is answered once"
    assert ArmTimer(LEG, Party.CALLER, 30_000) in late


def test_a_resumed_leg_waits_until_the_switch_shows_it_and_is_then_armed_again() -> None:
    s = session()
    s.facts.dialled_at_ms = T0 + 10
    s.resume(granted_s=60, final=False, answered_at_ms=T0 + 2000, seen_at_ms=T0 + 20_000)
    assert s.state is State.TALKING
    commands = s.handle(Seen(LEG, T0 + 30_000), T0 + 30_000)
    assert ArmTimer(LEG, Party.BILLED, 32_000) in commands


def test_a_resumed_leg_that_is_gone_is_charged_to_its_last_proof_of_life() -> None:
    s = session()
    s.facts.dialled_at_ms = T0 + 10
    s.resume(granted_s=60, final=False, answered_at_ms=T0 + 2000, seen_at_ms=T0 + 20_000)
    assert s.handle(ended(0, grade=Grade.ESTIMATED), T0 + 99_000) == [SettleLeg(LEG, 18, emit=True)]


def test_an_operator_ends_a_leg() -> None:
    s = talking(30)
    assert s.handle(HangupRequested(LEG), T0 + 5000) == [HangUp(LEG, 16)]
    s.handle(ended(T0 + 5010), T0 + 5010)
    assert s.facts.cut == "operator"


def test_a_leg_that_a_newer_leader_has_is_let_go_without_a_charge() -> None:
    s = talking(30)
    assert s.handle(Lost(LEG), T0 + 5000) == [Forget(LEG)]
    assert s.handle(ended(T0 + 6000), T0 + 6000) == []


def test_an_inbound_leg_leaves_an_event_only_when_it_was_answered() -> None:
    for answered in (True, False):
        s = session(Mode.WATCH, direction="in")
        s.begin(T0)
        s.handle(dialled(), T0)
        s.handle(allowed(3600), T0)
        if answered:
            s.handle(Answered(LEG, T0 + 1000), T0 + 1000)
        [command] = s.handle(ended(T0 + 9000), T0 + 9000)
        assert isinstance(command, SettleLeg)
        assert command.emit is answered


def test_a_missed_answer_is_charged_from_when_it_was_learnt_of_but_paid_from_when_it_may_have_been() -> None:
    s = ringing(30)
    s.handle(Seen(LEG, T0 + 9_000), T0 + 9_000)
    commands = s.handle(Answered(LEG, T0 + 20_000, Grade.RECONCILED), T0 + 20_000)
    assert commands[0] == ArmTimer(LEG, Party.BILLED, 19_000), "30 s from 9 s on, when it was seen to ring"
    assert s.facts.unanswered_at_ms == T0 + 9_000
    assert s.handle(ended(T0 + 25_000), T0 + 25_000) == [SettleLeg(LEG, 5, emit=True)]


def test_a_leg_whose_slice_may_be_over_when_its_answer_is_learnt_of_is_extended_first() -> None:
    s = ringing(30)
    commands = s.handle(Answered(LEG, T0 + 90_000, Grade.RECONCILED), T0 + 90_000)
    assert ArmTimer(LEG, Party.BILLED, 1000) in commands
    assert any(isinstance(c, ExtendSlice) for c in commands)
    assert not any(isinstance(c, HangUp) for c in commands)
    assert s.handle(Extended(LEG, 150, False), T0 + 90_010)[0] == ArmTimer(LEG, Party.BILLED, 59_990)


def test_a_leg_whose_slice_may_be_over_and_that_gets_no_more_is_ended() -> None:
    s = ringing(30, final=True)
    commands = s.handle(Answered(LEG, T0 + 90_000, Grade.RECONCILED), T0 + 90_000)
    assert HangUp(LEG, 16) in commands


def test_a_leg_taken_up_again_keeps_from_when_it_was_paid() -> None:
    s = session()
    s.facts.unanswered_at_ms = T0 + 1_000
    s.resume(granted_s=30, final=False, answered_at_ms=T0 + 8_000, seen_at_ms=T0 + 8_000)
    assert s.paid_until_ms == T0 + 31_000
