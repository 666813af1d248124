"""An account moves to another shard with all that belongs to it, once, whoever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from rater.charging.model import PostKind, Reply, Settle, Status
from rater.charging.moves import Move, MoveRefusal, finish_move, finish_moves, live_legs, move_account
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Lease, Quota, Share, SpendCap, SpendWindow, Terms
from rater.charging.transfers import transfer
from rater.ids import AccountId, LegId, OpId, Shard
from rater.verdict import Reason
from tests.contract.desk import CENT, DAY_MS, NOON_MS, SHARD, SWITCH, Desk, Driver, allowance, minutes, money

FAR, THIRD = Shard(1), Shard(2)
SHARDS = (SHARD, FAR, THIRD)
ACME, BOSS, BETA = AccountId("ACME"), AccountId("BOSS"), AccountId("BETA")
TWIN = AccountId("TWIN")
"""Two accounts of one name, which the product never makes."""
LINE = Lease("line:1001", 2, Reason.LINE_LIMIT)
EVENT = LegId("pbx1.b.7")
STEPS = ("begun", "taken out", "brought in")


@pytest.fixture
def desk(driver: Driver) -> Iterator[Desk]:
    """Whatever a case does, the books of every shard are in balance after it."""
    desk = Desk(driver)
    yield desk
    check_every_shard(desk)


def check_every_shard(desk: Desk) -> None:
    """Each account is in one shard, and there its ledger says what it has; where it was, the ledger is at zero."""
    run, store = desk.driver.run, desk.driver.store
    everywhere: list[str] = []
    for shard in SHARDS:
        run(finish_moves(store, shard))
        states = {state.account: state for state in run(store.accounts(shard))}
        everywhere += states
        legs = run(store.legs(shard))
        held: dict[str, int] = {}
        for leg in legs:
            for piece in leg.pieces:
                if piece.grant is None:
                    payer = leg.owner if piece.shared else leg.account
                    held[payer] = held.get(payer, 0) + piece.amount
            for scope in leg.leases:
                assert desk.driver.leases(scope, NOON_MS, shard) > 0
        if isinstance(store, RedisStore):
            sums: dict[str, int] = {}
            for entry in desk.driver.ledger(shard):
                for line in entry.lines:
                    if not line.resource:
                        assert sums.get(entry.account, 0) == line.before
                        sums[entry.account] = line.after
            for account in {*sums, *states}:
                balance_micro = states[account].balance_micro if account in states else 0
                assert sums.get(account, 0) == balance_micro, (shard, account)
        for state in states.values():
            assert state.reserved_micro == held.get(state.account, 0)
            assert all(grant.reserved_s <= grant.granted_s - grant.used_s for grant in state.grants)
    once = [account for account in everywhere if account != TWIN]
    assert len(once) == len(set(once)), "nobody lives in two shards"
    desk.check_books()


def move(desk: Desk, to: Shard, account: AccountId = ACME, shard: Shard = SHARD) -> MoveRefusal | None:
    refusal: MoveRefusal | None = desk.driver.run(move_account(desk.driver.store, shard, account, to))
    return refusal


def begin(desk: Desk, to: Shard = FAR, account: AccountId = ACME, upto: str = "begun") -> Move:
    """A mover that dies after that step."""
    run, store = desk.driver.run, desk.driver.store
    begun: Move = run(store.begin_move(SHARD, account, to))
    assert isinstance(begun, Move)
    if upto != "begun":
        assert run(store.take_out(begun)) is None
    if upto == "brought in":
        run(store.bring_in(begun))
    return begun


def lives_in(desk: Desk, account: AccountId = ACME) -> list[Shard]:
    run, store = desk.driver.run, desk.driver.store
    return [shard for shard in SHARDS if any(state.account == account for state in run(store.accounts(shard)))]


def live(desk: Desk, scope: str) -> tuple[int, ...]:
    """Slots taken of a limit, by shard."""
    return tuple(desk.live(scope, shard) for shard in SHARDS)


def rated(desk: Desk) -> list[dict[str, Any]]:
    return [{**known, **result} for kind, known, result in desk.driver.outbox(*SHARDS) if kind == "rated"]


# What moves


def test_balance_totals_and_grants_are_the_same_there(desk: Desk) -> None:
    desk.opening("1.00")
    desk.credit("0.50")
    desk.give(minutes("bonus", 100))
    desk.give(money("voucher", "2.00"))
    desk.use_allowances(allowance(60))
    desk.reserve("l", slices=replace(desk.a_reservation("x").slice, first_s=10))
    desk.settle("l", 7)
    before = desk.account()
    assert move(desk, FAR) is None
    assert lives_in(desk) == [FAR]
    assert desk.account() == before
    assert desk.driver.run(desk.driver.store.account(FAR, ACME)) == before


def test_the_ledger_carries_every_balance_out_and_in(desk: Desk) -> None:
    desk.credit("1.50")
    desk.give(minutes("bonus", 100))
    move(desk, FAR)
    out = [line for entry in desk.driver.ledger() for line in entry.lines if line.cause == "move"]
    into = [line for entry in desk.driver.ledger(FAR) for line in entry.lines if line.cause == "move"]
    halves = {(line.resource, line.before, line.after) for line in (*out, *into)}
    assert halves == {("", 150 * CENT, 0), ("", 0, 150 * CENT), ("bonus", 100, 0), ("bonus", 0, 100)}


def test_whoever_knows_only_the_old_shard_is_served_in_the_new(desk: Desk) -> None:
    desk.credit("1.00")
    move(desk, FAR)
    assert desk.credit("0.50").balance_micro == 150 * CENT
    assert desk.debit("0.20").balance_micro == 130 * CENT
    desk.give(minutes("bonus", 100))
    assert desk.reserve("l").granted_s == 30
    assert desk.settle("l", 7).status is Status.OK
    assert lives_in(desk) == [FAR]


def test_an_account_that_nobody_has_met_yet_moves_too(desk: Desk) -> None:
    assert move(desk, FAR) is None
    assert desk.credit("1.00").balance_micro == 100 * CENT
    assert lives_in(desk) == [FAR]


def test_to_where_it_is_it_moves_without_a_trace(desk: Desk) -> None:
    desk.credit("1.00")
    assert move(desk, SHARD) is None
    assert [cause for cause, *_ in desk.causes()] == ["credit"]


def test_it_moves_on_and_back_again(desk: Desk) -> None:
    desk.credit("1.00")
    for to in (FAR, THIRD, FAR, SHARD, THIRD):
        assert move(desk, to) is None
        assert lives_in(desk) == [to]
        assert desk.credit("0.10").status is Status.OK
    assert desk.account().balance_micro == 150 * CENT


# Live legs


def test_a_leg_goes_on_in_the_new_shard_and_leaves_one_event(desk: Desk) -> None:
    desk.credit("1.00")
    desk.reserve("l", leases=(LINE,))
    move(desk, FAR)
    assert live(desk, LINE.scope) == (0, 1, 0)
    assert desk.legs() == []
    assert desk.answer("l").status is Status.OK
    assert desk.extend("l", 25).granted_s > 30
    assert desk.settle("l", 40).amount_micro == 40 * CENT
    assert live(desk, LINE.scope) == (0, 0, 0)
    assert [(event["id"], event["amount_micro"]) for event in rated(desk)] == [("l", 40 * CENT)]
    assert desk.account().balance_micro == 60 * CENT


def test_its_limits_hold_on_through_the_move(desk: Desk) -> None:
    desk.credit("9.00")
    desk.reserve("a", leases=(LINE,))
    move(desk, FAR)
    assert desk.reserve("b", leases=(LINE,)).status is Status.OK
    assert desk.reserve("c", leases=(LINE,)).reason is Reason.LINE_LIMIT
    desk.settle("a", 5)
    assert desk.reserve("d", leases=(LINE,)).status is Status.OK
    desk.settle("b", 5)
    desk.settle("d", 5)
    assert live(desk, LINE.scope) == (0, 0, 0)


def test_other_accounts_legs_and_leases_stay_where_they_are(desk: Desk) -> None:
    desk.credit("1.00")
    desk.credit("1.00", account=BETA)
    trunk = Lease("trunk:t1", 5, Reason.TRUNK_LIMIT)
    desk.reserve("a", leases=(trunk,))
    desk.reserve("b", account=BETA, leases=(trunk,))
    move(desk, FAR)
    assert live(desk, trunk.scope) == (1, 1, 0)
    assert [leg.leg for leg in desk.legs()] == ["b"]
    desk.settle("a", 5)
    desk.settle("b", 5, account=BETA)
    assert live(desk, trunk.scope) == (0, 0, 0)


def test_what_a_spend_cap_counted_counts_on(desk: Desk) -> None:
    desk.credit("9.00")
    desk.terms = replace(desk.terms, spend=(SpendCap(SpendWindow.HOUR, 40 * CENT, NOON_MS),))
    desk.reserve("a")
    desk.settle("a", 25)
    desk.reserve("b")
    move(desk, FAR)
    assert desk.extend_to_the_end("b").granted_s == 20
    assert desk.reserve("c").reason is Reason.SPEND_LIMIT
    desk.settle("b", 15)


def test_a_free_leg_moves_as_well(desk: Desk) -> None:
    desk.credit("1.00")
    desk.reserve("l", exempt=True)
    move(desk, FAR)
    assert [leg.leg for leg in desk.driver.run(desk.driver.store.legs(FAR))] == ["l"]
    assert desk.settle("l", 100).amount_micro == 0


# Repeats


def test_repeats_of_a_leg_get_their_first_answers(desk: Desk) -> None:
    desk.credit("1.00")
    reserve, over = desk.a_reservation("l"), desk.a_reservation("over")
    first, _ = desk.ask(reserve), desk.ask(over)
    end = desk.a_settlement("over", 3)
    ended = desk.ask(end)
    move(desk, FAR)
    assert desk.ask(reserve) == replace(first, repeated=True)
    extension = desk.an_extension("l", 20)
    extended = desk.ask(extension)
    move(desk, THIRD)
    assert desk.ask(extension) == replace(extended, repeated=True)
    assert desk.settle("l", 20).status is Status.OK
    assert desk.ask(end) == replace(ended, repeated=True) or desk.ask(end).status is Status.GONE
    assert len(rated(desk)) == 2


def test_a_posting_done_before_the_move_is_not_done_again_after_it(desk: Desk) -> None:
    posting, gift = desk.a_posting("p", "1.00"), desk.a_gift("g", minutes("bonus", 100))
    first, given = desk.ask(posting), desk.ask(gift)
    homes = [SHARD]
    for to in (FAR, THIRD, SHARD, FAR):
        move(desk, to)
        homes.append(to)
        for shard in homes:
            assert desk.ask(replace(posting, shard=shard)) == replace(first, repeated=True)
            assert desk.ask(replace(gift, shard=shard)) == replace(given, repeated=True)
            assert desk.ask(replace(posting, shard=shard, amount_micro=5)).status is Status.CONFLICT
    assert desk.account().balance_micro == 100 * CENT


def test_refunds_of_an_event_are_counted_through_all_its_homes(desk: Desk) -> None:
    def refund(op: str, cents: int) -> Reply:
        post = desk.a_posting(op, "0.01", PostKind.REFUND)
        return desk.ask(replace(post, amount_micro=cents * CENT, event=EVENT, charged_micro=100 * CENT))

    assert refund("r1", 40).status is Status.OK
    move(desk, FAR)
    assert refund("r2", 61).reason is Reason.REFUND_TOO_LARGE
    assert refund("r3", 30).status is Status.OK
    move(desk, SHARD)
    assert refund("r4", 31).reason is Reason.REFUND_TOO_LARGE
    assert refund("r5", 30).status is Status.OK
    assert refund("r1", 40).repeated
    assert desk.account().balance_micro == 100 * CENT


def test_an_opening_is_posted_once_wherever_the_account_lives(desk: Desk) -> None:
    desk.opening("1.00", op="first")
    move(desk, FAR)
    assert desk.opening("1.00", op="second").repeated
    assert desk.opening("2.00", op="third").status is Status.CONFLICT


# Somebody dies on the way


@pytest.mark.parametrize("died_after", STEPS)
def test_a_move_left_in_the_middle_is_finished_by_whoever_asks_for_the_account(desk: Desk, died_after: str) -> None:
    desk.credit("1.00")
    desk.reserve("l", leases=(LINE,))
    begin(desk, upto=died_after)
    assert desk.credit("0.50", op="more").balance_micro == 150 * CENT
    assert lives_in(desk) == [FAR]
    assert desk.extend("l", 20).status is Status.OK
    assert desk.settle("l", 20).amount_micro == 20 * CENT
    assert live(desk, LINE.scope) == (0, 0, 0)


@pytest.mark.parametrize("died_after", STEPS)
def test_meanwhile_the_account_can_be_read(desk: Desk, died_after: str) -> None:
    desk.credit("1.00")
    begin(desk, upto=died_after)
    assert desk.account().balance_micro == 100 * CENT


@pytest.mark.parametrize("died_after", STEPS)
def test_whoever_takes_up_a_switch_gets_every_leg_once(desk: Desk, died_after: str) -> None:
    desk.credit("1.00")
    desk.credit("1.00", account=BETA)
    desk.reserve("a")
    desk.reserve("b", account=BETA)
    begin(desk, upto=died_after)
    legs = desk.driver.run(live_legs(desk.driver.store, len(SHARDS), SWITCH))
    assert sorted((leg.leg, leg.shard) for leg in legs) == [("a", FAR), ("b", SHARD)]


def test_every_step_may_be_repeated_and_comes_too_late_without_effect(desk: Desk) -> None:
    run, store = desk.driver.run, desk.driver.store
    desk.credit("1.00")
    desk.reserve("l", leases=(LINE,))
    old = begin(desk)
    for _ in range(2):
        run(store.take_out(old))
        run(store.take_out(old))
        run(store.bring_in(old))
        desk.credit("0.10")
        run(store.bring_in(old))
        run(store.end_move(old))
    move(desk, SHARD)
    desk.credit("0.10")
    move(desk, THIRD)
    run(finish_move(store, old))
    assert desk.account().balance_micro == 130 * CENT
    assert lives_in(desk) == [THIRD]
    assert live(desk, LINE.scope) == (0, 0, 1)
    assert run(store.moves(SHARD)) == []


def test_a_second_mover_joins_the_move_under_way_before_it_makes_its_own(desk: Desk) -> None:
    desk.credit("1.00")
    begin(desk, FAR, upto="taken out")
    assert move(desk, THIRD) is None
    assert lives_in(desk) == [THIRD]


# Groups


def lend(desk: Desk, **more: Any) -> None:
    """From now on ACME's terms say that BOSS's money and minutes serve it."""
    boss = Terms(currency="EUR", allowances=(allowance(20, grant="family"),))
    desk.terms = replace(desk.terms, share=Share(BOSS, boss, **more))


def test_a_member_that_talks_moves_to_its_owners_shard_and_draws_on_it_from_the_next_slice(desk: Desk) -> None:
    run, store = desk.driver.run, desk.driver.store
    desk.credit("0.30")
    run(store.ask(replace(desk.a_posting("c", "1.00", account=BOSS), shard=FAR)))
    desk.reserve("l", leases=(LINE,))
    assert desk.extend_to_the_end("l").granted_s == 30
    assert move(desk, FAR) is None
    lend(desk)
    extension = replace(desk.an_extension("l", 29), shard=FAR)
    assert run(store.ask(extension)).granted_s == 89
    assert run(store.ask(replace(desk.a_settlement("l", 60), shard=FAR))).status is Status.OK
    assert run(store.account(FAR, ACME)).balance_micro == 0
    boss = run(store.account(FAR, BOSS))
    assert [(grant.grant, grant.used_s) for grant in boss.grants] == [("family", 20)]
    assert boss.balance_micro == 90 * CENT
    assert (boss.reserved_micro, live(desk, LINE.scope)) == (0, (0, 0, 0))


def test_what_a_member_took_of_its_quota_moves_with_it(desk: Desk) -> None:
    desk.credit("1.00", account=BOSS)
    desk.credit("1.00")
    lend(desk, quota_s=Quota(50, NOON_MS - 1, NOON_MS + DAY_MS))
    desk.reserve("l")
    desk.settle("l", 10)
    desk.terms = replace(desk.terms, share=None)
    before = desk.account().quotas
    assert [quota.used for quota in before] == [10]
    move(desk, FAR)
    assert desk.account().quotas == before


def test_until_member_and_owner_are_together_the_member_is_served_alone(desk: Desk) -> None:
    run, store = desk.driver.run, desk.driver.store
    run(store.ask(replace(desk.a_posting("c", "9.00", account=BOSS), shard=FAR)))
    desk.credit("0.50")
    lend(desk)
    move(desk, THIRD)  # whoever asks does not know of it yet
    desk.reserve("l")
    desk.extend_to_the_end("l")
    assert desk.settle("l", 80).amount_micro == 50 * CENT
    assert lives_in(desk, BOSS) == [FAR]
    assert run(store.account(FAR, BOSS)).balance_micro == 900 * CENT


def test_an_owner_that_has_moved_away_is_not_made_anew(desk: Desk) -> None:
    desk.credit("9.00", account=BOSS)
    move(desk, FAR, BOSS)
    desk.credit("0.50")
    lend(desk)
    assert desk.reserve("l").status is Status.OK
    desk.extend_to_the_end("l")
    assert desk.settle("l", 80).amount_micro == 50 * CENT
    assert lives_in(desk, BOSS) == [FAR]
    assert desk.account(BOSS).balance_micro == 900 * CENT


# Refusals


def test_an_owner_on_which_members_draw_stays(desk: Desk) -> None:
    desk.credit("1.00", account=BOSS)
    desk.credit("0.10")
    lend(desk)
    desk.reserve("l")
    assert move(desk, FAR, BOSS) is MoveRefusal.SERVES_OTHERS
    assert desk.extend("l", 20).status is Status.OK
    assert desk.settle("l", 20).status is Status.OK
    assert move(desk, FAR, BOSS) is None


def test_a_member_whose_calls_draw_on_its_group_stays_until_they_end(desk: Desk) -> None:
    desk.credit("1.00", account=BOSS)
    desk.credit("0.10")
    lend(desk)
    desk.reserve("l")
    desk.terms = replace(desk.terms, share=None)
    assert move(desk, FAR) is MoveRefusal.DRAWS_ON_GROUP
    assert lives_in(desk) == [SHARD]
    assert desk.extend("l", 20).status is Status.OK
    desk.settle("l", 20)
    assert move(desk, FAR) is None


def test_where_another_has_its_name_an_account_does_not_go(desk: Desk) -> None:
    run, store = desk.driver.run, desk.driver.store
    desk.credit("1.00")
    run(store.ask(replace(desk.a_posting("c", "0", PostKind.OPENING), shard=FAR, account=TWIN)))
    desk.credit("3.00", account=TWIN)
    assert move(desk, FAR, TWIN) is MoveRefusal.NAME_TAKEN
    assert desk.credit("0.10", account=TWIN).balance_micro == 310 * CENT


# Transfers


def test_a_transfer_is_done_as_the_two_live_at_the_time(desk: Desk) -> None:
    run, store = desk.driver.run, desk.driver.store
    numbers = count(1)

    def send(shard: Shard, other_shard: Shard) -> Reply:
        post = desk.a_posting(f"t{next(numbers)}", "0.10", PostKind.TRANSFER)
        reply: Reply = run(transfer(store, replace(post, shard=shard, other=BETA, other_shard=other_shard)))
        return reply

    desk.credit("1.00")
    desk.credit("0.01", account=BETA)
    assert send(SHARD, SHARD).status is Status.OK
    move(desk, FAR, BETA)
    assert send(SHARD, SHARD).status is Status.OK
    move(desk, FAR)
    assert send(SHARD, SHARD).status is Status.OK
    move(desk, SHARD, BETA)
    assert send(FAR, FAR).status is Status.OK
    assert (desk.account().balance_micro, desk.account(BETA).balance_micro) == (60 * CENT, 41 * CENT)


def test_a_transfer_within_a_shard_that_one_has_left_does_nothing_and_says_so(desk: Desk) -> None:
    desk.credit("1.00")
    desk.credit("0.01", account=BETA)
    post = replace(desk.a_posting("t", "0.10", PostKind.TRANSFER), other=BETA)
    move(desk, FAR, BETA)
    assert desk.ask(post).status is Status.MOVED
    move(desk, FAR)
    assert desk.ask(post).status is Status.MOVED
    assert (desk.account().balance_micro, desk.account(BETA).balance_micro) == (100 * CENT, CENT)


def test_a_leg_that_never_was_is_gone_wherever_its_account_lives(desk: Desk) -> None:
    desk.credit("1.00")
    move(desk, FAR)
    end = Settle(OpId("n:2"), SHARD, ACME, LegId("n"), SWITCH, 1, NOON_MS, 5, desk.terms, True, b"\x80")
    assert desk.ask(end).status is Status.GONE
    assert desk.ask(replace(desk.a_reservation("n"), op=OpId("n:1"))).status is Status.GONE
