"""What is costly to make and can be made anew, up to a number of things.

Nothing is ever cleared all at once: twenty thousand objects freed in one go hold up calls for tens of milliseconds,
and so does the collector of cycles when as many are made again. What came first makes room for what is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any


class Kept:
    """A dictionary of at most `most` entries. What is wanted again after it had to go is made again, so that how
    often an entry was used need not be known."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._of: dict[Hashable, Any] = {}
        self._order: deque[Hashable] = deque()
        self._drop_oldest, self._append = self._order.popleft, self._order.append

    def get(self, key: Hashable) -> Any:
        """None when it is not there."""
        return self._of.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """In the place of what the key had, if anything."""
        if key not in self._of:
            if len(self._of) >= self.most:
                self._of.pop(self._drop_oldest(), None)
            self._append(key)
        self._of[key] = value

    def __len__(self) -> int:
        return len(self._of)

    def clear(self) -> None:
        """All at once, for measurements."""
        self._of.clear()
        self._order.clear()
