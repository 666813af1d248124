"""A deck read row by row, to say what is wrong in which line and column; the readable twin of `deck_columns`."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from rater.errors import Problem
from rater.money import MICRO
from rater.rating.compiled import (
    ALWAYS_FROM_MS,
    ALWAYS_UNTIL_MS,
    MAX_PREFIX,
    NO_CARRIER,
    NO_MAXIMUM,
    SYMBOLS,
    TERMS,
    CompiledDeck,
    pack,
    text_table,
)
from rater.rating.deck_format import (
    MAX_DESTINATION,
    MAX_FEE_MICRO,
    ON_MAX,
    OPTIONAL,
    PRICE_PLACES,
    REQUIRED,
    SECONDS,
    Expected,
    Shape,
    Together,
    delimiter_of,
    price_in_range,
    whole_seconds,
)
from rater.rating.moments import EXPECTED, parse_moment

MOST_PROBLEMS = 1000
Row = dict[str, Any]


def read(data: bytes, file: str, expected: Expected) -> CompiledDeck | tuple[Problem, ...]:
    """The deck of a CSV file, or everything that is wrong with it. `file`: its name in problems."""
    reader = _Reader(file, expected)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return (Problem(file, 0, 0, f"is not UTF-8: {error.reason} at byte {error.start}", "UTF-8 text"),)
    rows = reader.rows(text)
    together = reader.check_together(rows)
    if reader.problems:
        return _told(sorted(reader.problems))
    return _compile(rows, together)


def _told(problems: list[Problem]) -> tuple[Problem, ...]:
    """As many as a person would read."""
    if len(problems) < MOST_PROBLEMS:
        return tuple(problems)
    last = problems[MOST_PROBLEMS - 1]
    more = Problem(last.file, last.line, 0, "there may be more faults from here on", "these mended first")
    return (*problems[:MOST_PROBLEMS], more)


class _Reader:
    """Turns lines into rows of numbers, and notes every fault with its place."""

    def __init__(self, file: str, expected: Expected) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._expected = expected
        self._band_names = frozenset(band.name for band in expected.bands)
        self._decimal_sign = expected.decimal_sign
        self._columns: dict[str, int] = {}
        self._good_terms: dict[tuple[str, ...], Row] = {}
        self._line = 0

    def rows(self, text: str) -> list[Row]:
        first = text.split("\n", 1)[0]
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(first))
        found: list[Row] = []
        try:
            header = next(lines, None)
            if header is None or not self._read_header(header):
                if header is None:
                    self.problems.append(Problem(self.file, 1, 1, "is empty", "a header line and rates"))
                return []
            for fields in lines:
                self._line = lines.line_num
                if any(fields):
                    row = self._row(fields, len(header))
                    if row is not None:
                        found.append(row)
                if len(self.problems) >= MOST_PROBLEMS:
                    break
        except csv.Error as error:
            self.problems.append(Problem(self.file, lines.line_num, 1, str(error), "a well-formed CSV line"))
        if not found and not self.problems:
            self.problems.append(Problem(self.file, 1, 1, "has no rates", "at least one rate"))
        return found

    def _read_header(self, header: list[str]) -> bool:
        for column, name in enumerate((field.strip().lower() for field in header), start=1):
            if name not in REQUIRED + OPTIONAL:
                expected = "one of " + ", ".join(REQUIRED + OPTIONAL)
                self.problems.append(Problem(self.file, 1, column, f"unknown column {name!r}", expected))
            elif name in self._columns:
                self.problems.append(Problem(self.file, 1, column, f"column {name} stands twice", "it once"))
            self._columns[name] = column
        for name in REQUIRED:
            if name not in self._columns:
                self.problems.append(Problem(self.file, 1, 1, f"no column {name}", ", ".join(REQUIRED)))
        return not self.problems

    def _fault(self, name: str, message: str, expected: str) -> None:
        column = self._columns.get(name, 1)
        self.problems.append(Problem(self.file, self._line, column, f"{name}: {message}", expected))

    def _row(self, fields: list[str], width: int) -> Row | None:
        if len(fields) != width:
            message = f"has {len(fields)} fields"
            self.problems.append(Problem(self.file, self._line, 1, message, f"{width}, as in the header"))
            return None
        before = len(self.problems)
        value = {name: fields[column - 1].strip() for name, column in self._columns.items()}
        row: Row = {"line": self._line, **self._place(value), **self._terms(value)}
        return row if len(self.problems) == before else None

    def _terms(self, value: dict[str, str]) -> Row:
        """All that many prefixes may have in common; read once for each writing that has no fault."""
        writing = tuple(text for name, text in value.items() if name not in ("prefix", "destination"))
        terms = self._good_terms.get(writing)
        if terms is None:
            before = len(self.problems)
            terms = self._names(value) | self._prices(value) | self._steps(value) | self._validity(value)
            if len(self.problems) == before:
                self._good_terms[writing] = terms
        return terms

    def _place(self, value: dict[str, str]) -> Row:
        prefix, destination = value["prefix"], value["destination"]
        if not prefix or len(prefix) > MAX_PREFIX or any(symbol not in SYMBOLS for symbol in prefix):
            self._fault("prefix", f"{prefix!r}", f"1 to {MAX_PREFIX} of the symbols {SYMBOLS}")
        if not destination:
            self._fault("destination", "is empty", "a name that a customer understands")
        elif len(destination) > MAX_DESTINATION:
            self._fault("destination", "is too long", f"at most {MAX_DESTINATION} characters")
        return {"prefix": prefix, "destination": destination}

    def _names(self, value: dict[str, str]) -> Row:
        klass, band = value["class"], value.get("band", "")
        if klass not in self._expected.classes:
            known = ", ".join(sorted(self._expected.classes))
            self._fault("class", f"unknown class {klass!r}", f"one of {known}")
        if band and band not in self._band_names:
            known = ", ".join(sorted(self._band_names)) or "none: the plan has no bands"
            self._fault("band", f"unknown band {band!r}", f"one of {known}")
        return {"class_": klass, "band": band}

    def _prices(self, value: dict[str, str]) -> Row:
        per_s = self._whole(value, "per", 60)
        price = self._price(value, "price", per_s)
        carrier = self._price(value, "carrier_cost", per_s) if value.get("carrier_cost") else None
        maximum = self._fee(value, "max_charge") if value.get("max_charge") else NO_MAXIMUM
        minimum = self._fee(value, "min_charge")
        if 0 <= maximum < minimum:
            self._fault("max_charge", "is less than min_charge", "at least min_charge")
        on_max = value.get("on_max", "")
        if on_max not in ON_MAX:
            self._fault("on_max", f"{on_max!r}", "free or cut")
        return {
            "price_num": price.numerator, "price_den": price.denominator,
            "carrier_num": carrier.numerator if carrier is not None else NO_CARRIER,
            "carrier_den": carrier.denominator if carrier is not None else 1,
            "connect_micro": self._fee(value, "connect_fee"), "min_micro": minimum, "max_micro": maximum,
            "cut": ON_MAX.get(on_max, 0),
        }  # fmt: skip

    def _steps(self, value: dict[str, str]) -> Row:
        next_s = self._whole(value, "next", 1)
        return {
            "next_s": next_s,
            "first_s": self._whole(value, "first", next_s),
            "free_s": self._whole(value, "free_below", 0),
            "tier_from_s": self._whole(value, "tier_from", 0),
        }

    def _validity(self, value: dict[str, str]) -> Row:
        since = self._moment(value, "valid_from", ALWAYS_FROM_MS)
        until = self._moment(value, "valid_until", ALWAYS_UNTIL_MS)
        if since >= until:
            self._fault("valid_until", "is not after valid_from", "a later moment")
        return {"valid_from_ms": since, "valid_until_ms": until}

    def _decimal(self, value: dict[str, str], name: str) -> Decimal | None:
        text = value.get(name, "")
        plain = text.replace(self._decimal_sign, ".") if self._decimal_sign != "." else text
        foreign = self._decimal_sign != "." and "." in text
        try:
            number = Decimal(plain) if set(plain) <= set("0123456789.") and len(plain) <= 40 else Decimal(-1)
        except InvalidOperation:
            number = Decimal(-1)
        if foreign or number < 0:
            self._fault(name, f"{text!r}", f"digits with {self._decimal_sign!r} as the decimal sign, not negative")
            return None
        return number

    def _price(self, value: dict[str, str], name: str, per_s: int) -> Fraction:
        number = self._decimal(value, name)
        if number is None:
            return Fraction(0)
        if (Fraction(number) * 10**PRICE_PLACES).denominator != 1:
            self._fault(name, f"{value[name]!r} has too many decimals", "at most nine")
            return Fraction(0)
        price = Fraction(number) * MICRO / per_s
        if not price_in_range(price):
            self._fault(name, f"{value[name]!r} per {per_s} s is out of the exact range", "a smaller price")
            return Fraction(0)
        return price

    def _fee(self, value: dict[str, str], name: str) -> int:
        if not value.get(name):
            return 0
        number = self._decimal(value, name)
        micro = Fraction(number or 0) * MICRO
        if micro.denominator != 1 or micro > MAX_FEE_MICRO:
            self._fault(name, f"{value[name]!r}", "at most six decimals and at most 10 000 000")
            return 0
        return int(micro)

    def _whole(self, value: dict[str, str], name: str, default: int) -> int:
        text = value.get(name, "")
        if not text:
            return default
        seconds = whole_seconds(name, text)
        if seconds is None:
            low, high = SECONDS[name]
            self._fault(name, f"{text!r}", f"whole seconds, {low} to {high}")
            return default
        return seconds

    def _moment(self, value: dict[str, str], name: str, default: int) -> int:
        text = value.get(name, "")
        moment_ms = parse_moment(text, self._expected.zone) if text else default
        if moment_ms is None:
            self._fault(name, f"{text!r}", EXPECTED)
            return default
        return moment_ms

    # -- rows against each other ---------------------------------------------------------------------------------

    def check_together(self, rows: list[Row]) -> Together:
        """No two rows for the same seconds at the same time, and no hours without a rate."""
        together = Together(self._expected.bands)
        by_prefix: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_prefix[row["prefix"]].append(row)
        for prefix, group in by_prefix.items():
            self._check_overlaps(group)
            fault = together.fault([_shape(row) for row in group])
            if fault is not None:
                self._line = group[0]["line"]
                self._fault(fault.column, f"prefix {prefix} {fault.message}", fault.expected)
        return together

    def _check_overlaps(self, group: list[Row]) -> None:
        if len(group) < 2:
            return
        order = sorted(group, key=lambda r: (r["band"], r["tier_from_s"], r["valid_from_ms"]))
        for one, other in pairwise(order):
            same = one["band"] == other["band"] and one["tier_from_s"] == other["tier_from_s"]
            if same and other["valid_from_ms"] < one["valid_until_ms"]:
                self._line = other["line"]
                what = "is a duplicate of" if one["valid_from_ms"] == other["valid_from_ms"] else "overlaps"
                message = f"{other['prefix']} {what} line {one['line']}"
                self._fault("prefix", message, "one rate for a prefix, band, tier and time")


def _shape(row: Row) -> Shape:
    return Shape(row["band"], row["tier_from_s"], row["valid_from_ms"], row["valid_until_ms"], row["price_den"])


def _compile(rows: list[Row], together: Together) -> CompiledDeck:
    rows = sorted(rows, key=lambda r: (pack(r["prefix"]), r["line"]))
    classes = sorted({row["class_"] for row in rows})
    bands = sorted({row["band"] for row in rows} - {""})
    destinations = {name: place for place, name in enumerate(sorted({row["destination"] for row in rows}))}
    places = {
        "class_": {c: i for i, c in enumerate(classes)},
        "band": {b: i for i, b in enumerate(bands)} | {"": -1},
    }
    distinct: dict[tuple[int, ...], int] = {}
    row_terms = []
    for row in rows:
        values = tuple(
            places[name][row[name]] if name in places else row.get(name, 0) for name in TERMS.names or ()
        )
        row_terms.append(distinct.setdefault(values, len(distinct)))
    keys = np.array([pack(row["prefix"]) for row in rows], np.uint64)
    group_keys, starts = np.unique(keys, return_index=True)
    destination_start, destination_text = text_table(list(destinations))
    return CompiledDeck(
        keys=group_keys,
        group_start=np.append(starts, len(rows)).astype(np.int32),
        row_terms=np.array(row_terms, np.int32),
        row_destination=np.array([destinations[row["destination"]] for row in rows], np.int32),
        terms=np.array(list(distinct), TERMS),
        destination_start=destination_start,
        destination_text=destination_text,
        classes=tuple(classes),
        bands=tuple(bands),
        band_sets=together.sorted_band_sets(),
    )
