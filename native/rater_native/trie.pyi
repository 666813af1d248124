import numpy as np
import numpy.typing as npt

class Trie:
    """Prefixes by their keys, sorted and distinct; the group of a prefix is its place among them.

    Raises ValueError when the keys are not sorted, not distinct, empty or longer than fifteen symbols.
    """

    @property
    def nbytes(self) -> int:
        """What the look-up holds in memory, the keys included."""

    def __init__(self, keys: npt.NDArray[np.uint64]) -> None: ...
    def lookup(self, number: str) -> int:
        """The group of the longest prefix of `number`; -1 when there is none."""

    def groups(self, number: str) -> tuple[int, ...]:
        """The groups of all prefixes of `number`, the longest first."""

    def lookup_many(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """The same for many numbers as keys."""

def levels_for(count: int) -> int:
    """How many symbols the table goes by: about as many entries as there are prefixes."""

def pack_texts(start: npt.NDArray[np.int32], text: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], int]:
    """Keys of texts (as in an Arrow string array), and the place of the first that is no prefix, else -1."""
