"""The public records: what a leg, a denial and a crossing look like from outside, made by the real scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.support import ALLOWANCE, BANDS, CENT, PER_SECOND, T0, Desk, leg_facts
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.events.breakdown import break_down, merge_pieces, price_per_minute
from rater.events.notices import DeniedRecord, ThresholdRecord, record_of
from rater.events.rated import RatedEvent, rated_event
from rater.events.record import iso_ms
from rater.events.stream import UnreadableEntry, decode_entry, outbox_key
from rater.money import Quote, Rounding, Segment, cumulative_micro


@asynccontextmanager
async def desk_at(server: EmbeddedRedis, prefix: str) -> AsyncIterator[Desk]:
    store = RedisStore(server.url, prefix=prefix)
    await store.start()
    try:
        yield Desk(store)
    finally:
        await store.close()


def outbox(server: EmbeddedRedis, prefix: str, work: Callable[[Desk], Awaitable[Any]]) -> list[Any]:
    """The records of all that `work` left in a fresh outbox."""

    async def run() -> list[Any]:
        async with desk_at(server, prefix) as desk:
            await work(desk)
            rows = await desk.store.redis.xrange(outbox_key(prefix, 0))
            return [record_of(decode_entry(0, *row)) for row in rows]

    return asyncio.run(run())


def test_a_prepaid_leg_says_what_it_cost_and_why(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.credit(500 * CENT)
        await desk.call(10)

    (event,) = outbox(server, "plain", work)
    assert isinstance(event, RatedEvent)
    record = json.loads(event.to_json())
    assert record["schema"] == "rater.rated/1"
    assert (record["id"], record["leg"], record["class"]) == ("pbx1.b.1", "pbx1.b.1", "mobile_local")
    assert record["attempted_at"] == iso_ms(T0) == "2026-09-21T14:13:20.000Z"
    assert (record["duration_ms"], record["duration_s"], record["billed_s"]) == (10_004, 10, 10)
    assert (record["amount"], record["amount_micro"], record["currency"]) == ("0.10", 100_000, "BRL")
    assert (record["balance_before"], record["balance_after"]) == ("5.00", "4.90")
    assert record["money"] == [{"from_s": 0, "to_s": 10, "amount": "0.10", "amount_micro": 100_000}]
    assert record["allowance"] == []
    (line,) = record["segments"]
    assert line == {
        "kind": "time", "from_s": 0, "billed_s": 10, "amount": "0.10", "amount_micro": 100_000, "band": "peak",
        "step_s": 1, "price_per_minute": "0.60", "price_micro_per_s": "10000",
    }  # fmt: skip
    assert record["rounding"] == {"mode": "half_up", "unit": "0.000001", "unit_micro": 1}


def test_money_begins_where_the_allowance_ends(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.credit(200 * CENT)
        await desk.call(25, terms=ALLOWANCE)

    rated, *crossings = outbox(server, "split", work)
    assert [p.model_dump() for p in rated.allowance] == [{"grant": "local", "from_s": 0, "to_s": 10, "seconds": 10}]
    assert [(p.from_s, p.to_s, p.amount_micro) for p in rated.money] == [(10, 25, 15 * CENT)]
    assert rated.billed_s == 25
    assert sum(line.amount_micro for line in rated.segments) == rated.amount_micro == 15 * CENT
    (crossing,) = crossings
    assert isinstance(crossing, ThresholdRecord)
    assert (crossing.threshold, crossing.grant, crossing.value) == ("used-80", "local", "80")
    assert (crossing.before_raw, crossing.after_raw) == (0, 10)


def test_a_money_threshold_carries_amounts(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.credit(105 * CENT)
        await desk.call(30, terms=ALLOWANCE)

    crossing = next(
        r for r in outbox(server, "low", work) if isinstance(r, ThresholdRecord) and r.kind == "money_below"
    )
    assert (crossing.value, crossing.before, crossing.after) == ("1.00", "1.05", "0.85")
    assert (crossing.account, crossing.grant) == ("ACME", None)


def test_a_leg_not_answered_costs_nothing(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.credit(10 * CENT)
        await desk.call(None, leg_facts(answered_at_ms=None, answer_grade="", disposition="busy", cause=17))

    (event,) = outbox(server, "busy", work)
    assert (event.amount_micro, event.duration_ms, event.duration_s, event.billed_s) == (0, 0, 0, 0)
    assert (event.answered_at, event.disposition, event.segments, event.money) == (None, "busy", (), ())


def test_a_denial_gives_the_balance_only_where_it_was_asked(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.call(1, leg_facts("poor"))
        await desk.deny(leg_facts("nowhere", reason="no_rate", detail="no prefix of 999 has a rate", account=""))

    poor, nowhere = outbox(server, "denied", work)
    assert isinstance(poor, DeniedRecord)
    assert (poor.reason, poor.balance, poor.reserved_micro) == ("insufficient_credit", "0.00", 0)
    assert (nowhere.reason, nowhere.balance, nowhere.account) == ("no_rate", None, "")
    assert nowhere.detail == "no prefix of 999 has a rate"


def test_the_segments_of_a_banded_leg_add_up_through_the_scripts(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.credit(10_000 * CENT)
        for seconds in (1, 4, 31, 61, 127, 1801):
            await desk.call(seconds, leg_facts(f"leg-{seconds}"), quote=BANDS)

    events = outbox(server, "bands", work)
    assert len(events) == 6
    for event in events:
        assert sum(line.amount_micro for line in event.segments) == event.amount_micro
        assert event.amount_micro == cumulative_micro(BANDS, event.duration_s)
    assert [line.kind for line in events[-1].segments] == ["connect", "time", "time"]
    assert events[0].segments == ()  # within the free seconds


def raw_result(**changes: Any) -> dict[str, Any]:
    return {
        "amount_micro": 10 * CENT, "pieces": [["", 0, 10, 10 * CENT]], "duration_s": 10, "granted_s": 30,
        "balance_before_micro": 0, "balance_after_micro": -10 * CENT, "quote": PER_SECOND.to_wire(), **changes,
    }  # fmt: skip


def facts_map(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = msgpack.unpackb(leg_facts(**changes).pack())
    return values


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pieces": [["", 0, 10, 10 * CENT + 1]]}, "the quote says 100000"),
        ({"amount_micro": 9 * CENT}, "do not add up"),
        ({"quote": [2]}, "makes no record"),
        ({"pieces": None}, "makes no record"),
    ],
)
def test_an_entry_that_contradicts_itself_is_unreadable(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UnreadableEntry, match=what):
        rated_event(facts_map(), raw_result(**changes))


def test_a_missing_fact_is_named() -> None:
    facts = facts_map()
    del facts["account"]
    with pytest.raises(UnreadableEntry, match="account"):
        rated_event(facts, raw_result())


def test_facts_of_a_later_version_are_passed_over() -> None:
    assert rated_event({**facts_map(), "invented_later": 1}, raw_result()).amount_micro == 10 * CENT


def test_an_emergency_leg_is_free_whatever_its_quote() -> None:
    event = rated_event(facts_map(emergency=True), raw_result(amount_micro=0, pieces=[["", 0, 10, 0]]))
    assert (event.amount, event.segments, event.emergency) == ("0.00", (), True)


@pytest.mark.parametrize(
    ("num", "den", "text"), [(10_000, 1, "0.60"), (5000, 3, "0.10"), (1, 7, "0.000008571"), (0, 1, "0.00")]
)
def test_prices_read_per_minute(num: int, den: int, text: str) -> None:
    assert price_per_minute(Segment(0, 1, num, den)) == text


def test_pieces_of_one_payer_join() -> None:
    pieces = [("m", 0, 5, 5), ("m", 5, 8, 3), ("", 8, 9, 2), ("", 9, 20, 30), ("m", 20, 21, 1)]
    assert merge_pieces(pieces) == [("m", 0, 8, 8), ("", 8, 20, 32), ("m", 20, 21, 1)]


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    segments, start_s = [], 0
    for index in range(draw(st.integers(1, 4))):
        step_s = draw(st.sampled_from([1, 6, 30, 60]))
        segments.append(
            Segment(
                start_s, step_s, draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 3, 6, 7, 60])), str(index)
            )
        )
        start_s += step_s * draw(st.integers(1, 20))
    minimum = draw(st.sampled_from([0, 30 * CENT, 10**6]))
    return Quote(
        tuple(segments), "BRL", "c", draw(st.sampled_from([1, 100, CENT])), draw(st.sampled_from(list(Rounding))),
        draw(st.sampled_from([0, 3, 10])), draw(st.sampled_from([0, 7, 50_000])), minimum,
        draw(st.sampled_from([None, 2 * 10**6])), 3600,
    )  # fmt: skip


@given(quotes(), st.lists(st.integers(0, 3600), min_size=2, max_size=5))
def test_any_stretch_is_broken_down_to_the_micro(quote: Quote, edges: list[int]) -> None:
    edges.sort()
    for from_s, to_s in pairwise(edges):
        lines = break_down(quote, from_s, to_s)
        owed = cumulative_micro(quote, to_s) - cumulative_micro(quote, from_s)
        assert sum(line.amount_micro for line in lines) == owed
        assert all(
            line.amount_micro >= 0 and line.billed_s >= 0 for line in lines if line.kind in ("connect", "time")
        )


def test_terms_without_money_leave_no_money_piece(server: EmbeddedRedis) -> None:
    async def work(desk: Desk) -> None:
        await desk.call(25, terms=Terms(use_money=False, allowances=ALLOWANCE.allowances))

    (event,) = outbox(server, "allowance-only", work)
    assert (event.amount_micro, event.billed_s, event.duration_s, event.money) == (0, 10, 10, ())
