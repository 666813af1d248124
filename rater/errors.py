"""What can go wrong, as a small tree. Expected outcomes (a denied call) are verdicts, not errors.

RaterError
├── InputError          the user gave something unusable; exit code 2
│   ├── ConfigError     a setting
│   ├── CatalogError    one or many places in catalogue files (see `Problem`)
│   └── AmountError     an amount that is not one, or beyond the exact range
├── StoreError          Redis
│   ├── StoreUnavailable   nothing was sent, or the answer says that nothing was done
│   └── OutcomeUnknown     sent, no answer: repeat the same operation id
└── SwitchError         AMI
    ├── LoginRefused
    └── SwitchUnavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RaterError(Exception):
    """`message` says what is wrong; `hint` how to mend it. `exit_code` is what a command ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(RaterError):
    exit_code = 2


class ConfigError(InputError):
    pass


class AmountError(InputError):
    pass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a file. Lines and columns count from 1; 0 where the fault has no single place."""

    file: str
    line: int
    column: int
    message: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}; expected {self.expected}"


class CatalogError(InputError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        super().__init__(
            "\n".join(str(problem) for problem in self.problems),
            hint=f"{count} problem{'s' if count != 1 else ''} found; nothing was changed.",
        )


class StoreError(RaterError):
    pass


class StoreUnavailable(StoreError):
    pass


class OutcomeUnknown(StoreError):
    pass


class SwitchError(RaterError):
    pass


class LoginRefused(SwitchError):
    pass


class SwitchUnavailable(SwitchError):
    pass
