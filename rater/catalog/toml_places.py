"""TOML with places: `tomllib` gives the values, a scan beside it tells where each key and value stands.

The scan trusts that the text is valid (tomllib has accepted it) and only finds its way: headers, keys, strings,
arrays, inline tables. A path is a tuple of keys and, inside arrays, numbers: ``("plan", "flat", "band", 0)``.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rater.errors import Problem

Step = str | int
Where = tuple[Step, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Inexact(str):
    """A TOML float, kept as written: amounts must not pass through binary fractions."""


@dataclass(frozen=True, slots=True)
class TomlFile:
    """`name`: as problems show it. `keys`, `values`: line and column, from 1, of each path."""

    name: str
    data: dict[str, Any]
    keys: dict[Where, tuple[int, int]]
    values: dict[Where, tuple[int, int]]

    def place(self, path: Where, *, of_key: bool = False) -> tuple[int, int]:
        """Where a value (or key) stands; of something that is missing, where its nearest parent does."""
        while path:
            place = (self.keys if of_key else self.values).get(path) or self.keys.get(path)
            if place is not None:
                return place
            path = path[:-1]
        return (1, 1)


def read_toml(path: Path, name: str) -> TomlFile | Problem:
    """The file's values and places, or the one problem that stops reading it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return Problem(name, 0, 0, f"cannot be read: {error.strerror}", "a readable file")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        return Problem(name, before.count(b"\n") + 1, column, "a byte is not UTF-8", "a text file in UTF-8")
    try:
        data = tomllib.loads(text, parse_float=Inexact)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        return _syntax_problem(name, text, str(error))
    scan = _Scan(text)
    scan.document()
    return TomlFile(name, data, scan.keys, scan.values)


def _syntax_problem(name: str, text: str, message: str) -> Problem:
    match = _AT.search(message)
    line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
    if match is not None:
        message = message[: match.start()]
        if match[1]:
            line, column = int(match[1]), int(match[2])
    return Problem(name, line, column, message, "valid TOML")


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.keys: dict[Where, tuple[int, int]] = {}
        self.values: dict[Where, tuple[int, int]] = {}
        self._lines = [0, *(i + 1 for i, char in enumerate(text) if char == "\n")]
        self._arrays: dict[Where, int] = {}

    def document(self) -> None:
        table: Where = ()
        while self._to_next():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Where:
        start = self.at
        of_array = self.text.startswith("[[", start)
        self.at += 2 if of_array else 1
        parts = self._key()
        self.at = self.text.index("]", self.at) + (2 if of_array else 1)
        path: Where = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
            self.keys.setdefault(path, self._place(start))
        path = (*path, parts[-1])
        if of_array:
            self.keys.setdefault(path, self._place(start))
            self._arrays[path] = self._arrays.get(path, -1) + 1
            path = (*path, self._arrays[path])
        self.keys[path] = self._place(start)
        return path

    def _pair(self, table: Where) -> None:
        self._blank()
        start = self.at
        parts = self._key()
        path = table
        for part in parts:
            path = (*path, part)
            self.keys.setdefault(path, self._place(start))
        self.at = self.text.index("=", self.at) + 1
        self._blank()
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._blank()
            char = self.text[self.at]
            if char in "\"'":
                start = self.at
                self._string()
                parts.append(tomllib.loads(f"k = {self.text[start : self.at]}")["k"])
            else:
                match = _BARE.match(self.text, self.at)
                assert match is not None, "tomllib accepted what is no key"
                self.at = match.end()
                parts.append(match[0])
            self._blank()
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def _value(self, path: Where) -> None:
        self.values[path] = self._place(self.at)
        char = self.text[self.at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self.at += 1
            index = 0
            while self._to_next() and self.text[self.at] != "]":
                self._value((*path, index))
                index += 1
                self._skip_comma()
            self.at += 1
        elif char == "{":
            self.at += 1
            while self._to_next() and self.text[self.at] != "}":
                self._pair(path)
                self._skip_comma()
            self.at += 1
        else:
            match = _SCALAR.match(self.text, self.at)
            assert match is not None, "tomllib accepted what is no value"
            self.at = match.end()

    def _string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.at += 3
            while not self.text.startswith(quote * 3, self.at):
                self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            self.at += 3
            while self.text.startswith(quote, self.at):  # up to two quotes may stand before the closing three
                self.at += 1
            return
        self.at += 1
        while self.text[self.at] != quote:
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += 1

    def _blank(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def _to_next(self) -> bool:
        """Past blanks, line ends and comments; False at the end of the text."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\n":
                self.at += 1
            else:
                return True
        return False

    def _skip_comma(self) -> None:
        if self._to_next() and self.text[self.at] == ",":
            self.at += 1

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1
