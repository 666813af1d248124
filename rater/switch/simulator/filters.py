"""Event filters of one manager connection, as the action Filter adds them.

The old way, ``Filter: [!]regex``, matches the whole frame. The way of Asterisk 22 adds a ``MatchCriteria`` such as
``action(exclude),name(Newchannel),header(Channel),method(starts_with)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_CRITERION = re.compile(r"(action|name|header|method)\(([^)]*)\)", re.ASCII)
_METHODS: dict[str, Callable[[str, str], bool]] = {
    "regex": lambda text, wanted: re.search(wanted, text) is not None,
    "exact": lambda text, wanted: text == wanted,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "contains": lambda text, wanted: wanted in text,
}


class BadFilter(Exception):
    """The filter cannot be understood; the text goes into the error response."""


@dataclass(frozen=True, slots=True)
class Filter:
    exclude: bool
    name: str
    """Only events of this name; "" for all."""
    header: str
    """Match this header's value; "" for the whole frame."""
    method: str
    """"" when the name alone decides."""
    text: str

    def matches(self, name: str, frame: str) -> bool:
        if self.name and self.name != name:
            return False
        if not self.method:
            return True
        if not self.header:
            return _METHODS[self.method](frame, self.text)
        values = re.findall(rf"^{re.escape(self.header)}: (.*?)\r?$", frame, re.MULTILINE)
        return any(_METHODS[self.method](value, self.text) for value in values)


def parse_filter(text: str, criteria: str) -> Filter:
    """Raises BadFilter."""
    if not criteria:
        exclude, pattern = text.startswith("!"), text.removeprefix("!")
        if not pattern:
            raise BadFilter("Filter is empty")
        return _checked(Filter(exclude, "", "", "regex", pattern))
    found = dict(_CRITERION.findall(criteria))
    method = found.get("method", "regex" if text else "")
    if not found or found.get("action", "include") not in ("include", "exclude"):
        raise BadFilter("MatchCriteria cannot be read")
    if method not in ("", "none", *_METHODS):
        raise BadFilter(f"unknown method {method}")
    method = "" if method == "none" else method
    exclude = found.get("action") == "exclude"
    return _checked(Filter(exclude, found.get("name", ""), found.get("header", ""), method, text))


def _checked(parsed: Filter) -> Filter:
    if parsed.method == "regex":
        try:
            re.compile(parsed.text)
        except re.error as error:
            raise BadFilter(f"Invalid regular expression: {error}") from error
    return parsed


def passes(filters: list[Filter], name: str, frame: str) -> bool:
    """With including filters an event must match one of them; one match of an excluding filter drops it."""
    including = [one for one in filters if not one.exclude]
    if including and not any(one.matches(name, frame) for one in including):
        return False
    return not any(one.exclude and one.matches(name, frame) for one in filters)
