"""Everything that can be done, in any order, with repeats, late arrivals and lost answers, against an auditor that
computes by itself; over the reference store and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from rater.charging.model import (
    ExpireGrant,
    Extend,
    Post,
    PostGrant,
    PostKind,
    Reply,
    Request,
    Reserve,
    Settle,
    Status,
)
from rater.charging.records import LegState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import (
    AllowanceTerm,
    GrantSpec,
    Lease,
    Quota,
    Resource,
    Share,
    SlicePolicy,
    SpendCap,
    SpendWindow,
    Terms,
    Threshold,
    ThresholdKind,
    Tier,
)
from rater.ids import AccountId, GrantId, LegId, OpId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.charging.auditor import Auditor, Price
from tests.contract.desk import CENT, DAY_MS, NOON_MS, SHARD, SWITCH, Driver, MemoryDriver, RedisDriver, facts
from tests.servers import RedisServer

SOLO, BOSS, MEMBER = "SOLO", "BOSS", "MEMBER"
FLOORS = {SOLO: 0, BOSS: -50 * CENT, MEMBER: 0}
BELOW = {SOLO: 100 * CENT, BOSS: 0, MEMBER: 50 * CENT}
SPENT = 120 * CENT
CAP = 300 * CENT
"""What all together may take of BOSS's money in a day."""
SCOPE = "trunk:t1"
LEASES = (Lease(SCOPE, 6, Reason.TRUNK_LIMIT),)
PRICES = [
    (Price(0, 1, 1, Fraction(CENT), 1), Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed")),
    (
        Price(5 * CENT, 60, 60, Fraction(CENT, 3), CENT),
        Quote((Segment(0, 60, CENT, 3),), "EUR", "mobile", CENT, connect_micro=5 * CENT),
    ),
    (
        Price(0, 30, 6, Fraction(7000, 9), 1),
        Quote((Segment(0, 30, 7000, 9), Segment(30, 6, 7000, 9)), "EUR", "fixed"),
    ),
]
CADENCES = [(1, 1), (30, 6), (60, 60)]
HOURS = [(), (), ("day",), ("night",), ("day", "night"), ("sundays",)]
PERIOD_S = 90
SHIFTS = {SOLO: 0, BOSS: 25, MEMBER: 60}
"""By how much the bands of an account's plan come later than those of another's."""


def band_at(account: str, at_ms: int) -> str:
    """40 seconds of day, 30 of night, 20 of neither."""
    second = (at_ms // 1000 - SHIFTS[account]) % PERIOD_S
    return "day" if second < 40 else "night" if second < 70 else ""


def bands_around(account: str, at_ms: int) -> tuple[tuple[int, str], ...]:
    """From some time before to some time after, further than any leg here looks."""
    begun_s = (at_ms // 1000 - SHIFTS[account]) // PERIOD_S * PERIOD_S + SHIFTS[account]
    edges = []
    for number in range(-6, 8):
        start_s = begun_s + number * PERIOD_S
        edges += [(start_s * 1000, "day"), ((start_s + 40) * 1000, "night"), ((start_s + 70) * 1000, "")]
    return tuple(edges)


class Machine(RuleBasedStateMachine):
    """`driver`: set by whoever runs it."""

    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOON_MS
        self.auditor = Auditor(FLOORS, BELOW, SPENT, {BOSS: CAP})
        self.auditor.cadences["plan/minutes"] = (30, 6)
        self.auditor.cadences["boss/family"] = (1, 1)
        self.auditor.hours["boss/family"] = ("day", "night")
        self.auditor.band = band_at
        self.names = count(1)
        self.live: dict[str, tuple[str, Price]] = {}
        self.numbers: dict[str, int] = {}
        self.done: list[tuple[Request, Reply]] = []
        self.held: list[Request] = []
        self.events = 0
        self.may_lapse = False
        """Legs were not extended for so long that their leases may have run out, and may be gone."""

    # -- terms ---------------------------------------------------------------------------------------------------

    def terms(self, account: str) -> Terms:
        start_ms = self.now_ms - (self.now_ms - NOON_MS + 1000) % DAY_MS
        cycle = (start_ms, start_ms + DAY_MS)
        watched = (
            Threshold("low", ThresholdKind.MONEY_BELOW, BELOW[account]),
            Threshold("high", ThresholdKind.MONEY_ABOVE, BELOW[account]),
            Threshold("rare", ThresholdKind.MONEY_BELOW, BELOW[account], once_from_ms=start_ms),
            Threshold("spent", ThresholdKind.SPEND_DAY, SPENT),
        )
        spend = (SpendCap(SpendWindow.DAY, CAP if account == BOSS else None, start_ms),)
        allowances = {
            SOLO: (
                AllowanceTerm(
                    GrantId("plan/minutes"), 90, Cadence(0, 30, 6), *cycle, Tier.OWN, 0, cycle[1] + DAY_MS
                ),
            ),
            BOSS: (
                AllowanceTerm(
                    GrantId("boss/family"),
                    70,
                    Cadence(),
                    *cycle,
                    Tier.GENERIC,
                    0,
                    cycle[1] + DAY_MS,
                    hours=("day", "night"),
                ),
            ),
            MEMBER: (),
        }[account]
        terms = Terms(
            FLOORS[account], True, allowances, watched, "EUR", spend, bands=bands_around(account, self.now_ms)
        )
        if account != MEMBER:
            return terms
        return replace(
            terms, share=Share(AccountId(BOSS), self.terms(BOSS), quota_s=Quota(50, *cycle, cycle[1] + DAY_MS))
        )

    # -- carrying out --------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> Reply:
        """For the first time."""
        self.note_day()
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        self.note(request, reply)
        self.done.append((request, reply))
        return reply

    def note_day(self) -> None:
        self.auditor.day = (self.now_ms - NOON_MS + 1000) // DAY_MS

    def note(self, request: Request, reply: Reply) -> None:
        if reply.status is not Status.OK or reply.repeated:
            return
        match request:
            case Post():
                self.auditor.moves(request.op, request.account, request.change_micro)
                if request.other is not None:
                    self.auditor.moves(f"{request.op}:{request.other}", request.other, request.amount_micro)
            case PostGrant():
                self.auditor.gives(request.account, request.grant.id, request.grant.amount)
            case Reserve() | Extend():
                elapsed_s = request.elapsed_s if isinstance(request, Extend) else 0
                for leg in self.stored():
                    if leg.leg == request.leg:
                        self.auditor.grows(leg, request.now_ms - elapsed_s * 1000)
            case Settle():
                member, price = self.live.pop(request.leg)
                event = self.new_event()
                self.auditor.settles(
                    request.op, member, price, request.duration_s or 0, reply.granted_s, event, reply.amount_micro
                )

    def stored(self) -> list[LegState]:
        """Every live leg."""
        return list(self.driver.run(self.driver.store.legs(SHARD)))

    def new_event(self) -> dict[str, Any]:
        events = [{**known, **result} for kind, known, result in self.driver.outbox() if kind == "rated"]
        assert len(events) == self.events + 1
        self.events += 1
        return events[-1]

    def number(self, leg: str) -> OpId:
        self.numbers[leg] = self.numbers.get(leg, 0) + 1
        return OpId(f"{leg}:{self.numbers[leg]}")

    def post(self, kind: PostKind, account: str, amount: int, **more: Any) -> Post:
        op = OpId(f"{account}-{next(self.names)}")
        return Post(op, SHARD, AccountId(account), kind, amount, self.now_ms, self.terms(account), **more)

    # -- what may happen -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 20, 600, 40_000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        self.may_lapse |= seconds > 1 and bool(self.live)

    @rule(account=st.sampled_from(list(FLOORS)), amount=st.integers(1, 150 * CENT))
    def credit(self, account: str, amount: int) -> None:
        assert self.ask(self.post(PostKind.CREDIT, account, amount)).status is Status.OK

    @rule(
        account=st.sampled_from(list(FLOORS)),
        amount=st.integers(-100 * CENT, 100 * CENT).filter(bool),
        kind=st.sampled_from([PostKind.DEBIT, PostKind.ADJUST]),
    )
    def take(self, account: str, amount: int, kind: PostKind) -> None:
        self.ask(self.post(kind, account, abs(amount) if kind is PostKind.DEBIT else amount))

    @rule(accounts=st.permutations(list(FLOORS)), amount=st.integers(1, 100 * CENT))
    def transfer(self, accounts: list[str], amount: int) -> None:
        other = AccountId(accounts[1])
        self.ask(self.post(PostKind.TRANSFER, accounts[0], amount, other=other, other_terms=self.terms(other)))

    @rule(
        account=st.sampled_from(list(FLOORS)),
        size=st.integers(1, 120),
        money=st.booleans(),
        cadence=st.sampled_from(CADENCES),
        begins_s=st.sampled_from([-10, 0, 25]),
        lasts_s=st.sampled_from([40, 700, 10**7]),
        classes=st.sampled_from([(), ("fixed",), ("mobile",)]),
        priority=st.integers(-1, 1),
        hours=st.sampled_from(HOURS),
    )
    def give(
        self, account: str, size: int, money: bool, cadence: tuple[int, int], begins_s: int, lasts_s: int,
        classes: tuple[str, ...], priority: int, hours: tuple[str, ...],
    ) -> None:  # fmt: skip
        name = f"{account}-{next(self.names)}"
        self.auditor.cadences[name] = cadence
        if hours:
            self.auditor.hours[name] = hours
        from_ms = self.now_ms + begins_s * 1000
        spec = GrantSpec(
            GrantId(name), Resource.MONEY if money else Resource.SECONDS, size * (CENT if money else 1), from_ms,
            from_ms + lasts_s * 1000, priority, "gift", classes, (), Cadence(0, *cadence), hours=hours,
        )  # fmt: skip
        assert self.ask(PostGrant(OpId(name), SHARD, AccountId(account), spec, self.now_ms)).status is Status.OK

    @rule(data=st.data())
    def end_a_grant(self, data: st.DataObject) -> None:
        given = sorted(self.auditor.given)
        if given:
            account, grant = data.draw(st.sampled_from(given))
            op = OpId(f"{account}-{next(self.names)}")
            self.ask(ExpireGrant(op, SHARD, AccountId(account), GrantId(grant), self.now_ms))

    @rule(
        account=st.sampled_from(list(FLOORS)), price=st.sampled_from(PRICES), first_s=st.sampled_from([2, 30, 100]),
        lost=st.booleans(),
    )  # fmt: skip
    def reserve(self, account: str, price: tuple[Price, Quote], first_s: int, lost: bool) -> None:
        leg = f"leg{next(self.names)}"
        request = Reserve(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, 1, self.now_ms, price[1],
            self.terms(account), LEASES, SlicePolicy(first_s, 60, 2), False, facts(leg),
        )  # fmt: skip
        reply = self.ask(request)
        if reply.status is Status.OK:
            self.live[leg] = (account, price[0])
            assert reply.granted_s > 0
        if lost:
            assert self.driver.run(self.driver.store.ask(request)) == replace(reply, repeated=True)

    def extension(self, leg: str, elapsed_s: int) -> Extend:
        account, _ = self.live[leg]
        return Extend(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, 1, self.now_ms, elapsed_s,
            self.terms(account), SlicePolicy(),
        )  # fmt: skip

    @precondition(lambda self: self.live)
    @rule(data=st.data(), elapsed_s=st.integers(0, 200))
    def extend(self, data: st.DataObject, elapsed_s: int) -> None:
        request = self.extension(data.draw(st.sampled_from(sorted(self.live))), elapsed_s)
        assert self.ask(request).status is Status.OK

    @precondition(lambda self: self.live)
    @rule(data=st.data(), talked_s=st.none() | st.integers(1, 250), lost=st.booleans())
    def settle(self, data: st.DataObject, talked_s: int | None, lost: bool) -> None:
        leg = data.draw(st.sampled_from(sorted(self.live)))
        account, _ = self.live[leg]
        request = Settle(
            self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, 1, self.now_ms, talked_s,
            self.terms(account), True, facts(leg),
        )  # fmt: skip
        reply = self.ask(request)
        assert reply.status is Status.OK
        if lost:
            assert self.driver.run(self.driver.store.ask(request)) == replace(reply, repeated=True)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), elapsed_s=st.integers(0, 100))
    def hold_back(self, data: st.DataObject, elapsed_s: int) -> None:
        """It is under way for long: what comes after it arrives first."""
        leg = data.draw(st.sampled_from(sorted(self.live)))
        self.held.append(self.extension(leg, elapsed_s))
        assert self.ask(self.extension(leg, elapsed_s)).status is Status.OK

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        request = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        assert reply.repeated or reply.status is Status.GONE

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Whatever was done before, at any later time: it moves nothing."""
        request, first = data.draw(st.sampled_from(self.done))
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        if (isinstance(request, Post | PostGrant) and first.status in (Status.OK, Status.DENIED)) or (
            isinstance(request, ExpireGrant) and first.status is Status.OK
        ):
            assert reply == replace(first, repeated=True)
        elif isinstance(request, Reserve | Extend | Settle) and first.status is Status.OK:
            assert reply.repeated or reply.status is Status.GONE

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        store = self.driver.store
        self.may_lapse &= bool(self.live)
        self.auditor.look(
            self.driver.run(store.accounts(SHARD)),
            self.driver.run(store.legs(SHARD)),
            self.driver.ledger(),
            [result for kind, _, result in self.driver.outbox() if kind == "threshold"],
            self.driver.leases(SCOPE, 0, SHARD),
            may_lapse=self.may_lapse,
        )
        assert {leg.leg for leg in self.driver.run(store.legs(SHARD))} == set(self.live)

    def teardown(self) -> None:
        """In the end every leg is settled, and nothing is held any more."""
        for leg in sorted(self.live):
            account, _ = self.live[leg]
            self.ask(
                Settle(
                    self.number(leg), SHARD, AccountId(account), LegId(leg), SWITCH, 1, self.now_ms, 10,
                    self.terms(account), True, facts(leg),
                )
            )  # fmt: skip
        self.everything_agrees()
        for state in self.driver.run(self.driver.store.accounts(SHARD)):
            assert state.reserved_micro == 0
            assert not any(grant.reserved_s for grant in state.grants)
            assert not any(quota.reserved for quota in state.quotas)
        assert self.driver.leases(SCOPE, 0, SHARD) == 0


def play(make: Callable[[], Driver], *, examples: int, steps: int, machine: type[Machine] = Machine) -> None:
    class Playing(machine):  # type: ignore[valid-type, misc]
        def __init__(self) -> None:
            super().__init__()
            self.driver = make()

        def teardown(self) -> None:
            super().teardown()
            if isinstance(self.driver, RedisDriver):
                self.driver.close()

    run_state_machine_as_test(
        Playing,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None,
            suppress_health_check=[
                HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large,
            ],
        ),
    )  # fmt: skip


def test_over_the_reference_store() -> None:
    play(MemoryDriver, examples=150, steps=40)


def test_over_redis(server: RedisServer) -> None:
    prefixes = count(1)
    with asyncio.Runner() as runner:

        def make() -> Driver:
            store = RedisStore(server.url, prefix=f"m{next(prefixes)}")
            runner.get_loop().run_until_complete(store.start())
            return RedisDriver(runner.get_loop(), store)

        play(make, examples=20, steps=30)
