"""Decks as CSV files: read whole, checked whole, compiled."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import defaultdict
from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import babel
import babel.numbers
import numpy as np

from rater.errors import Problem
from rater.money import MAX_PRICE_NUM, MICRO
from rater.rating.bands import Band
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
from rater.rating.timeline import uncovered

REQUIRED = ("prefix", "destination", "class", "price")
OPTIONAL = (
    "connect_fee", "per", "first", "next", "free_below", "min_charge", "max_charge", "on_max", "tier_from", "band",
    "valid_from", "valid_until", "carrier_cost",
)  # fmt: skip
MAX_FEE_MICRO = 10**13
MAX_STEP_S = 3600
_MAX_DEN = 2**31 - 1
Row = dict[str, Any]


def import_deck(
    path: Path,
    *,
    zone: ZoneInfo,
    classes: Collection[str],
    bands: Sequence[Band] = (),
    locale: str = "",
) -> CompiledDeck | tuple[Problem, ...]:
    """The compiled deck of a CSV file, or everything that is wrong with it. See docs/rating.md for the columns.

    `zone`: in which the file's dates and times are meant. `classes`: those that may stand in it. `bands`: the
    plan's, in order. `locale`: such as ``pt_BR``, for the decimal sign; empty: a point.
    """
    reader = _Reader(str(path), zone, frozenset(classes), tuple(bands), _decimal_sign(locale))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return (Problem(str(path), 0, 0, f"cannot be read: {error.strerror}", "a CSV file"),)
    except UnicodeDecodeError as error:
        return (Problem(str(path), 0, 0, f"is not UTF-8: {error.reason} at byte {error.start}", "UTF-8 text"),)
    rows = reader.rows(text)
    reader.check_together(rows)
    if reader.problems:
        return tuple(sorted(reader.problems))
    return _compile(rows)


def _decimal_sign(locale: str) -> str:
    return babel.numbers.get_decimal_symbol(babel.Locale.parse(locale)) if locale else "."


class _Reader:
    """Turns lines into rows of numbers, and notes every fault with its place."""

    def __init__(
        self, file: str, zone: ZoneInfo, classes: frozenset[str], bands: tuple[Band, ...], decimal_sign: str
    ) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._zone = zone
        self._classes = classes
        self._bands = bands
        self._band_names = frozenset(band.name for band in bands)
        self._decimal_sign = decimal_sign
        self._columns: dict[str, int] = {}
        self._line = 0

    def rows(self, text: str) -> list[Row]:
        first = text.split("\n", 1)[0]
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",")
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
        row: Row = {"line": self._line, **self._names(value), **self._prices(value), **self._steps(value)}
        row |= self._validity(value)
        return row if len(self.problems) == before else None

    def _names(self, value: dict[str, str]) -> Row:
        prefix, klass, band = value["prefix"], value["class"], value.get("band", "")
        if not prefix or len(prefix) > MAX_PREFIX or any(symbol not in SYMBOLS for symbol in prefix):
            self._fault("prefix", f"{prefix!r}", f"1 to {MAX_PREFIX} of the symbols {SYMBOLS}")
        if klass not in self._classes:
            self._fault("class", f"unknown class {klass!r}", "one of " + ", ".join(sorted(self._classes)))
        if band and band not in self._band_names:
            known = ", ".join(sorted(self._band_names)) or "none: the plan has no bands"
            self._fault("band", f"unknown band {band!r}", f"one of {known}")
        if not value["destination"]:
            self._fault("destination", "is empty", "a name that a customer understands")
        return {"prefix": prefix, "class_": klass, "band": band, "destination": value["destination"]}

    def _prices(self, value: dict[str, str]) -> Row:
        per_s = self._whole(value, "per", 60, 1, 86_400)
        price = self._price(value, "price", per_s)
        carrier = self._price(value, "carrier_cost", per_s) if value.get("carrier_cost") else None
        maximum = self._fee(value, "max_charge") if value.get("max_charge") else NO_MAXIMUM
        minimum = self._fee(value, "min_charge")
        if 0 <= maximum < minimum:
            self._fault("max_charge", "is less than min_charge", "at least min_charge")
        on_max = value.get("on_max") or "free"
        if on_max not in ("free", "cut"):
            self._fault("on_max", f"{on_max!r}", "free or cut")
        return {
            "price_num": price.numerator, "price_den": price.denominator,
            "carrier_num": carrier.numerator if carrier is not None else NO_CARRIER,
            "carrier_den": carrier.denominator if carrier is not None else 1,
            "connect_micro": self._fee(value, "connect_fee"), "min_micro": minimum, "max_micro": maximum,
            "cut": int(on_max == "cut"),
        }  # fmt: skip

    def _steps(self, value: dict[str, str]) -> Row:
        next_s = self._whole(value, "next", 1, 1, MAX_STEP_S)
        return {
            "next_s": next_s,
            "first_s": self._whole(value, "first", next_s, 1, MAX_STEP_S),
            "free_s": self._whole(value, "free_below", 0, 0, 3600),
            "tier_from_s": self._whole(value, "tier_from", 0, 0, 86_400),
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
            number = Decimal(plain)
        except InvalidOperation:
            number = Decimal(-1)
        if foreign or not number.is_finite() or number < 0 or not set(plain) <= set("0123456789."):
            self._fault(name, f"{text!r}", f"digits with {self._decimal_sign!r} as the decimal sign, not negative")
            return None
        return number

    def _price(self, value: dict[str, str], name: str, per_s: int) -> Fraction:
        number = self._decimal(value, name)
        if number is None:
            return Fraction(0)
        if -int(number.as_tuple().exponent) > 9:
            self._fault(name, f"{value[name]!r} has too many decimals", "at most nine")
            return Fraction(0)
        price = Fraction(number) * MICRO / per_s
        if price.numerator > MAX_PRICE_NUM or price.denominator > _MAX_DEN:
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

    def _whole(self, value: dict[str, str], name: str, default: int, low: int, high: int) -> int:
        text = value.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 9 and low <= int(text) <= high):
            self._fault(name, f"{text!r}", f"whole seconds, {low} to {high}")
            return default
        return int(text)

    def _moment(self, value: dict[str, str], name: str, default: int) -> int:
        text = value.get(name, "")
        if not text:
            return default
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            self._fault(name, f"{text!r}", "a date such as 2026-11-01 or 2026-11-01T00:00")
            return default
        return round((moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).timestamp() * 1000)

    # -- rows against each other ---------------------------------------------------------------------------------

    def check_together(self, rows: list[Row]) -> None:
        """No two rows for the same seconds at the same time, and no hours without a rate."""
        by_prefix: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_prefix[row["prefix"]].append(row)
        gaps: dict[frozenset[str], tuple[str, ...]] = {}
        for prefix, group in by_prefix.items():
            self._check_overlaps(group)
            first = frozenset(row["band"] for row in group if row["tier_from_s"] == 0)
            if first not in gaps:
                gaps[first] = uncovered(self._bands, first) if first else ("",)
            if gaps[first]:
                self._line = group[0]["line"]
                hours = ", ".join(name or "hours of no band" for name in gaps[first])
                self._fault("band", f"prefix {prefix} has no rate for: {hours}", "a rate for every hour")

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


def _compile(rows: list[Row]) -> CompiledDeck:
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
    sets: dict[int, set[str]] = defaultdict(set)
    for key, row in zip(keys.tolist(), rows, strict=True):
        sets[key].add(row["band"])
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
        band_sets=tuple(sorted({tuple(sorted(names)) for names in sets.values()})),
    )
