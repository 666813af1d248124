"""The compiled kernel against its readable twin, piece by piece, up to the limits and beyond them."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rater.catalog.pricing import class_rows
from rater.errors import AmountError
from rater.ids import PlanId
from rater.money import (
    MAX_AMOUNT_MICRO,
    MAX_CALL_S,
    MAX_DENOMINATOR,
    MAX_PRICE_NUM,
    Quote,
    Rounding,
    Segment,
)
from rater.rating import deck_rows
from rater.rating.compiled import CompiledDeck, pack, text_table, unpack
from rater.rating.deck_format import Expected
from rater.rating.tariff import Found, PlanTariff

from .kernels import COMPILED, KERNELS, REFERENCE, Kernel, each_kernel

NUMBERS = st.text("0123456789*#", max_size=18)
PREFIXES = st.text("0123*#", min_size=1, max_size=15) | st.text("01", min_size=1, max_size=4)


def keys_of(prefixes: set[str]) -> npt.NDArray[np.uint64]:
    return np.array(sorted(pack(prefix) for prefix in prefixes), np.uint64)


# -- looking up ----------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.sets(PREFIXES, max_size=60), st.lists(NUMBERS, max_size=20))
def test_the_longest_prefix_is_found(prefixes: set[str], numbers: list[str]) -> None:
    keys = keys_of(prefixes)
    compiled, reference = COMPILED.Trie(keys), REFERENCE.Trie(keys)
    ordered = [unpack(key) for key in keys.tolist()]
    for number in [*numbers, *prefixes, *(prefix + "9" for prefix in prefixes)]:
        expected = [p for p in sorted(prefixes, key=len, reverse=True) if number.startswith(p)]
        for trie in (compiled, reference):
            group = trie.lookup(number)
            assert (ordered[group] if group >= 0 else None) == (expected[0] if expected else None)
            assert [ordered[g] for g in trie.groups(number)] == expected
    many = np.array([pack(number[:16]) for number in numbers], np.uint64)
    assert compiled.lookup_many(many).tolist() == reference.lookup_many(many).tolist()


@pytest.mark.parametrize("count", [50, 600, 9_000, 140_000])
def test_tables_of_every_depth_find_the_same(count: int) -> None:
    """The compiled trie's table goes by one to four symbols, as the deck grows."""
    rng = random.Random(count)
    prefixes = {"".join(rng.choices("0123456789", k=rng.randint(1, 9))) for _ in range(count)}
    keys = keys_of(prefixes)
    trie, texts = COMPILED.Trie(keys), set(prefixes)
    for _ in range(3000):
        number = "".join(rng.choices("0123456789", k=rng.randint(1, 14)))
        longest = next((number[:n] for n in range(len(number), 0, -1) if number[:n] in texts), None)
        group = trie.lookup(number)
        assert (unpack(int(keys[group])) if group >= 0 else None) == longest


def test_a_large_deck_takes_at_most_64_bytes_a_prefix() -> None:
    keys = np.unique(np.random.default_rng(1).integers(10**7, 10**8, 200_000)).astype(str)
    packed = np.sort(np.array([pack(text) for text in keys.tolist()], np.uint64))
    assert COMPILED.Trie(packed).nbytes / len(packed) <= 64


@pytest.mark.parametrize("text", ["é", "１", "33x", "+33", "", " ", "\x00", "日本"])
@each_kernel
def test_other_characters_end_a_number(kernel: Kernel, text: str) -> None:
    trie = kernel.Trie(keys_of({"33", "336"}))
    assert trie.lookup(text) in (-1, 0)
    assert trie.lookup("33" + text) == (0 if not text.startswith("6") else 1)


@pytest.mark.parametrize("keys", [[2 << 60, 1 << 60], [1 << 60, 1 << 60], [0], [(1 << 60) + 1]])
def test_keys_that_are_no_sorted_prefixes_are_refused(keys: list[int]) -> None:
    with pytest.raises(ValueError, match="sorted, distinct"):
        COMPILED.Trie(np.array(keys, np.uint64))


# -- many at once --------------------------------------------------------------------------------------------------

