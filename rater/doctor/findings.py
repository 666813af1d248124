"""What a check says. The ids are a contract: docs/doctor.md lists each with its meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rater.errors import RaterError


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_CHECKED = "not_checked"
    """It cannot be looked at from here, or not now; the finding says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`check`: the stable id. `subject`: which of several things, such as a switch. `mend`: what to do about it."""

    check: str
    subject: str
    status: Status
    seen: str
    expected: str = ""
    mend: str = ""


def ok(check: str, subject: str, seen: str, expected: str = "") -> Finding:
    return Finding(check, subject, Status.OK, seen, expected)


def warning(check: str, subject: str, seen: str, expected: str, mend: str) -> Finding:
    return Finding(check, subject, Status.WARNING, seen, expected, mend)


def error(check: str, subject: str, seen: str, expected: str, mend: str) -> Finding:
    return Finding(check, subject, Status.ERROR, seen, expected, mend)


def not_checked(check: str, subject: str, why: str, mend: str = "") -> Finding:
    return Finding(check, subject, Status.NOT_CHECKED, why, "", mend)


@dataclass(frozen=True, slots=True)
class Examination:
    """A set of checks that run one after the other; several examinations run at once. `check` names what is
    reported when the whole does not come to an end within `deadline_s`."""

    check: str
    subject: str
    work: Callable[[], Awaitable[Sequence[Finding]]]
    deadline_s: float = 20.0


async def examine(examinations: Sequence[Examination]) -> list[Finding]:
    """All of them at once; their findings in the order given. Nothing that one of them meets stops another."""
    found = await asyncio.gather(*(_bounded(examination) for examination in examinations))
    return [finding for findings in found for finding in findings]


async def _bounded(examination: Examination) -> Sequence[Finding]:
    check, subject = examination.check, examination.subject
    try:
        async with asyncio.timeout(examination.deadline_s):
            return await examination.work()
    except TimeoutError:
        seen = f"no end within {examination.deadline_s:g} s"
        return [error(check, subject, seen, "an answer", "Look whether the network drops packets on the way.")]
    except RaterError as problem:
        return [error(check, subject, problem.message, "", problem.hint)]
    except Exception as problem:
        # A reply that no check foresaw must not hide what the others found.
        seen = f"the check itself failed: {type(problem).__name__}: {problem}"
        return [
            error(check, subject, seen, "", "Please report it, with the versions of rater and of what it asked.")
        ]
