"""A deck read by columns: values are looked at once however many rows have them, all else is array arithmetic.

Nothing here names a fault. Whatever is not plain and right gives None, and `rater.rating.deck_rows` has a look.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from rater.money import MAX_DENOMINATOR, MAX_PRICE_NUM
from rater.rating.compiled import (
    ALWAYS_FROM_MS,
    ALWAYS_UNTIL_MS,
    NO_CARRIER,
    TERMS,
    CompiledDeck,
    text_table,
)
from rater.rating.deck_format import (
    MAX_DESTINATION,
    MAX_FEE_MICRO,
    MAX_PRICE_MICRO_PER_S,
    ON_MAX,
    OPTIONAL,
    PRICE_PLACES,
    REQUIRED,
    Expected,
    Shape,
    Together,
    delimiter_of,
    overlap,
    whole_seconds,
)
from rater.rating.kernel import pack_texts, parse_decimals
from rater.rating.moments import parse_moment

Ints = npt.NDArray[np.int64]
_BOM = b"\xef\xbb\xbf"
_MOST_SCALED = 10**17
_BLOCK = 1 << 22
_LONGEST_HEADER = 1 << 16
_ROOM = 2**62
_MANY_TERMS = 100_000


class _NotPlain(Exception):
    """The other reader must have a look."""


class _Column(NamedTuple):
    """The distinct values of a column, and for each row its value's place."""

    values: list[str]
    texts: pa.Array
    codes: npt.NDArray[np.int32]


def read(file: pa.NativeFile, expected: Expected) -> CompiledDeck | None:
    """The deck of a CSV file; None when anything in it is wrong or out of the ordinary."""
    try:
        return _compile(_table(file, expected), expected)
    except (_NotPlain, pa.ArrowInvalid, csv.Error, UnicodeDecodeError):
        return None


