"""The readable twin of `rater_native.attributes`."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import Any


class Attribute:
    """An attribute of the records of one class with ``__slots__``. It is read without looking its name up, which
    takes longer than what is done with most of them. Raises TypeError when the class has no such slot."""

    def __init__(self, owner: type, name: str) -> None:
        if not isinstance(owner.__dict__.get(name), MemberDescriptorType):
            raise TypeError(f"{owner.__name__} has no slot {name}")
        self._name = name

    def of(self, record: object) -> Any:
        """Of a record of another class, whatever it has under that name."""
        return getattr(record, self._name)
