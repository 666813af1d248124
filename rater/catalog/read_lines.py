"""`lines.csv`: the telephone lines, one a row; columns in any order, comma or semicolon.

In a problem of a CSV file the column is the cell's number, as a spreadsheet counts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from rater.catalog.classes import NEVER_IN_A_DECK
from rater.catalog.model import Account, Barred, CallLimits, Line, OffHours
from rater.catalog.plan import Plan
from rater.catalog.read_accounts import MOST_PER_SECOND, Payers
from rater.catalog.read_plans import PREFIX, PREFIX_EXPECTED
from rater.catalog.table import ID, ID_EXPECTED, one_of
from rater.errors import Problem
from rater.ids import AccountId, LineId, PlanId
from rater.money import MAX_CALL_S
from rater.rating.normalise_presets import area_pattern

REQUIRED = ("line", "account", "endpoint")
COLUMNS = (
    *REQUIRED, "account_code", "area", "active", "limit", "limit_out", "limit_in", "calls_per_second", "max_call_s",
    "blocked_classes", "blocked_prefixes", "off_hours",
)  # fmt: skip
MAX_CELL = 200
_NAME = re.compile(r"[^\s/,;@:{}\x00-\x1f]{1,80}")


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    column: int


def read_lines(
    path: Path,
    name: str,
    payers: Payers,
    plans: Mapping[PlanId, Plan],
    classes: Collection[str],
) -> tuple[dict[LineId, Line], list[Problem]]:
    """The lines, and everything that is wrong with the file; the lines are only good when nothing is."""
    reader = _Reader(name, payers, plans, set(classes) - NEVER_IN_A_DECK)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reader.problems.append(Problem(name, 0, 0, f"cannot be read: {error.strerror}", "a readable file"))
        return {}, reader.problems
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        reader.problems.append(
            Problem(name, before.count(b"\n") + 1, column, "a byte is not UTF-8", "a text file in UTF-8")
        )
        return {}, reader.problems
    reader.read(text)
    return reader.lines, reader.problems


class _Reader:
    def __init__(
        self,
        name: str,
        payers: Payers,
        plans: Mapping[PlanId, Plan],
        classes: Collection[str],
    ) -> None:
        self.name = name
        self.classes = classes
        self.accounts, self.off_hours = payers.accounts, payers.off_hours
        self.plans = plans
        self.problems: list[Problem] = []
        self.lines: dict[LineId, Line] = {}
        self._endpoints: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    def fault(self, number: int, column: int, message: str, expected: str) -> None:
        self.problems.append(Problem(self.name, number, column, message, expected))

    def read(self, text: str) -> None:
        rows = text.split("\n")
        header_at = next((i for i, row in enumerate(rows) if row.strip()), None)
        if header_at is None:
            self.fault(1, 1, "the file is empty", "a header: " + ",".join(COLUMNS))
            return
        header = rows[header_at].rstrip("\r")
        separator = ";" if header.count(";") > header.count(",") else ","
        columns = self._header(header_at + 1, header, separator)
        if columns is None:
            return
        for number, row in enumerate(rows[header_at + 1 :], header_at + 2):
            row = row.rstrip("\r")
            if row.strip():
                self._row(number, row, separator, columns)

    def _header(self, number: int, row: str, separator: str) -> list[str] | None:
        cells = self._cells(number, row, separator)
        if cells is None:
            return None
        before = len(self.problems)
        names: list[str] = []
        for cell in cells:
            column = cell.text.lower()
            if column not in COLUMNS:
                near = difflib.get_close_matches(column, COLUMNS, 1)
                expected = (f"{near[0]} perhaps; " if near else "") + "one of " + ", ".join(COLUMNS)
                self.fault(number, cell.column, f"unknown column {cell.text!r}", expected)
            elif column in names:
                self.fault(number, cell.column, f"the column {column!r} stands here twice", "each once")
            names.append(column)
        for column in REQUIRED:
            if column not in names and len(self.problems) == before:
                self.fault(number, 1, f"the column {column!r} is missing", "a header with " + ", ".join(REQUIRED))
        return names if len(self.problems) == before else None

    def _cells(self, number: int, row: str, separator: str) -> list[Cell] | None:
        cells: list[Cell] = []
        quoted = re.compile(rf'[ \t]*"((?:[^"]|"")*)"[ \t]*(?={separator}|$)')
        plain = re.compile(rf'[^"{separator}]*(?={separator}|$)')
        at = 0
        while True:
            match = quoted.match(row, at) or plain.match(row, at)
            if match is None:
                place = len(cells) + 1
                self.fault(number, place, "a quotation mark is not closed, or inside a cell", 'cells such as "a"')
                return None
            inner = match[1].replace('""', '"') if match.re is quoted else match[0]
            if len(inner) > MAX_CELL:
                self.fault(
                    number, len(cells) + 1, f"the cell is {len(inner)} characters long", f"at most {MAX_CELL}"
                )
                return None
            cells.append(Cell(inner.strip(), len(cells) + 1))
            at = match.end()
            if at >= len(row):
                return cells
            at += 1

    def _row(self, number: int, row: str, separator: str, columns: list[str]) -> None:
        cells = self._cells(number, row, separator)
        if cells is None:
            return
        if len(cells) != len(columns):
            place = min(len(cells), len(columns)) + 1
            self.fault(number, place, f"the row has {len(cells)} cells", f"{len(columns)}, as the header has")
            return
        by_name = dict(zip(columns, cells, strict=True))
        absent = Cell("", 0)
        get = {column: by_name.get(column, absent) for column in COLUMNS}
        line = LineId(self._text(number, get["line"], ID, f"a name of {ID_EXPECTED}"))
        endpoint = self._text(number, get["endpoint"], _NAME, "the endpoint's name on the switch, such as 1001")
        code = get["account_code"].text
        if code:
            self._text(number, get["account_code"], _NAME, "an account code without blanks")
        account = self._account(number, get["account"])
        self._once(number, get["line"], self._rows, "line")
        self._once(number, get["endpoint"], self._endpoints, "endpoint")
        self._once(number, get["account_code"], self._codes, "account code")
        area = self._area(number, get["area"], account)
        limits = CallLimits(
            self._limit(number, get["limit"]), self._limit(number, get["limit_out"]),
            self._limit(number, get["limit_in"]), self._whole(number, get["calls_per_second"], MOST_PER_SECOND),
        )  # fmt: skip
        barred = Barred(
            self._words(number, get["blocked_classes"], self.classes.__contains__, one_of(self.classes)),
            self._words(number, get["blocked_prefixes"], PREFIX.fullmatch, PREFIX_EXPECTED),
            self._whole(number, get["max_call_s"], MAX_CALL_S),
        )
        payer = account.id if account is not None else AccountId("")
        active = self._flag(number, get["active"])
        off_hours = self._off_hours(number, get["off_hours"])
        self.lines[line] = Line(line, payer, endpoint, code, area, active, limits, barred, off_hours)

    def _text(self, number: int, cell: Cell, pattern: re.Pattern[str], expected: str) -> str:
        if pattern.fullmatch(cell.text) is None:
            message = f"{cell.text!r} cannot stand here" if cell.text else "the cell is empty"
            self.fault(number, cell.column, message, expected)
        return cell.text

    def _once(self, number: int, cell: Cell, seen: dict[str, int], what: str) -> None:
        if not cell.text:
            return
        if cell.text in seen:
            self.fault(
                number, cell.column, f"the {what} {cell.text!r} is also in line {seen[cell.text]}", "each once"
            )
        seen.setdefault(cell.text, number)

    def _account(self, number: int, cell: Cell) -> Account | None:
        account = self.accounts.get(AccountId(cell.text))
        if account is None:
            near = difflib.get_close_matches(cell.text, self.accounts, 1)
            expected = f"{near[0]}, perhaps" if near else "an account of accounts.toml"
            self.fault(number, cell.column, f"unknown account {cell.text!r}", expected)
        return account

    def _off_hours(self, number: int, cell: Cell) -> OffHours | None:
        if not cell.text:
            return None
        rule = self.off_hours.get(cell.text)
        if rule is None:
            near = difflib.get_close_matches(cell.text, self.off_hours, 1)
            expected = f"{near[0]}, perhaps" if near else f"a table [off_hours.{cell.text}] in accounts.toml"
            self.fault(number, cell.column, f"unknown off-hours {cell.text!r}", expected)
        return rule

    def _area(self, number: int, cell: Cell, account: Account | None) -> str:
        plan = self.plans.get(account.plan) if account is not None else None
        if plan is None:
            return cell.text
        preset = plan.dial_plan.preset
        if re.fullmatch(area_pattern(preset), cell.text) is None:
            expected = (
                f"an area code of the dial plan {preset}" if area_pattern(preset) else f"none; {preset} has none"
            )
            self.fault(number, cell.column, f"unknown area {cell.text!r}", expected)
        elif preset == "brazil" and not cell.text and not plan.dial_plan.area:
            self.fault(
                number,
                cell.column or 1,
                "the line has no area, and neither has its dial plan",
                "an area code: without it no call is local or long distance",
            )
        return cell.text

    def _limit(self, number: int, cell: Cell) -> int | None:
        if not cell.text:
            return None
        if re.fullmatch(r"[0-9]{1,6}", cell.text) is None:
            self.fault(number, cell.column, f"{cell.text!r} is no limit", "a whole number of calls, or nothing")
            return None
        return int(cell.text)

    def _whole(self, number: int, cell: Cell, high: int) -> int | None:
        """A number from 1 on, or nothing."""
        if not cell.text:
            return None
        value = int(cell.text) if re.fullmatch(r"[0-9]{1,9}", cell.text) else 0
        if not 1 <= value <= high:
            expected = f"a whole number from 1 to {high}, or nothing"
            self.fault(number, cell.column, f"{cell.text!r} cannot stand here", expected)
            return None
        return value

    def _words(self, number: int, cell: Cell, is_good: Callable[[str], object], expected: str) -> tuple[str, ...]:
        """The words of a cell, between blanks."""
        words = tuple(dict.fromkeys(cell.text.split()))
        for word in words:
            if not is_good(word):
                self.fault(
                    number, cell.column, f"{word!r} cannot stand here", f"{expected}; blanks between several"
                )
        return words

    def _flag(self, number: int, cell: Cell) -> bool:
        text = cell.text.lower()
        if text not in ("", "yes", "no"):
            self.fault(number, cell.column, f"{cell.text!r} cannot stand here", "yes or no")
        return text != "no"
