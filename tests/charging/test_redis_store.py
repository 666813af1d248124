"""The Redis store on the embedded server: each rule of charging, through the scripts that production runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import (
    AllowanceTerm,
    Answer,
    Deny,
    Extend,
    Lease,
    Post,
    PostKind,
    Reply,
    Reserve,
    Settle,
    SlicePolicy,
    Status,
    Terms,
    Threshold,
    ThresholdKind,
)
from rater.charging.redis_store import RedisStore, load_scripts
from rater.errors import ConfigError
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Rounding, Segment, affordable_s, cumulative_micro
from rater.verdict import Reason

CENT = 10_000
PER_SECOND = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed")
PER_MINUTE = Quote((Segment(0, 60, CENT, 1),), "EUR", "fixed", connect_micro=5 * CENT)
FREE = Quote((Segment(0, 1, 0, 1),), "EUR", "emergency")
A, S, SWITCH = AccountId("A"), Shard(0), SwitchId("pbx1")
T0 = 1_790_000_000_000
ALLOWANCE = Terms(
    allowances=(AllowanceTerm(GrantId("m"), 10, Cadence(), T0, T0 + 10**9),),
    thresholds=(Threshold("80", ThresholdKind.ALLOWANCE_PERCENT, 80, GrantId("m")),),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis(tmp_path_factory.mktemp("r"))
    redis.start()
    yield redis
    redis.stop()


class Desk:
    """Speaks for legs: numbers their operations, so that a test reads as what happens."""

    def __init__(self, store: RedisStore, epoch: int) -> None:
        self.store, self.epoch = store, epoch
        self._numbers: dict[str, int] = {}

    def op(self, leg: str) -> OpId:
        self._numbers[leg] = self._numbers.get(leg, 0) + 1
        return OpId(f"{leg}:{self._numbers[leg]}")

    async def credit(self, amount_micro: int, op: str = "c1", kind: PostKind = PostKind.CREDIT) -> Reply:
        return await self.store.ask(Post(OpId(op), S, A, kind, amount_micro, T0, Terms()))

    async def reserve(
        self,
        leg: str,
        *,
        quote: Quote = PER_SECOND,
        terms: Terms | None = None,
        leases: tuple[Lease, ...] = (),
        slices: SlicePolicy | None = None,
        exempt: bool = False,
    ) -> Reply:
        return await self.store.ask(
            Reserve(
                self.op(leg),
                S,
                A,
                LegId(leg),
                SWITCH,
                self.epoch,
                T0,
                quote,
                terms or Terms(),
                leases,
                slices or SlicePolicy(),
                exempt,
                facts(leg),
            )
        )

    async def extend(self, leg: str, elapsed_s: int, *, terms: Terms | None = None) -> Reply:
        op = self.op(leg)
        return await self.store.ask(
            Extend(op, S, A, LegId(leg), SWITCH, self.epoch, T0, elapsed_s, terms or Terms(), SlicePolicy())
        )

    def settlement(self, leg: str, duration_s: int | None, terms: Terms | None = None) -> Settle:
        op = self.op(leg)
        return Settle(
            op, S, A, LegId(leg), SWITCH, self.epoch, T0 + 1, duration_s, terms or Terms(), True, facts(leg)
        )

    async def settle(self, leg: str, duration_s: int | None, *, terms: Terms | None = None) -> Reply:
        return await self.store.ask(self.settlement(leg, duration_s, terms))

    async def outbox(self, kind: bytes) -> list[dict[str, object]]:
        entries = await self.store.redis.xrange(self.store.keys(S).outbox)
        return [msgpack.unpackb(e[b"r"]) for _, e in entries if e[b"k"] == kind]

    async def check_books(self) -> None:
        """Balance = totals = sum of the ledger; nothing reserved without a leg."""
        state = await self.store.account(S, A)
        assert state is not None
        assert state.balance_micro == (
            state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
        )
        entries = await self.store.redis.xrange(self.store.keys(S).ledger)
        moves = sum(int(e[b"after"]) - int(e[b"before"]) for _, e in entries if e[b"resource"] == b"money")
        assert moves == state.balance_micro
        legs = await self.store.legs(S)
        assert state.reserved_micro == sum(p.amount for leg in legs for p in leg.pieces if p.grant is None)


def facts(leg: str) -> bytes:
    return bytes(msgpack.packb({"id": leg, "reason": "no_rate"}))


@asynccontextmanager
async def desk(server: EmbeddedRedis) -> AsyncIterator[Desk]:
    store = RedisStore(server.url)
    await store.redis.flushall()
    await store.start()
    epoch = await store.lead(SWITCH, "here", 60_000)
    assert epoch is not None
    try:
        yield Desk(store, epoch)
    finally:
        await store.close()


def run(server: EmbeddedRedis, case: object) -> None:
    async def main() -> None:
        async with desk(server) as d:
            await case(d)  # type: ignore[operator]  # each case is a coroutine function of one desk

    asyncio.run(main())


def test_a_leg_reserves_is_charged_for_what_it_talked_and_gives_back_the_rest(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(100 * 100 * CENT)
        assert (await d.reserve("l")).granted_s == 30
        await d.store.ask(Answer(d.op("l"), S, A, LegId("l"), SWITCH, d.epoch, T0, T0, facts("l")))
        assert (await d.extend("l", 25)).granted_s == 85
        reply = await d.settle("l", 42)
        assert (reply.amount_micro, reply.reserved_micro) == (42 * CENT, 0)
        [event] = await d.outbox(b"rated")
        assert (event["amount_micro"], event["pieces"]) == (42 * CENT, [["", 0, 42, 42 * CENT]])
        await d.check_books()

    run(server, case)


def test_every_operation_repeated_gives_the_first_answer_and_moves_nothing(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        for _ in range(3):
            assert (await d.credit(1000 * CENT)).balance_micro == 1000 * CENT
        assert (await d.credit(999 * CENT)).status is Status.CONFLICT
        await d.reserve("l")
        settlement = d.settlement("l", 10)
        replies = [await d.store.ask(settlement) for _ in range(3)]
        assert [r.amount_micro for r in replies] == [10 * CENT] * 3
        assert [r.repeated for r in replies] == [False, True, True]
        assert len(await d.outbox(b"rated")) == 1
        await d.check_books()

    run(server, case)


def test_the_charge_never_exceeds_the_paid_slices(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(4 * CENT)
        granted_s = (await d.reserve("l")).granted_s
        while not (reply := await d.extend("l", granted_s)).final:
            granted_s = reply.granted_s
        assert reply.granted_s == 4
        assert (await d.settle("l", 99)).balance_micro == 0
        await d.check_books()

    run(server, case)


def test_nothing_is_granted_without_money_and_the_denial_is_recorded(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        assert (await d.reserve("l")).reason is Reason.INSUFFICIENT_CREDIT
        assert (await d.reserve("m", terms=Terms(use_money=False))).reason is Reason.ALLOWANCE_EXHAUSTED
        await d.store.ask(Deny(OpId("x:denied"), S, T0, facts("x")))
        assert [r["reason"] for r in await d.outbox(b"denied")] == [51, 50, int(Reason.NO_RATE)]

    run(server, case)


def test_postpaid_goes_down_to_its_limit_and_not_further(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        terms = Terms(floor_micro=-20 * CENT)
        granted_s = (await d.reserve("l", terms=terms)).granted_s
        while not (reply := await d.extend("l", granted_s, terms=terms)).final:
            granted_s = reply.granted_s
        assert (await d.settle("l", 60, terms=terms)).balance_micro == -20 * CENT
        await d.check_books()

    run(server, case)


def test_a_limit_lets_exactly_as_many_legs_pass_and_frees_the_slot(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        limit = (Lease("line:1", 5, Reason.LINE_LIMIT),)
        replies = await asyncio.gather(*(d.reserve(f"l{i}", leases=limit) for i in range(20)))
        passed = [i for i, r in enumerate(replies) if r.status is Status.OK]
        assert len(passed) == 5
        assert {r.reason for r in replies if r.status is Status.DENIED} == {Reason.LINE_LIMIT}
        await d.settle(f"l{passed[0]}", None)
        assert (await d.reserve("next", leases=limit)).status is Status.OK
        assert (await d.reserve("full", leases=limit)).reason is Reason.LINE_LIMIT
        assert (await d.reserve("112", quote=FREE, leases=limit, exempt=True)).status is Status.OK

    run(server, case)


def test_five_legs_on_credit_for_twenty_seconds_use_it_up_and_no_more(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(20 * CENT)
        granted = {f"l{i}": (await d.reserve(f"l{i}")).granted_s for i in range(5)}
        assert all(granted.values()), "each of them gets its share"
        second = 0
        while granted:
            second += 1
            for leg in list(granted):
                reply = await d.extend(leg, min(second, granted[leg]))
                granted[leg] = reply.granted_s
                if granted[leg] <= second:
                    await d.settle(leg, granted.pop(leg))
        state = await d.store.account(S, A)
        assert state is not None
        assert (state.balance_micro, state.charges_micro) == (0, 20 * CENT)
        await d.check_books()

    run(server, case)


def test_an_allowance_is_used_before_money_in_one_leg_and_its_threshold_is_told_once(
    server: EmbeddedRedis,
) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        await d.reserve("l", terms=ALLOWANCE)
        assert (await d.settle("l", 25, terms=ALLOWANCE)).amount_micro == 15 * CENT
        [event] = await d.outbox(b"rated")
        assert event["pieces"] == [["m", 0, 10, 10], ["", 10, 25, 15 * CENT]]
        await d.reserve("k", terms=ALLOWANCE)
        assert (await d.settle("k", 5, terms=ALLOWANCE)).amount_micro == 5 * CENT
        [crossing] = await d.outbox(b"threshold")
        assert (crossing["before"], crossing["after"]) == (0, 10)
        await d.check_books()

    run(server, case)


def test_an_allowance_renews_with_its_cycle_and_a_running_leg_keeps_what_it_holds(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        await d.reserve("l", terms=ALLOWANCE)
        term = ALLOWANCE.allowances[0]
        later = Terms(allowances=(AllowanceTerm(term.grant, 10, term.cadence, T0 + 10**9, T0 + 2 * 10**9),))
        await d.reserve("k", terms=later, slices=SlicePolicy(4, 4, 2))
        assert (await d.settle("l", 10, terms=later)).amount_micro == 0
        state = await d.store.account(S, A)
        assert state is not None
        assert [(g.granted_s, g.used_s, g.reserved_s) for g in state.grants] == [(10, 0, 4)]

    run(server, case)


def test_a_connect_fee_and_a_minute_are_reserved_and_charged_once(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        assert (await d.reserve("l", quote=PER_MINUTE)).reserved_micro == 65 * CENT
        assert (await d.extend("l", 29)).granted_s == 89
        assert (await d.settle("l", 61)).amount_micro == (5 + 120) * CENT
        await d.check_books()

    run(server, case)


def test_a_debit_stops_at_what_is_free(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(100 * CENT)
        reserved = (await d.reserve("l")).reserved_micro
        too_much = await d.credit(100 * CENT - reserved + 1, "d1", PostKind.DEBIT)
        assert (too_much.status, too_much.reason) == (Status.DENIED, Reason.INSUFFICIENT_CREDIT)
        assert (await d.credit(100 * CENT - reserved, "d2", PostKind.DEBIT)).status is Status.OK
        await d.check_books()

    run(server, case)


def test_a_stale_leader_changes_nothing(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        await d.reserve("l")
        await d.store.release(SWITCH, "here")
        assert await d.store.lead(SWITCH, "there", 60_000) == d.epoch + 1
        assert await d.store.lead(SWITCH, "here", 60_000) is None
        assert (await d.settle("l", 10)).status is Status.STALE
        assert (await d.reserve("k")).status is Status.STALE
        state = await d.store.account(S, A)
        assert state is not None
        assert state.balance_micro == 1000 * CENT

    run(server, case)


def test_a_stored_leg_can_be_read_back_whole(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        await d.reserve("l", quote=PER_MINUTE, leases=(Lease("line:1", 5, Reason.LINE_LIMIT),))
        await d.store.ask(Answer(d.op("l"), S, A, LegId("l"), SWITCH, d.epoch, T0 + 5, T0 + 3, facts("l")))
        [leg] = await d.store.legs(S, SWITCH)
        assert (leg.quote, leg.granted_s, leg.answered_at_ms, leg.next_op) == (PER_MINUTE, 30, T0 + 3, 3)
        assert (leg.facts, leg.leases, leg.seen_at_ms) == (facts("l"), ("line:1",), T0 + 5)

    run(server, case)


def test_operations_go_on_after_the_server_lost_its_scripts_and_connections(server: EmbeddedRedis) -> None:
    async def case(d: Desk) -> None:
        await d.credit(1000 * CENT)
        await d.store.redis.script_flush()
        assert (await d.reserve("l")).status is Status.OK
        await d.store.redis.client_kill_filter(_type="normal", skipme=True)
        assert (await d.settle("l", 10)).amount_micro == 10 * CENT
        await d.check_books()

    run(server, case)


def test_a_second_server_on_the_same_folder_is_refused(server: EmbeddedRedis) -> None:
    with pytest.raises(ConfigError, match="already serves"):
        EmbeddedRedis(server.data_dir).start()


def test_the_data_survives_a_restart(tmp_path: Path) -> None:
    for expected in (None, 5 * CENT):
        redis = EmbeddedRedis(tmp_path)
        redis.start()

        async def main(url: str, expected: int | None) -> None:
            store = RedisStore(url)
            await store.start()
            state = await store.account(S, A)
            assert (state.balance_micro if state else None) == expected
            await store.ask(Post(OpId("c"), S, A, PostKind.CREDIT, 5 * CENT, T0, Terms()))
            await store.close()

        asyncio.run(main(redis.url, expected))
        redis.stop()


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    segments, from_s = [], 0
    for _ in range(draw(st.integers(1, 4))):
        step_s = draw(st.sampled_from([1, 6, 30, 60]))
        segments.append(
            Segment(from_s, step_s, draw(st.integers(0, 10**11)), draw(st.sampled_from([1, 3, 60, 7000])))
        )
        from_s += step_s * draw(st.integers(1, 40))
    minimum = draw(st.integers(0, 10**7))
    return Quote(
        tuple(segments), "EUR", "fixed", draw(st.sampled_from([1, 2, 5, 100, 10_000, 1_000_000])),
        draw(st.sampled_from(list(Rounding))), draw(st.sampled_from([0, 3, 10])), draw(st.integers(0, 10**7)),
        minimum, draw(st.none() | st.integers(minimum, 10**10)), draw(st.integers(1, 86_400)),
    )  # fmt: skip


TWIN = b"""
local a = cmsgpack.unpack(ARGV[1])
local to = longest(cumulative, a[1], a[2], a[1][2], a[3])
return {string.format('%.0f', cumulative(a[1], a[2])), string.format('%.0f', to)}
"""


def test_the_scripts_price_and_afford_exactly_as_the_reference_does(server: EmbeddedRedis) -> None:
    library = load_scripts()["answer"].split(b"-- Write down when")[0]
    import redis

    client = redis.Redis(unix_socket_path=str(server.socket))
    script = client.register_script(library + TWIN)

    @settings(max_examples=300, deadline=None)
    @given(quotes(), st.floats(0, 1), st.integers(0, 10**13))
    def same(quote: Quote, part: float, budget_micro: int) -> None:
        seconds = int(quote.horizon_s * part)
        arguments = msgpack.packb([quote.to_wire(), seconds, budget_micro], use_bin_type=False)
        price, to_s = (int(v) for v in script(args=[arguments]))
        assert price == cumulative_micro(quote, seconds)
        assert to_s == affordable_s(quote, seconds, budget_micro)

    same()
    client.close()
