"""One table of a TOML file, read key by key. Every fault becomes a `Problem` with its place; reading goes on, so
that one run finds them all. What a method returns after a fault is a stand-in that only lets the reading go on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Any, TypeVar

from rater.catalog.toml_places import Inexact, TomlFile, Where
from rater.errors import AmountError, Problem
from rater.money import parse_amount

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_EXPECTED = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
_Member = TypeVar("_Member", bound=Enum)


def describe(value: object) -> str:
    """A value as the user wrote it, shortened."""
    if isinstance(value, Inexact):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def one_of(names: Collection[str]) -> str:
    return " | ".join(sorted(names)) if names else "nothing: none is defined"


class Table:
    """`finish` must be called when all keys are read: what is left over is unknown."""

    def __init__(self, file: TomlFile, path: Where, data: dict[str, Any], problems: list[Problem]) -> None:
        self.file = file
        self.path = path
        self.data = data
        self.problems = problems
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def fault(self, key: str | None, message: str, expected: str, *, at_key: bool = False) -> None:
        """Note a problem with the value of `key`, or with the table itself."""
        path = self.path if key is None else (*self.path, key)
        line, column = self.file.place(path, of_key=at_key or key is None)
        self.problems.append(Problem(self.file.name, line, column, message, expected))

    def fault_at(self, path: Where, message: str, expected: str) -> None:
        line, column = self.file.place((*self.path, *path))
        self.problems.append(Problem(self.file.name, line, column, message, expected))

    def finish(self) -> None:
        for key in self.data:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                hint = f"{near[0]} perhaps; the keys here are " if near else "one of "
                self.fault(key, f"unknown key {key!r}", hint + ", ".join(sorted(self._known)), at_key=True)

    def _take(self, key: str, required: bool, expected: str) -> Any:
        self._known.add(key)
        value = self.data.get(key)
        if value is None and required:
            self.fault(None, f"the key {key!r} is missing", expected)
        return value

    def text(
        self,
        key: str,
        default: str | None = None,
        *,
        pattern: re.Pattern[str] | None = None,
        expected: str = "a text",
    ) -> str:
        """A text; without a default the key is required."""
        value = self._take(key, default is None, expected)
        if value is None:
            return default or ""
        if not isinstance(value, str) or isinstance(value, Inexact):
            self.fault(key, f"{describe(value)} is no text", expected + ", in quotes")
            return default or ""
        if pattern is not None and pattern.fullmatch(value) is None:
            self.fault(key, f"{describe(value)} cannot stand here", expected)
            return default or ""
        return value

    def integer(self, key: str, default: int | None = None, *, low: int, high: int) -> int:
        expected = f"a whole number from {low} to {high}"
        value = self._take(key, default is None, expected)
        fallback = low if default is None else default
        if value is None:
            return fallback
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault(key, f"{describe(value)} cannot stand here", expected)
            return fallback
        return value

    def limit(self, key: str) -> int | None:
        """A number of simultaneous calls, or none."""
        return self.integer(key, low=0, high=1_000_000) if key in self.data else self._take(key, False, "")

    def limits_by(self, key: str, among: Collection[str]) -> tuple[tuple[str, int], ...]:
        """A table of names and the most simultaneous calls of each, such as ``{ premium = 1 }``."""
        table = self.table(key)
        found: list[tuple[str, int]] = []
        for name in table.data:
            if name in among:
                found.append((name, table.integer(name, low=0, high=1_000_000)))
            else:
                near = difflib.get_close_matches(name, among, 1)
                table.fault(name, f"unknown class {name!r}", near[0] if near else one_of(among), at_key=True)
        return tuple(sorted(found))

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key, False, "")
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, f"{describe(value)} cannot stand here", "true or false")
            return default
        return value

    def amount(self, key: str, default: int | None = None) -> int:
        """Micro-units of an amount written as a text, not negative."""
        value = self._take(key, default is None, 'an amount such as "12.50"')
        return (default or 0) if value is None else self._amount((key,), value)

    def amount_or_none(self, key: str) -> int | None:
        return self.amount(key) if key in self.data else self._take(key, False, "")

    def _amount(self, path: Where, value: object) -> int:
        if isinstance(value, Inexact):
            self.fault_at(
                path, f"{value} is a floating-point number, which cannot hold money", f'"{value}", in quotes'
            )
            return 0
        if not isinstance(value, str):
            self.fault_at(path, f"{describe(value)} is no amount", 'a text such as "12.50"')
            return 0
        try:
            amount_micro = parse_amount(value)
        except AmountError as error:
            self.fault_at(path, error.message, error.hint.rstrip(".") or "an amount")
            return 0
        if amount_micro < 0:
            self.fault_at(path, f"{describe(value)} is negative", "an amount of zero or more")
            return 0
        return amount_micro

    def amounts(self, key: str) -> tuple[int, ...]:
        return tuple(self._amount((key, i), value) for i, value in enumerate(self._items(key, 'amounts, ["5.00"]')))

    def integers(self, key: str, *, low: int, high: int) -> tuple[int, ...]:
        expected = f"whole numbers from {low} to {high}"
        found: list[int] = []
        for i, value in enumerate(self._items(key, expected)):
            if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
                found.append(value)
            else:
                self.fault_at((key, i), f"{describe(value)} cannot stand here", expected)
        return tuple(found)

    def texts(
        self,
        key: str,
        default: tuple[str, ...] | None = (),
        *,
        pattern: re.Pattern[str] | None = None,
        among: Collection[str] | None = None,
        expected: str = "texts",
    ) -> tuple[str, ...]:
        """A list of texts, each once; `among` restricts them. Without a default the list is required, not empty."""
        if among is not None:
            expected = one_of(among)
        found: list[str] = []
        items = self._items(key, expected, required=default is None)
        for i, value in enumerate(items):
            good = isinstance(value, str) and not isinstance(value, Inexact)
            if (
                not good
                or (pattern is not None and pattern.fullmatch(value) is None)
                or (among is not None and value not in among)
            ):
                self.fault_at((key, i), f"{describe(value)} cannot stand here", expected)
            elif value in found:
                self.fault_at((key, i), f"{describe(value)} stands here twice", "each once")
            else:
                found.append(value)
        if default is None and key in self.data and not items:
            self.fault(key, "the list is empty", expected)
        return tuple(found) if key in self.data else (default or ())

    def _items(self, key: str, expected: str, *, required: bool = False) -> list[Any]:
        value = self._take(key, required, f"a list of {expected}")
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(key, f"{describe(value)} is no list", f"a list in brackets: {expected}")
            return []
        return value

    def choice(self, key: str, kind: type[_Member], default: _Member | None = None) -> _Member:
        """A member of an enumeration, written as its lower-case name."""
        names = {member.name.lower(): member for member in kind}
        value = self._take(key, default is None, one_of(names))
        if isinstance(value, str) and value in names:
            return names[value]
        if value is not None:
            self.fault(key, f"{describe(value)} cannot stand here", one_of(names))
        return next(iter(kind)) if default is None else default

    def reference(self, key: str, known: Collection[str], what: str, default: str | None = None) -> str:
        """The name of something defined elsewhere."""
        value = self.text(key, default, expected=what)
        if value and value not in known:
            near = difflib.get_close_matches(value, known, 1)
            self.fault(key, f"unknown {what} {value!r}", f"{near[0]}, perhaps" if near else one_of(known))
        return value

    def table(self, key: str) -> Table:
        """A table inside; an empty one when the key is absent."""
        value = self._take(key, False, "")
        if value is not None and not isinstance(value, dict):
            self.fault(key, f"{describe(value)} is no table", f"a table, such as {{ … }} or [….{key}]")
            value = None
        return Table(self.file, (*self.path, key), value or {}, self.problems)

    def tables(self, key: str) -> list[Table]:
        """Tables in a list, ``[[….key]]``."""
        found: list[Table] = []
        for i, value in enumerate(self._items(key, "tables")):
            if isinstance(value, dict):
                found.append(Table(self.file, (*self.path, key, i), value, self.problems))
            else:
                self.fault_at((key, i), f"{describe(value)} is no table", "a table")
        return found

    def named(self, key: str, expected: str = ID_EXPECTED) -> Iterator[tuple[str, Table]]:
        """The tables ``[key.NAME]``, each with its name checked."""
        group = self.table(key)
        for name, value in group.data.items():
            if ID.fullmatch(name) is None:
                group.fault(name, f"{name!r} is no name", expected, at_key=True)
            elif not isinstance(value, dict):
                group.fault(name, f"{describe(value)} is no table", f"a table [{key}.{name}]")
            else:
                yield name, Table(self.file, (*group.path, name), value, self.problems)
