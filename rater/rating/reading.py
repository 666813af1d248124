"""A number half read, and the rules that read it on.

A rule is of a pattern: where the whole number matches, the rule rewrites it and lets the next go on, or ends the
reading. The patterns of a dial plan are held against a number together (`Rules`), so that of twenty rules only
those are called that have something to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rater.rating.automaton import Automaton, Pattern, group_start
from rater.rating.normalise_countries import Place, place_of
from rater.verdict import Reason


@dataclass(frozen=True)
class Normalised:
    """A number that can be rated.

    `number`: E.164 digits without plus; or, when `short`, a short number as the dial plan knows it, which no prefix
    of a deck may price. `destination_class`: empty where the dial plan has no opinion. `class_is_final`: the dial
    plan determines the class, and only a rate of that class may price the number; else the class is what the
    ranges suggest, and the deck's own class comes first. `emergency`: free, exempt.
    """

    number: str
    destination_class: str = ""
    class_is_final: bool = False
    emergency: bool = False
    is_short: bool = False
    steps: tuple[str, ...] = ()

    @property
    def short(self) -> bool:
        return self.is_short


@dataclass(frozen=True)
class NumberRefused:
    """A number that is never rated. `number`: as far as it was understood. `detail` is for a person."""

    reason: Reason
    number: str
    detail: str
    steps: tuple[str, ...] = ()


Outcome = Normalised | NumberRefused


@dataclass
class Reading:
    """A number half read: what the rules hand to one another. `area`: of the line that dials, may be empty."""

    dialled: str
    number: str
    area: str
    at_ms: int
    steps: list[str]

    def note(self, rule: str, text: str) -> None:
        self.steps.append(f"{rule}: {text}")

    def rewrite(self, rule: str, number: str, why: str) -> None:
        self.steps.append(f"{rule}: {self.number} → {number}, {why}")
        self.number = number

    def end(self, number: str, destination_class: str, *, short: bool = False) -> Normalised:
        """The number, of a class that the dial plan determines."""
        return Normalised(number, destination_class, True, False, short, tuple(self.steps))

    def end_open(self, number: str, suggested_class: str = "") -> Normalised:
        """The number, of whatever class the deck says; the suggestion stands where the deck has no prefix."""
        return Normalised(number, suggested_class, False, False, False, tuple(self.steps))

    def refuse(self, reason: Reason, detail: str) -> NumberRefused:
        return NumberRefused(reason, self.number, detail, tuple(self.steps))


ANY_TEXT = r"[0-9*#+]*"


class Rule:
    """`pattern`: of the numbers that the rule is for. A subclass says in `apply` what it does with one."""

    def __init__(self, pattern: str) -> None:
        self.pattern = Pattern(pattern)

    def __call__(self, reading: Reading) -> Outcome | None:
        return self.apply(reading) if self.pattern.whole(reading.number) else None

    def apply(self, reading: Reading) -> Outcome | None:
        """Of a number that matches. None: the next rule goes on."""
        raise NotImplementedError


class _Filling:
    """A template with the pattern's one group in the place of ``\\1``."""

    def __init__(self, pattern: Pattern, template: str) -> None:
        self._pattern = pattern
        self._before, self._has_group, self._after = template.partition(r"\1")
        start = group_start(pattern.text) if pattern.plain else None
        self._start = -1 if start is None else start

    def of(self, number: str) -> str:
        if not self._has_group:
            return self._before
        if self._start >= 0:
            group = number[self._start :]
        else:
            match = self._pattern.compiled.fullmatch(number)
            assert match is not None
            group = match[1]
        return self._before + group + self._after


class _Rewrite(Rule):
    def __init__(self, name: str, pattern: str, template: str, why: str) -> None:
        super().__init__(pattern)
        self._name, self._why = name, why
        self._filling = _Filling(self.pattern, template)

    def apply(self, reading: Reading) -> Outcome | None:
        reading.rewrite(self._name, self._filling.of(reading.number), self._why)
        return None


class _Service(Rule):
    def __init__(self, name: str, pattern: str, destination_class: str, what: str, template: str) -> None:
        super().__init__(pattern)
        self._name, self._class, self._what, self._is_short = name, destination_class, what, not template
        self._filling = _Filling(self.pattern, template)

    def apply(self, reading: Reading) -> Outcome | None:
        reading.note(self._name, self._what)
        number = reading.number if self._is_short else self._filling.of(reading.number)
        return reading.end(number, self._class, short=self._is_short)


class _Refuse(Rule):
    def __init__(self, name: str, pattern: str, reason: Reason, detail: str) -> None:
        super().__init__(pattern)
        self._name, self._reason, self._detail = name, reason, detail

    def apply(self, reading: Reading) -> Outcome | None:
        reading.note(self._name, self._detail)
        return reading.refuse(self._reason, self._detail)


