"""A deck ready for rating: flat arrays, the same for the compiled and the reference kernel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class CompiledDeck:
    """Immutable. `classes`, `bands`: the names that its rows use."""

    classes: tuple[str, ...]
    bands: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """The deck for a snapshot; `from_bytes` gives it back."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> CompiledDeck:
        """Raises CatalogError when `data` is not a deck of a known version."""
        ...

    def __len__(self) -> int:
        """Rows."""
        ...