CLASSES = ("fixed", "mobile", "toll_free")
MOMENT_MS = 1_790_000_000_000


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["3", "33", "331", "3312", "#1"]), st.sampled_from(CLASSES), st.integers(0, 99),
            st.sampled_from(["", "2026-10-01"]),
        ),
        min_size=1, max_size=6, unique_by=lambda row: row[0],
    ),
    calls=st.lists(
        st.tuples(
            st.sampled_from(["33123", "3312", "339", "4"]), st.integers(-1, 2), st.integers(0, 600),
            st.integers(-90 * 86_400, 90 * 86_400),
        ),
        min_size=1, max_size=10,
    ),
)  # fmt: skip
def test_many_calls_find_rates_of_their_class(
    rows: list[tuple[str, str, int, str]], calls: list[tuple[str, int, int, int]]
) -> None:
    """As a plan does one by one: the longest prefix of the wanted class, else the class's own row."""
    text = "prefix,class,price,valid_from,destination\n" + "\n".join(
        f"{prefix},{klass},{price / 100},{since},There" for prefix, klass, price, since in rows
    )
    utc = ZoneInfo("UTC")
    deck = deck_rows.read(text.encode(), "d", Expected(utc, frozenset(CLASSES), ()))
    assert isinstance(deck, CompiledDeck)
    tariff = PlanTariff(PlanId("p"), "EUR", 6, Rounding.HALF_UP, utc, (), deck)
    place = {klass: place for place, klass in enumerate(deck.classes)}
    by_class = class_rows(deck)
    keys = np.array([pack(number) for number, *_ in calls], np.uint64)
    wanted = np.array([place.get(CLASSES[k], len(place)) if k >= 0 else -1 for _, k, *_ in calls], np.int16)
    group_of = {unpack(int(key)): group for group, key in enumerate(deck.keys)}
    class_group = np.array([group_of.get(by_class.get(c, ""), -1) for c in deck.classes] + [-1], np.int32)
    seconds = np.array([n for _, _, n, _ in calls], np.int64)
    at_ms = np.array([MOMENT_MS + shift * 1000 for *_, shift in calls], np.int64)
    answers = [k.tariff(tariff).pricer.cost_many(keys, at_ms, seconds, wanted, class_group) for k in KERNELS]
    assert [column.tolist() for column in answers[0]] == [column.tolist() for column in answers[1]]
    for i, (number, k, n, _) in enumerate(calls):
        expected = _one_by_one(tariff, by_class, number, CLASSES[k] if k >= 0 else "", int(at_ms[i]), n)
        assert tuple(int(column[i]) for column in answers[0]) == expected


def _one_by_one(
    tariff: PlanTariff, by_class: dict[str, str], number: str, wanted: str, at_ms: int, seconds: int
) -> tuple[int, int, int]:
    for length in range(len(number), 0, -1):
        found = tariff.quote(number[:length], at_ms)
        if isinstance(found, Found) and len(found.prefix) == length and wanted in ("", found.destination_class):
            return tuple(tariff.cost(found.prefix, at_ms, seconds) or ())  # type: ignore[return-value]
    row = by_class.get(wanted, "")
    found = tariff.quote(row, at_ms)
    if isinstance(found, Found) and found.prefix == row:
        return tuple(tariff.cost(row, at_ms, seconds) or ())  # type: ignore[return-value]
    return 0, 0, -1


@each_kernel
def test_many_calls_with_unfit_arguments_are_refused(kernel: Kernel) -> None:
    utc = ZoneInfo("UTC")
    deck = deck_rows.read(
        b"prefix,class,price,destination\n33,fixed,1,F\n", "d", Expected(utc, frozenset(CLASSES), ())
    )
    assert isinstance(deck, CompiledDeck)
    pricer = kernel.tariff(PlanTariff(PlanId("p"), "EUR", 6, Rounding.UP, utc, (), deck, 600)).pricer
    key, at = np.array([pack("331")], np.uint64), np.array([MOMENT_MS], np.int64)
    with pytest.raises(ValueError, match="equally long"):
        pricer.cost_many(key, at, np.array([1, 2], np.int64))
    for wanted, groups in ((3, [0]), (0, [1]), (0, [-2])):
        with pytest.raises(ValueError, match="classes and groups"):
            pricer.cost_many(
                key, at, np.array([1], np.int64), np.array([wanted], np.int16), np.array(groups, np.int32)
            )
    for seconds in (-1, 601):
        with pytest.raises(ValueError, match="0 to 600"):
            pricer.cost_many(key, at, np.array([seconds], np.int64))
        with pytest.raises(ValueError, match="0 to 600"):
            pricer.cost("331", MOMENT_MS, seconds)
    for moment_ms in (-1, 5 * 10**12):
        with pytest.raises(ValueError, match="between 1970 and 2100"):
            pricer.cost("331", moment_ms, 1)


# -- reading columns -----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789*#x +é", max_size=17), max_size=8))
def test_both_pack_the_same_prefixes(texts: list[str]) -> None:
    start, content = text_table(texts)
    one, other = COMPILED.pack_texts(start, content), REFERENCE.pack_texts(start, content)
    assert one[1] == other[1]
    good = len(texts) if one[1] < 0 else one[1]
    assert one[0][:good].tolist() == other[0][:good].tolist() == [pack(text) for text in texts[:good]]


DECIMALS = st.text("0123456789.,", max_size=22) | st.decimals(0, 10**9, allow_nan=False, places=6).map(str)


