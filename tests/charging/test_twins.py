"""The Lua arithmetic is `rater.money`'s, to the micro, for whatever quote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.charging.books import increment_end_s
from rater.charging.scripts import script
from rater.charging.wire import parse_sequence, sequence
from rater.errors import AmountError
from rater.money import (
    MAX_AMOUNT_MICRO,
    MAX_CALL_S,
    MAX_PRICE_NUM,
    Cadence,
    Quote,
    Rounding,
    Segment,
    affordable_s,
    cumulative_micro,
)
from tests.servers import RedisServer

Run = Callable[[list[Any]], list[int]]

PRICE = """
-- uses: prelude quote grants walk
local wire, n, from, to, budget = unpack_all(ARGV[1])
use_quote(wire)
local best = affordable(from, to, price(from), budget)
return pack(price(n), best, increment_end(n > 0 and n or 1))
"""
COUNT = """
-- uses: prelude quote grants walk
local n, from, to, budget, horizon, free, first, following = unpack_all(ARGV[1])
q_horizon = horizon
return pack(counted(n, free, first, following), reach(from, to, budget, free, first, following))
"""


@pytest.fixture
def run(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Run a text as a charging script with its parts in front: values in, integers out."""
    client = server.client()

    def prepare(text: str) -> Run:
        parts = text.split("uses: ")[1].split("\n")[0].split()
        body = b"\n".join([*(script(part) for part in parts), text.encode()])
        registered = client.register_script(body)

        def call(values: list[Any]) -> list[int]:
            return parse_sequence(registered(args=[sequence(values)]))

        return call

    return prepare


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    """Within the exact range, near and far from its edges."""
    while True:
        segments, from_s = [], 0
        for _ in range(draw(st.integers(1, 4))):
            step_s = draw(st.sampled_from([1, 6, 7, 30, 60, 3600]))
            price_num = draw(st.integers(0, 10**6) | st.integers(0, MAX_PRICE_NUM))
            segments.append(Segment(from_s, step_s, price_num, draw(st.sampled_from([1, 3, 6, 60, 7000, 10**6]))))
            from_s += step_s * draw(st.integers(1, 40))
        minimum = draw(st.just(0) | st.integers(0, 10**7))
        try:
            quote = Quote(
                tuple(segments), "EUR", "fixed", draw(st.sampled_from([1, 2, 3, 5, 100, 10_000, 10**6, 10**12])),
                draw(st.sampled_from(Rounding)), draw(st.sampled_from([0, 3, 10, 700])),
                draw(st.just(0) | st.integers(0, 10**13)), minimum,
                draw(st.none() | st.integers(0, 10**10)), draw(st.sampled_from([1, 59, 3600, MAX_CALL_S])),
            )  # fmt: skip
        except AmountError:
            continue
        if cumulative_micro(quote, quote.horizon_s) <= MAX_AMOUNT_MICRO:
            return quote


def test_prices_and_what_money_buys_are_the_same(run: Callable[[str], Run]) -> None:
    in_lua = run(PRICE)

    @settings(max_examples=400, deadline=None)
    @given(quotes(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1.1))
    def same(quote: Quote, part: float, start: float, share: float) -> None:
        n, from_s = int(quote.horizon_s * part), int(quote.horizon_s * start)
        total = cumulative_micro(quote, quote.horizon_s) - cumulative_micro(quote, from_s)
        budget = int(total * share)
        wire = msgpack.packb(quote.to_wire(), use_bin_type=False)
        price, best, end = in_lua([wire, n, from_s, quote.horizon_s, budget])
        assert price == cumulative_micro(quote, n)
        assert best == affordable_s(quote, from_s, budget)
        assert end == increment_end_s(quote, max(n, 1))

    same()


def test_an_increment_costs_the_same_to_its_end(run: Callable[[str], Run]) -> None:
    in_lua = run(PRICE)

    @settings(max_examples=100, deadline=None)
    @given(quotes(), st.integers(1, 5000))
    def same(quote: Quote, n: int) -> None:
        n = min(n, quote.horizon_s)
        wire = msgpack.packb(quote.to_wire(), use_bin_type=False)
        _, _, end = in_lua([wire, n, 0, 0, 0])
        assert n <= end <= quote.horizon_s
        if n > quote.free_s:
            assert in_lua([wire, end, 0, 0, 0])[0] == in_lua([wire, n, 0, 0, 0])[0]

    same()


def test_allowances_count_and_reach_the_same(run: Callable[[str], Run]) -> None:
    in_lua = run(COUNT)
    seconds = st.integers(0, 400)

    @settings(max_examples=400, deadline=None)
    @given(
        seconds, seconds, seconds, seconds, st.integers(1, 500),
        st.builds(Cadence, st.sampled_from([0, 3, 45]), st.sampled_from([1, 30, 60]), st.sampled_from([1, 6, 60])),
    )  # fmt: skip
    def same(n: int, from_s: int, to_s: int, budget_s: int, horizon_s: int, cadence: Cadence) -> None:
        from_s = min(from_s, horizon_s)
        values = [n, from_s, to_s, budget_s, horizon_s, cadence.free_s, cadence.first_s, cadence.next_s]
        count, reached = in_lua(values)
        goal_s = min(max(to_s, cadence.free_s + 1), horizon_s)
        expected_s = cadence.covers_s(from_s, budget_s, goal_s)
        assert count == cadence.counted_s(n)
        assert reached == (expected_s if expected_s > cadence.free_s else from_s)

    same()


def test_numbers_keep_their_digits_in_and_out(run: Callable[[str], Run]) -> None:
    echo = run("-- uses: prelude\nreturn pack(unpack_all(ARGV[1]))\n")
    numbers = [0, -1, 1, 2**31, -(2**31), 2**52, 2**53 - 1, -(2**53) + 1, MAX_AMOUNT_MICRO, 1_790_000_000_000]
    assert echo(numbers) == numbers
    assert all(type(number) is int for number in echo(numbers))


@pytest.mark.parametrize(
    ("unit", "rounding", "expected"),
    [(2, Rounding.HALF_UP, 2), (2, Rounding.HALF_EVEN, 0), (2, Rounding.UP, 2), (2, Rounding.DOWN, 0)],
)
def test_ties_are_seen_exactly(run: Callable[[str], Run], unit: int, rounding: Rounding, expected: int) -> None:
    quote = Quote((Segment(0, 1, 1, 3),), "EUR", "x", unit, rounding)
    wire = msgpack.packb(quote.to_wire(), use_bin_type=False)
    assert run(PRICE)([wire, 3, 0, 0, 0])[0] == expected == cumulative_micro(quote, 3)


def test_what_is_kept_from_call_to_call_is_bounded_and_right(run: Callable[[str], Run]) -> None:
    in_lua = run("""
-- uses: prelude
local wrong = 0
for n = 1, 3 * KNOWN_MOST do
  if known(pack(n, 2 * n))[2] ~= 2 * n or known(pack(n, 2 * n))[1] ~= n then wrong = wrong + 1 end
end
local kept = 0
for _ in pairs(texts) do kept = kept + 1 end
return pack(wrong, kept, texts_known, KNOWN_MOST)
""")
    wrong, kept, counted, most = in_lua([])
    assert wrong == 0
    assert 0 < kept == counted <= most
