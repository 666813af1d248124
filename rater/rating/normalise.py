"""Reading a dialled number: from what the telephone sent to E.164, by the ordered rules of a dial plan.

A dial plan is a preset (`e164`, `brazil`, `france`, `turkey`, `nanp`) with an operator's own rules before it.
Every rule that applied is named in ``steps`` as ``name: what it did``. The rules run in order; each may rewrite
the number and let the next go on, or end the reading with a `Normalised` or a `NumberRefused`. A number that
begins with ``+`` stands in international form. Nothing here reads a clock or a file.

    dialled ─▶ characters ─▶ emergency? ─▶ own rules ─▶ emergency? ─▶ the preset's rules ─▶ country's ranges
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rater.errors import InputError
from rater.rating.normalise_countries import Place, place_of
from rater.verdict import Reason

MAX_DIALLED = 32
EMERGENCY = "emergency"
_ALLOWED = re.compile(r"\+?[0-9*#]{1,32}")


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
    steps: list[str] = field(default_factory=list)

    def note(self, rule: str, text: str) -> None:
        self.steps.append(f"{rule}: {text}")

    def rewrite(self, rule: str, number: str, why: str) -> None:
        self.note(rule, f"{self.number} → {number}, {why}")
        self.number = number

    def end(self, number: str, destination_class: str, *, short: bool = False) -> Normalised:
        """The number, of a class that the dial plan determines."""
        return Normalised(number, destination_class, True, False, short, tuple(self.steps))

    def end_open(self, number: str, suggested_class: str = "") -> Normalised:
        """The number, of whatever class the deck says; the suggestion stands where the deck has no prefix."""
        return Normalised(number, suggested_class, False, False, False, tuple(self.steps))

    def refuse(self, reason: Reason, detail: str) -> NumberRefused:
        return NumberRefused(reason, self.number, detail, tuple(self.steps))


Rule = Callable[[Reading], Outcome | None]


def _filled(template: str, match: re.Match[str]) -> str:
    """A template with the match's one group in the place of ``\\1``."""
    return template.replace(r"\1", match[1])


def rewrite(name: str, pattern: str, template: str, why: str) -> Rule:
    """A rule that rewrites numbers matching `pattern` (whole), which has one group, to `template` and goes on."""
    compiled = re.compile(pattern)

    def apply(reading: Reading) -> None:
        match = compiled.fullmatch(reading.number)
        if match is not None:
            reading.rewrite(name, _filled(template, match), why)

    return apply


def service(name: str, pattern: str, destination_class: str, what: str, template: str = "") -> Rule:
    """A rule that ends with a number of a class: a short code, or with a template to E.164 freephone, premium …"""
    compiled = re.compile(pattern)

    def apply(reading: Reading) -> Outcome | None:
        match = compiled.fullmatch(reading.number)
        if match is None:
            return None
        reading.note(name, what)
        number = _filled(template, match) if template else reading.number
        return reading.end(number, destination_class, short=not template)

    return apply


def refuse(name: str, pattern: str, reason: Reason, detail: str) -> Rule:
    """A rule that refuses numbers matching `pattern`."""
    compiled = re.compile(pattern)

    def apply(reading: Reading) -> Outcome | None:
        if compiled.fullmatch(reading.number) is None:
            return None
        reading.note(name, detail)
        return reading.refuse(reason, detail)

    return apply


def with_area(name: str, pattern: str, template: str, country: str) -> Rule:
    """A rule that puts the line's area before a short number; ``{area}`` in the template."""
    compiled = re.compile(pattern)

    def apply(reading: Reading) -> Outcome | None:
        match = compiled.fullmatch(reading.number)
        if match is None:
            return None
        if not reading.area:
            return reading.refuse(
                Reason.MALFORMED_NUMBER,
                f"{reading.number} is a local number of {country}, and the line has no area code",
            )
        number = _filled(template.replace("{area}", reading.area), match)
        reading.rewrite(name, number, f"the line's area {reading.area} put in front")
        return None

    return apply


def international(home: str) -> Rule:
    """The last rule of a preset: a number in international form, checked against the country's number lengths.

    `home`: the country code whose numbers are not international; empty for a plan of no country.
    """

    def apply(reading: Reading) -> Outcome | None:
        if not reading.number.startswith("+"):
            return None
        place = checked_place(reading)
        if isinstance(place, NumberRefused):
            return place
        suggested = _SUGGESTED.get(place.kind, "") if home else ""
        if suggested in ("fixed", "mobile") and place.code != home:
            suggested = f"intl_{suggested}"
        return reading.end_open(place.number, suggested)

    return apply


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
    if not digits.isdigit():
        return reading.refuse(Reason.MALFORMED_NUMBER, f"{reading.number} holds other characters than digits")
    place = place_of(digits)
    if place.fault:
        reading.note("country", place.fault)
        return reading.refuse(Reason.UNKNOWN_NUMBER, place.fault)
    if place.number != digits:
        reading.rewrite("country", f"+{place.number}", f"as numbers of {place.label} are written")
    return place


