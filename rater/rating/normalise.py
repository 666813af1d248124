"""Reading a dialled number: from what the telephone sent to E.164, by the ordered rules of a dial plan.

A dial plan is a preset (`e164`, `brazil`, `france`, `turkey`, `nanp`) with an operator's own rules before it.
Every rule that applied is named in ``steps`` as ``name: what it did``. The rules run in order; each may rewrite
the number and let the next go on, or end the reading with a `Normalised` or a `NumberRefused`. A number that
begins with ``+`` stands in international form. Nothing here reads a clock or a file.

    dialled ─▶ characters ─▶ emergency? ─▶ own rules ─▶ emergency? ─▶ the preset's rules ─▶ country's ranges
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rater.dialled import MAX_DIALLED, is_dialled
from rater.errors import InputError
from rater.rating.reading import Normalised, NumberRefused, Outcome, Reading, Rule, Rules
from rater.verdict import Reason

EMERGENCY = "emergency"


class DialPlan:
    """Ordered rules. `emergency`: the numbers that always pass, free, matched whole and before all else. `area`:
    for lines without one of their own."""

    def __init__(self, name: str, own: Rules, preset: Rules, emergency: frozenset[str], area: str = "") -> None:
        self.name, self.own, self.preset = name, own, preset
        self.emergency, self.area = emergency, area

    def read(self, dialled: str, area: str, at_ms: int) -> Outcome:
        """Normalise `dialled` for a line in `area` at a wall time. Never raises, whatever was dialled."""
        if not is_dialled(dialled):
            return NumberRefused(Reason.MALFORMED_NUMBER, "", _fault_in(dialled))
        reading = Reading(dialled, dialled, area or self.area, at_ms, [])
        if dialled in self.emergency:
            return self._emergency(reading)
        outcome = self.own.read(reading)
        if outcome is not None:
            return outcome
        if reading.number != dialled:
            if not is_dialled(reading.number):
                return reading.refuse(
                    Reason.MALFORMED_NUMBER, "the plan's own rules left no number that can be dialled"
                )
            if reading.number in self.emergency:
                return self._emergency(reading)
        outcome = self.preset.read(reading)
        if outcome is not None:
            return outcome
        return reading.refuse(Reason.UNKNOWN_NUMBER, f"no rule of the dial plan {self.name} reads {reading.number}")

    def _emergency(self, reading: Reading) -> Normalised:
        reading.note("emergency", f"{reading.number} is an emergency number: free, exempt from every limit")
        return Normalised(reading.number, EMERGENCY, True, True, True, tuple(reading.steps))


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
        return _Own(self)


class _Own(Rule):
    def __init__(self, rule: OwnRule) -> None:
        super().__init__(asterisk_pattern(rule.match))
        self._rule, self._name = rule, f"own.{rule.name}"

    def apply(self, reading: Reading) -> Outcome | None:
        rule, name = self._rule, self._name
        number = rule.prepend + reading.number[rule.strip :]
        if rule.action is OwnAction.DENY:
            detail = f"the dial plan's rule {rule.name} bars {reading.number}"
            reading.note(name, detail)
            return reading.refuse(Reason.BLOCKED_DESTINATION, detail)
        if number != reading.number:
            reading.rewrite(name, number, f"the operator's rule for {rule.match}")
        if rule.action is OwnAction.REWRITE:
            return None
        if re.fullmatch(r"[0-9*#]{1,32}", number) is None:
            return reading.refuse(Reason.MALFORMED_NUMBER, f"the rule {rule.name} leaves no service number")
        reading.note(name, f"a service number of class {rule.destination_class}")
        return reading.end(number, rule.destination_class, short=True)


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


def compile_rules(rules: Sequence[OwnRule]) -> Rules:
    return Rules([rule.compile() for rule in rules])
