"""Which events were read before, in 16 bytes an event."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

_BYTES = 16


class Seen:
    """Remembers ids by a 128-bit hash: two different ids are not taken for one.

    Kept as sorted runs, each at least twice as long as the next, so that a million ids stand in a few.
    """

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.bytes_]] = []

    def new(self, ids: Sequence[str], wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the `wanted` ids come for the first time; they are remembered."""
        digests = b"".join(blake2b(text.encode(), digest_size=_BYTES).digest() for text in ids)
        hashes = np.frombuffer(digests, f"S{_BYTES}")
        places = np.flatnonzero(wanted)
        _, first = np.unique(hashes[places], return_index=True)
        places = places[np.sort(first)]
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes[places]), len(run) - 1)
            places = places[run[at] != hashes[places]]
        self._add(np.sort(hashes[places]))
        fresh = np.zeros(len(ids), np.bool_)
        fresh[places] = True
        return fresh

    def _add(self, run: npt.NDArray[np.bytes_]) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