def _table(file: pa.NativeFile, expected: Expected) -> pa.Table:
    header, end, _ = file.read(_LONGEST_HEADER).partition(b"\n")
    if not end or expected.decimal_sign not in (".", ","):
        raise _NotPlain
    file.seek(0)
    first = header.removeprefix(_BOM).decode().rstrip("\r")
    delimiter = delimiter_of(first)
    names = [name.strip().lower() for name in next(csv.reader(io.StringIO(first), delimiter=delimiter), [])]
    known = set(names)
    if len(known) != len(names) or not set(REQUIRED) <= known <= {*REQUIRED, *OPTIONAL} or '"' in first:
        raise _NotPlain
    codes = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.string() if name == "prefix" else codes for name in names}
    # A value with a line break in it is an error here, and so left to the other reader.
    return pyarrow.csv.read_csv(
        file,
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def _column(table: pa.Table, name: str) -> _Column:
    """An absent column is one whose every value is empty."""
    if name not in table.column_names:
        return _Column([""], pa.array([""]), np.zeros(len(table), np.int32))
    chunk = table.column(name).unify_dictionaries().combine_chunks()
    array = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
    return _Column(array.dictionary.to_pylist(), array.dictionary, array.indices.to_numpy())


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Where each text begins, and the text, as the kernel wants them."""
    _, offsets, content = texts.buffers()
    start = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return start, np.frombuffer(content, np.uint8) if content is not None else np.zeros(0, np.uint8)


def _compile(table: pa.Table, expected: Expected) -> CompiledDeck:
    if not len(table):
        raise _NotPlain
    prefixes = table.column("prefix").combine_chunks()
    keys, bad = pack_texts(*_buffers(prefixes.chunk(0) if isinstance(prefixes, pa.ChunkedArray) else prefixes))
    if bad >= 0:
        raise _NotPlain
    order = None if bool((keys[1:] >= keys[:-1]).all()) else np.argsort(keys, kind="stable")
    keys = keys if order is None else keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    columns = {name: _column(table, name) for name in (*REQUIRED[2:], *OPTIONAL)}
    codes, places = _combinations({name: column.codes for name, column in columns.items()}, order)
    classes, bands = _names(columns["class"], expected.classes), _names(columns["band"], _band_names(expected))
    terms = _terms(columns, places, expected, classes, bands)
    kept, row_terms = _distinct(terms, codes)
    group_start = np.append(starts, len(keys)).astype(np.int32)
    together = _check(kept, row_terms, group_start, ("", *bands), expected)
    destinations, row_destination = _destinations(_column(table, "destination"), order)
    destination_start, destination_text = text_table(destinations)
    return CompiledDeck(
        keys=keys[starts],
        group_start=group_start,
        row_terms=row_terms,
        row_destination=row_destination,
        terms=kept,
        destination_start=destination_start,
        destination_text=destination_text,
        classes=classes,
        bands=bands,
        band_sets=together.sorted_band_sets(),
    )


def _band_names(expected: Expected) -> frozenset[str]:
    return frozenset(band.name for band in expected.bands)


def _names(column: _Column, known: frozenset[str]) -> tuple[str, ...]:
    names = tuple(sorted(set(column.values) - {""}))
    if not known.issuperset(names):
        raise _NotPlain
    return names


def _combinations(
    columns: Mapping[str, npt.NDArray[np.int32]], order: npt.NDArray[np.intp] | None
) -> tuple[npt.NDArray[np.int32], dict[str, npt.NDArray[np.int32]]]:
    """Each row's combination of codes, numbered as they first occur in `order`; and by column the code in each."""
    numbers, room, names = np.zeros(len(next(iter(columns.values()))), np.int64), 1, []
    for name, codes in columns.items():
        size = int(codes.max()) + 1
        if size == 1:
            continue
        if room * size > _ROOM:
            raise _NotPlain
        numbers *= size
        numbers += codes
        room *= size
        names.append((name, size))
    encoded = pa.array(numbers if order is None else numbers[order]).dictionary_encode()
    left = encoded.dictionary.to_numpy(zero_copy_only=False)
    places = {name: np.zeros(len(left), np.int32) for name in columns}
    for name, size in reversed(names):
        left, place = np.divmod(left, size)
        places[name] = place.astype(np.int32)
    return encoded.indices.to_numpy(), places


def _terms(
    columns: Mapping[str, _Column],
    places: Mapping[str, npt.NDArray[np.int32]],
    expected: Expected,
    classes: Sequence[str],
    bands: Sequence[str],
) -> npt.NDArray[np.void]:
    """The terms of each combination."""

    def each(name: str, values: Ints) -> Ints:
        return values[places[name]]

    def listed(name: str, values: Mapping[str, int]) -> Ints:
        if not values.keys() >= set(columns[name].values):
            raise _NotPlain
        return each(name, np.array([values[text] for text in columns[name].values], np.int64))

    def decimals(name: str, digits: int, most: int) -> Ints:
        values, bad = parse_decimals(*_buffers(columns[name].texts), expected.decimal_sign, digits, most)
        if bad >= 0:
            raise _NotPlain
        return each(name, values)

    terms = np.zeros(len(places["class"]), TERMS)
    terms["class_"] = listed("class", {name: place for place, name in enumerate(classes)})
    terms["band"] = listed("band", {"": -1} | {name: place for place, name in enumerate(bands)})
    terms["cut"] = listed("on_max", ON_MAX)
    per, following = (
        each("per", _seconds(columns["per"], "per", 60)),
        each("next", _seconds(columns["next"], "next", 1)),
    )
    first = each("first", _seconds(columns["first"], "first", 0))
    terms["next_s"], terms["first_s"] = following, np.where(first == 0, following, first)
    terms["free_s"] = each("free_below", _seconds(columns["free_below"], "free_below", 0))
    terms["tier_from_s"] = each("tier_from", _seconds(columns["tier_from"], "tier_from", 0))
    terms["valid_from_ms"] = each("valid_from", _moments(columns["valid_from"], expected, ALWAYS_FROM_MS))
    terms["valid_until_ms"] = each("valid_until", _moments(columns["valid_until"], expected, ALWAYS_UNTIL_MS))
    terms["connect_micro"] = np.maximum(decimals("connect_fee", 6, MAX_FEE_MICRO), 0)
    minimum = terms["min_micro"] = np.maximum(decimals("min_charge", 6, MAX_FEE_MICRO), 0)
    maximum = terms["max_micro"] = decimals("max_charge", 6, MAX_FEE_MICRO)
    price = decimals("price", PRICE_PLACES, _MOST_SCALED)
    terms["price_num"], terms["price_den"] = _fractions(price, per)
    carrier = decimals("carrier_cost", PRICE_PLACES, _MOST_SCALED)
    carrier_num, carrier_den = _fractions(np.maximum(carrier, 0), per)
    terms["carrier_num"] = np.where(carrier < 0, NO_CARRIER, carrier_num)
    terms["carrier_den"] = np.where(carrier < 0, 1, carrier_den)
    if (
        bool((price < 0).any())
        or bool(((maximum >= 0) & (maximum < minimum)).any())
        or bool((terms["valid_from_ms"] >= terms["valid_until_ms"]).any())
    ):
        raise _NotPlain
    return terms


def _seconds(column: _Column, name: str, default: int) -> Ints:
    found = [default if not text else whole_seconds(name, text) for text in column.values]
    if None in found:
        raise _NotPlain
    return np.array(found, np.int64)


def _moments(column: _Column, expected: Expected, default: int) -> Ints:
    found = [default if not text else parse_moment(text, expected.zone) for text in column.values]
    if None in found:
        raise _NotPlain
    return np.array(found, np.int64)


def _fractions(scaled: Ints, per_s: Ints) -> tuple[Ints, Ints]:
    """Prices × 10⁹ for so many seconds, as micro-units a second in lowest terms."""
    den = 1000 * per_s
    shared = np.gcd(scaled, den)
    num, den = scaled // shared, den // shared
    if bool(
        (num > MAX_PRICE_NUM).any() | (den > MAX_DENOMINATOR).any() | (num // den >= MAX_PRICE_MICRO_PER_S).any()
    ):
        raise _NotPlain
    return num, den


def _distinct(
    terms: npt.NDArray[np.void], codes: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int32]]:
    """Terms that different texts say alike ("0.1", "0.10") made one, in the order in which they first occur.

    That only saves room, and is left out where it would cost much and save little."""
    if len(terms) > _MANY_TERMS:
        return terms, codes
    kinds: npt.NDArray[Any] = np.ascontiguousarray(terms).view(np.dtype((np.void, TERMS.itemsize)))
    _, firsts, inverse = np.unique(kinds, return_index=True, return_inverse=True)
    if len(firsts) == len(terms):
        return terms, codes.astype(np.int32, copy=False)
    rank = np.empty(len(firsts), np.int32)
    rank[np.argsort(firsts)] = np.arange(len(firsts), dtype=np.int32)
    return terms[np.sort(firsts)], rank[inverse.reshape(-1)][codes]


def _destinations(column: _Column, order: npt.NDArray[np.intp] | None) -> tuple[list[str], npt.NDArray[np.int32]]:
    if any(not text or len(text) > MAX_DESTINATION or text != text.strip() for text in column.values):
        raise _NotPlain
    names = sorted(column.values)
    places = {name: place for place, name in enumerate(names)}
    by_code = np.array([places[name] for name in column.values], np.int32)
    return names, by_code[column.codes if order is None else column.codes[order]]


def _check(
    terms: npt.NDArray[np.void],
    row_terms: npt.NDArray[np.int32],
    group_start: npt.NDArray[np.int32],
    bands: Sequence[str],
    expected: Expected,
) -> Together:
    """Whether the rows of every prefix fit together: looked at once for each set of shapes that occurs."""
    dens = np.unique(terms["price_den"]).tolist()
    one_scale = int(np.lcm.reduce(np.array(dens, object))) <= MAX_DENOMINATOR
    fields = [terms["band"] + 1, terms["tier_from_s"], terms["valid_from_ms"], terms["valid_until_ms"]]
    fields.append(np.ones(len(terms), np.int64) if one_scale else terms["price_den"])
    shape_of, firsts = _numbered(fields)
    named = [Shape(bands[band], *rest) for band, *rest in zip(*(f[firsts].tolist() for f in fields), strict=True)]
    together = Together(expected.bands)
    for signature in _signatures(shape_of[row_terms], group_start, len(named)):
        rows = [named[place] for place in signature]
        if overlap(rows) or together.fault(rows) is not None:
            raise _NotPlain
    return together


def _numbered(fields: Sequence[npt.NDArray[Any]]) -> tuple[Ints, npt.NDArray[np.intp]]:
    """Each place's combination of values, numbered from 0; and a place where each number occurs."""
    numbers = np.zeros(len(fields[0]), np.int64)
    firsts = np.zeros(1, np.intp)
    for values in fields:
        if bool((values == values[0]).all()):
            continue
        distinct, codes = np.unique(values, return_inverse=True)
        _, firsts, inverse = np.unique(
            numbers * len(distinct) + codes.reshape(-1), return_index=True, return_inverse=True
        )
        numbers = inverse.reshape(-1)
    return numbers, firsts


def _signatures(shape_of_row: Ints, group_start: npt.NDArray[np.int32], kinds: int) -> Iterator[list[int]]:
    """Each distinct set of shapes that some prefix has."""
    sizes = np.diff(group_start)
    for size in np.unique(sizes).tolist():
        begins = group_start[:-1][sizes == size]
        if size == 1:
            yield from ([place] for place in np.flatnonzero(np.bincount(shape_of_row[begins])).tolist())
            continue
        matrix = np.sort(shape_of_row[begins[:, None] + np.arange(size)], axis=1)
        if kinds**size < _ROOM:
            numbers = matrix @ np.array([kinds**i for i in range(size)], np.int64)
            _, firsts = np.unique(numbers, return_index=True)
            yield from matrix[firsts].tolist()
        else:
            yield from np.unique(matrix, axis=0).tolist()