class _WithArea(Rule):
    def __init__(self, name: str, pattern: str, template: str, country: str) -> None:
        super().__init__(pattern)
        self._name, self._template, self._country = name, template, country

    def apply(self, reading: Reading) -> Outcome | None:
        if not reading.area:
            return reading.refuse(
                Reason.MALFORMED_NUMBER,
                f"{reading.number} is a local number of {self._country}, and the line has no area code",
            )
        number = _Filling(self.pattern, self._template.replace("{area}", reading.area)).of(reading.number)
        reading.rewrite(self._name, number, f"the line's area {reading.area} put in front")
        return None


class _International(Rule):
    def __init__(self, home: str) -> None:
        super().__init__(r"\+" + ANY_TEXT)
        self._home = home

    def apply(self, reading: Reading) -> Outcome | None:
        checked = checked_place(reading)
        if isinstance(checked, NumberRefused):
            return checked
        place = checked
        suggested = _SUGGESTED.get(place.kind, "") if self._home else ""
        if suggested in ("fixed", "mobile") and place.code != self._home:
            suggested = f"intl_{suggested}"
        return reading.end_open(place.number, suggested)


class _When(Rule):
    def __init__(self, pattern: str, then: Callable[[Reading], Outcome | None]) -> None:
        super().__init__(pattern)
        self._then = then

    def apply(self, reading: Reading) -> Outcome | None:
        return self._then(reading)


def rewrite(name: str, pattern: str, template: str, why: str) -> Rule:
    """A rule that rewrites numbers matching `pattern` (whole), which has one group, to `template` and goes on."""
    return _Rewrite(name, pattern, template, why)


def service(name: str, pattern: str, destination_class: str, what: str, template: str = "") -> Rule:
    """A rule that ends with a number of a class: a short code, or with a template to E.164 freephone, premium …"""
    return _Service(name, pattern, destination_class, what, template)


def refuse(name: str, pattern: str, reason: Reason, detail: str) -> Rule:
    """A rule that refuses numbers matching `pattern`."""
    return _Refuse(name, pattern, reason, detail)


def with_area(name: str, pattern: str, template: str, country: str) -> Rule:
    """A rule that puts the line's area before a short number; ``{area}`` in the template."""
    return _WithArea(name, pattern, template, country)


def international(home: str) -> Rule:
    """The last rule of a preset: a number in international form, checked against the country's number lengths.

    `home`: the country code whose numbers are not international; empty for a plan of no country.
    """
    return _International(home)


def when(pattern: str, then: Callable[[Reading], Outcome | None]) -> Rule:
    """A rule that does `then` with numbers matching `pattern`."""
    return _When(pattern, then)


_SUGGESTED = {
    "fixed": "fixed",
    "fixed_or_mobile": "fixed",
    "voip": "fixed",
    "corporate": "fixed",
    "mobile": "mobile",
    "pager": "mobile",
    "personal": "mobile",
    "toll_free": "toll_free",
    "shared_cost": "shared_cost",
    "premium": "premium",
}


def checked_place(reading: Reading) -> Place | NumberRefused:
    """The country and kind of ``reading.number`` (with plus), or why there is none."""
    digits = reading.number[1:]
    if not _are_digits(digits):
        return reading.refuse(Reason.MALFORMED_NUMBER, f"{reading.number} holds other characters than digits")
    place = place_of(digits)
    if place.fault:
        reading.note("country", place.fault)
        return reading.refuse(Reason.UNKNOWN_NUMBER, place.fault)
    if place.number != digits:
        reading.rewrite("country", f"+{place.number}", f"as numbers of {place.label} are written")
    return place


def _are_digits(text: str) -> bool:
    for symbol in text:
        if symbol not in "0123456789":
            return False
    return len(text) > 0


_TOGETHER = 30
"""Patterns of one automaton. Plans have fewer rules; those that have more ask the rest one by one."""


class Rules:
    """Rules in their order, with their patterns held against a number together."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = list(rules)
        plain = [rule for rule in rules if rule.pattern.plain][:_TOGETHER]
        self._automaton = Automaton([rule.pattern.text for rule in plain])
        self._bits = [1 << plain.index(rule) if rule in plain else 0 for rule in rules]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def read(self, reading: Reading) -> Outcome | None:
        """By each rule whose pattern the number has when its turn comes, until one ends the reading."""
        number = ""
        matching = -1
        for place in range(len(self._rules)):
            if reading.number is not number:
                number = reading.number
                matching = self._automaton.whole(number)
            rule: Rule = self._rules[place]
            bit: int = self._bits[place]
            if matching < 0 or not bit:
                outcome = rule(reading)
            elif matching & bit:
                outcome = rule.apply(reading)
            else:
                continue
            if outcome is not None:
                return outcome
        return None