@settings(max_examples=400, deadline=None)
@given(st.lists(DECIMALS | st.text(max_size=4), max_size=6), st.sampled_from(".,"), st.sampled_from([0, 6, 9]))
def test_both_read_the_same_decimals(texts: list[str], sign: str, places: int) -> None:
    start, content = text_table(texts)
    one = COMPILED.parse_decimals(start, content, sign, places, 10**17)
    other = REFERENCE.parse_decimals(start, content, sign, places, 10**17)
    assert one[1] == other[1]
    good = len(texts) if one[1] < 0 else one[1]
    assert one[0][:good].tolist() == other[0][:good].tolist()


# -- pricing -------------------------------------------------------------------------------------------------------


@st.composite
def quotes(draw: st.DrawFn, *, big: bool = False) -> Quote:
    """Any quote, or one near the limits."""
    nums = st.integers(MAX_PRICE_NUM - 9, MAX_PRICE_NUM) if big else st.integers(0, 10**6)
    dens = st.sampled_from([1, 3, 7, 60, 1000, MAX_DENOMINATOR] if big else [1, 3, 7, 60, 1000])
    horizon = draw(st.just(MAX_CALL_S) if big else st.integers(1, 4000))
    segments, from_s = [], 0
    for _ in range(draw(st.integers(1, 5))):
        step = draw(st.sampled_from([1, 6, 30, 60]))
        segments.append(Segment(from_s, step, draw(nums), draw(dens)))
        from_s += step * draw(st.integers(1, 60))
    amounts = st.integers(10**13 - 2, 10**13) if big else st.integers(0, 10**7)
    unit = 10 ** draw(st.integers(0, 12 if big else 6))
    try:
        return Quote(
            tuple(segments), "EUR", "fixed", unit, draw(st.sampled_from(Rounding)),
            draw(st.sampled_from([0, 0, 3, 31])), draw(amounts | st.just(0)), draw(amounts | st.just(0)),
            draw(st.none() | amounts), horizon,
        )  # fmt: skip
    except AmountError:
        assume(False)
        raise


@settings(max_examples=500, deadline=None)
@given(quotes() | quotes(big=True), st.data())
def test_both_price_a_quote_alike(quote: Quote, data: st.DataObject) -> None:
    for n in (0, quote.horizon_s, *data.draw(st.lists(st.integers(0, quote.horizon_s), max_size=6))):
        amount = REFERENCE.cumulative_micro(quote, n)
        assert COMPILED.cumulative_micro(quote, n) == amount <= MAX_AMOUNT_MICRO
        assert COMPILED.billed_s(quote, n) == REFERENCE.billed_s(quote, n)
        budget = data.draw(st.integers(0, MAX_AMOUNT_MICRO) | st.just(amount) | st.just(max(0, amount - 1)))
        longest = REFERENCE.affordable_s(quote, n, budget)
        assert COMPILED.affordable_s(quote, n, budget) == longest
        assert COMPILED.affordable_s(quote, 0, amount) >= n


def test_the_dearest_call_is_priced_exactly() -> None:
    quote = Quote((Segment(0, 1, MAX_PRICE_NUM, 1),), "EUR", "fixed", connect_micro=10**13)
    for kernel in (COMPILED, REFERENCE):
        assert kernel.cumulative_micro(quote, MAX_CALL_S) == MAX_PRICE_NUM * MAX_CALL_S + 10**13
        assert kernel.affordable_s(quote, 0, MAX_AMOUNT_MICRO) == MAX_CALL_S
        assert kernel.affordable_s(quote, 0, 10**30) == MAX_CALL_S


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"segments": (Segment(0, 1, MAX_PRICE_NUM + 1, 1),)}, "price out of range"),
        ({"segments": (Segment(0, 50_000, MAX_PRICE_NUM, 1),)}, "could cost more than"),
        ({"segments": (Segment(0, 1, 1, 999_999_937), Segment(1, 1, 1, 2))}, "no common multiple"),
        ({"connect_micro": 10**13 + 1}, "connect fee"),
        ({"horizon_s": MAX_CALL_S + 1}, "may last"),
        ({"unit_micro": 10**12 + 1}, "rounding unit"),
    ],
)
def test_beyond_the_limits_a_quote_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(AmountError, match=named):
        Quote(**{"segments": (Segment(0, 1, 1, 1),), "currency": "EUR", "destination_class": "fixed"} | change)  # type: ignore[arg-type]


@each_kernel
def test_seconds_outside_a_quote_are_refused(kernel: Kernel) -> None:
    quote = Quote((Segment(0, 1, 1, 1),), "EUR", "fixed", horizon_s=60)
    for n in (-1, 61, 2**70):
        with pytest.raises(ValueError, match="lies outside"):
            kernel.cumulative_micro(quote, n)