@dataclass(frozen=True)
class DialPlan:
    """Ordered rules. `emergency`: the numbers that always pass, free, matched whole and before all else."""

    name: str
    own: tuple[Rule, ...]
    preset: tuple[Rule, ...]
    emergency: frozenset[str]
    area: str = ""
    """For lines without one of their own."""

    def read(self, dialled: str, area: str, at_ms: int) -> Outcome:
        """Normalise `dialled` for a line in `area` at a wall time. Never raises, whatever was dialled."""
        if not _is_allowed(dialled):
            return NumberRefused(Reason.MALFORMED_NUMBER, "", _fault_in(dialled))
        reading = Reading(dialled, dialled, area or self.area, at_ms)
        if dialled in self.emergency:
            return self._emergency(reading)
        for rule in self.own:
            outcome = rule(reading)
            if outcome is not None:
                return outcome
        if reading.number != dialled:
            if not _is_allowed(reading.number):
                return reading.refuse(
                    Reason.MALFORMED_NUMBER, "the plan's own rules left no number that can be dialled"
                )
            if reading.number in self.emergency:
                return self._emergency(reading)
        for rule in self.preset:
            outcome = rule(reading)
            if outcome is not None:
                return outcome
        return reading.refuse(Reason.UNKNOWN_NUMBER, f"no rule of the dial plan {self.name} reads {reading.number}")

    def _emergency(self, reading: Reading) -> Normalised:
        reading.note("emergency", f"{reading.number} is an emergency number: free, exempt from every limit")
        return Normalised(reading.number, EMERGENCY, True, True, True, tuple(reading.steps))


def _is_allowed(number: str) -> bool:
    """Most are digits and nothing else."""
    if 0 < len(number) <= MAX_DIALLED and number.isdigit() and number.isascii():
        return True
    return _ALLOWED.fullmatch(number) is not None


def _fault_in(dialled: str) -> str:
    if not dialled:
        return "no number was dialled"
    if len(dialled) > MAX_DIALLED:
        return f"{len(dialled)} characters were dialled; a number has at most {MAX_DIALLED}"
    return f"{dialled!r} is no number: only digits, * and # may be dialled, and one + in front"


class OwnAction(StrEnum):
    REWRITE = "rewrite"
    """Take digits off the front, put others there, go on."""
    SERVICE = "service"
    """End: a service number of the given class, priced by class."""
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of the operator. `match` is a pattern as in an Asterisk dialplan, without the underscore: X is 0-9,
    Z 1-9, N 2-9, [13-5] one of a set, a final ``.`` one or more characters, a final ``!`` none or more."""

    name: str
    match: str
    action: OwnAction = OwnAction.REWRITE
    strip: int = 0
    prepend: str = ""
    destination_class: str = ""

    def compile(self) -> Rule:
        """Raises InputError when the pattern is none."""
        pattern = re.compile(asterisk_pattern(self.match))
        name = f"own.{self.name}"

        def apply(reading: Reading) -> Outcome | None:
            if pattern.fullmatch(reading.number) is None:
                return None
            number = self.prepend + reading.number[self.strip :]
            if self.action is OwnAction.DENY:
                detail = f"the dial plan's rule {self.name} bars {reading.number}"
                reading.note(name, detail)
                return reading.refuse(Reason.BLOCKED_DESTINATION, detail)
            if number != reading.number:
                reading.rewrite(name, number, f"the operator's rule for {self.match}")
            if self.action is OwnAction.REWRITE:
                return None
            if re.fullmatch(r"[0-9*#]{1,32}", number) is None:
                return reading.refuse(Reason.MALFORMED_NUMBER, f"the rule {self.name} leaves no service number")
            reading.note(name, f"a service number of class {self.destination_class}")
            return reading.end(number, self.destination_class, short=True)

        return apply


_SETS = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}


def asterisk_pattern(text: str) -> str:
    """The regular expression of an Asterisk extension pattern. It is linear: no repetition but at the end."""
    body, tail = (text[:-1], text[-1]) if text.endswith((".", "!")) else (text, "")
    out: list[str] = []
    for part in re.findall(r"\[[^\]]*\]|.", body, re.DOTALL):
        if part.upper() in _SETS:
            out.append(_SETS[part.upper()])
        elif re.fullmatch(r"\[(?:[0-9*#](?:-[0-9])?)+\]", part):
            out.append(part)
        elif re.fullmatch(r"[0-9*#+]", part):
            out.append(re.escape(part))
        else:
            raise InputError(
                f"{text!r} is no dialplan pattern: {part!r} cannot stand there",
                hint="Use digits, * and #, X, Z, N, sets such as [13-5], and a final . or !",
            )
    if not text:
        raise InputError("a pattern cannot be empty", hint="Use for instance 9. for all numbers after a 9.")
    try:
        re.compile("".join(out))
    except re.error as error:
        raise InputError(f"{text!r} is no dialplan pattern: {error}", hint="Write sets upwards: [2-5].") from error
    return "".join(out) + {"": "", ".": "[0-9*#]+", "!": "[0-9*#]*"}[tail]


def compile_rules(rules: Sequence[OwnRule]) -> tuple[Rule, ...]:
    return tuple(rule.compile() for rule in rules)
