# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Longest-prefix look-up in a digit trie laid flat. The readable twin is in `rater.rating.reference`.

A key is sixteen symbols of four bits from the left: 0-9 are 1-10, ``*`` 11, ``#`` 12, and 0 stands after the end.
Sorted keys are the trie's prefixes depth first: what a prefix begins stands after it. So the longest prefix of a
number is the last key that is not greater than the number, or begins with what that key and the number share.

The trie's top levels are a table by the first symbols of a number (the next one, too, by its offsets): where their
keys begin, and the longest prefix within these symbols (`cover`). The table's part that a deck uses stays in the
processor's cache, and the search below it looks at a few neighbouring keys: what costs is one read from memory.
A prefix takes 8 bytes of key and at most 16 of the table.
"""

import numpy as np

from cpython.unicode cimport PyUnicode_1BYTE_KIND, PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

cdef extern from *:
    """
    #define rater_trailing(x) __builtin_ctzll(x)
    #define rater_top(x) (63 - __builtin_clzll(x))
    """
    int rater_trailing(unsigned long long) nogil
    int rater_top(unsigned long long) nogil

cdef enum:
    LONGEST = 16
    LONGEST_PREFIX = 15
    MOST_LEVELS = 4
    KINDS = 12
    CACHE_LINE = 64

cdef uint8_t[256] SYMBOL
for _byte in range(256):
    SYMBOL[_byte] = 0
for _byte in range(10):
    SYMBOL[48 + _byte] = _byte + 1
SYMBOL[42] = 11
SYMBOL[35] = 12


cdef uint64_t key_of(str number) except? 0:
    """The first sixteen symbols of a number; it ends at the first character that is none."""
    cdef const uint8_t* data
    cdef Py_ssize_t i
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(number)
    cdef uint64_t key = 0
    cdef uint8_t symbol
    cdef int shift = 60
    if PyUnicode_KIND(number) != PyUnicode_1BYTE_KIND:
        number = number.encode("ascii", "replace").decode("ascii")
    data = <const uint8_t*>PyUnicode_DATA(number)
    if length > LONGEST:
        length = LONGEST
    for i in range(length):
        symbol = SYMBOL[data[i]]
        if symbol == 0:
            break
        key |= <uint64_t>symbol << shift
        shift -= 4
    return key


cdef inline bint begins(uint64_t prefix, uint64_t key) noexcept nogil:
    """Whether the symbols of `prefix` (at least one) begin `key`."""
    return ((prefix ^ key) >> (rater_trailing(prefix) & 60)) == 0


cdef int32_t longest(const Tree* tree, uint64_t key) noexcept nogil:
    """The place of the longest prefix of a key, or -1."""
    cdef const Entry* entry = tree.table + (key >> tree.shift)
    cdef int symbol = <int>((key >> (tree.shift - 4)) & 15)
    cdef const uint64_t* first
    cdef const uint64_t* end
    cdef const uint64_t* low
    cdef uint64_t differ
    cdef int64_t count, half
    if symbol == 0:
        return entry.cover
    first = tree.keys + entry.first + (<int64_t>entry.offset[symbol - 1] << tree.scale)
    # The next entry lies in another cache line: it is read only where this one does not tell the end exactly.
    if symbol < KINDS and tree.scale == 0:
        end = tree.keys + entry.first + entry.offset[symbol]
    else:
        end = tree.keys + entry[1].first
        if symbol < KINDS:
            low = tree.keys + entry.first + (<int64_t>entry.offset[symbol] << tree.scale) + (1 << tree.scale) - 1
            end = min(low, end)
    while first < end:
        low = first
        count = end - first
        while count > 1:
            half = count >> 1
            low += half if low[half] <= key else 0
            count -= half
        if low[0] > key:
            break
        if begins(low[0], key):
            return <int32_t>(low - tree.keys)
        differ = low[0] ^ key
        key &= ~((<uint64_t>16 << (rater_top(differ) & 60)) - 1)
        end = low
    return entry.cover


cdef int32_t shorter(const Tree* tree, int32_t place) noexcept nogil:
    """The longest other prefix of the prefix at `place`, or -1."""
    cdef uint64_t key = tree.keys[place]
    key &= ~(<uint64_t>15 << (rater_trailing(key) & 60))
    return longest(tree, key) if key else -1


cdef void tabulate(const uint64_t* keys, int32_t count, Entry* table, int shift) noexcept nogil:
    """`first` and `cover` of every entry: the first key not before its symbols; the longest prefix within them."""
    cdef int32_t i
    cdef uint64_t entry, begin, below
    cdef uint64_t entries = <uint64_t>1 << (64 - shift)
    cdef int trailing
    for entry in range(entries + 1):
        table[entry].cover = -1
    entry = 0
    for i in range(count):
        begin = keys[i] >> shift
        while entry <= begin:
            table[entry].first = i
            entry += 1
        trailing = rater_trailing(keys[i]) & 60
        if trailing >= shift:
            for below in range(begin, begin + (<uint64_t>1 << (trailing - shift))):
                table[below].cover = i
    while entry <= entries:
        table[entry].first = count
        entry += 1


cdef int scale_for(const Entry* table, uint64_t entries) noexcept nogil:
    """By how much offsets are shifted so that they fit into sixteen bits."""
    cdef uint64_t entry
    cdef int32_t most = 0
    cdef int scale = 0
    for entry in range(entries):
        most = max(most, table[entry + 1].first - table[entry].first)
    while most >> scale > 65535:
        scale += 1
    return scale


cdef void subdivide(const uint64_t* keys, Entry* table, int shift, int scale) noexcept nogil:
    """`offset[s - 1]` of every entry: where its keys with the next symbol s begin, counted from `first`."""
    cdef uint64_t entry
    cdef uint64_t entries = <uint64_t>1 << (64 - shift)
    cdef int32_t i
    cdef int symbol
    for entry in range(entries):
        i = table[entry].first
        for symbol in range(1, KINDS + 1):
            while i < table[entry + 1].first and <int>((keys[i] >> (shift - 4)) & 15) < symbol:
                i += 1
            table[entry].offset[symbol - 1] = <uint16_t>((i - table[entry].first) >> scale)


def levels_for(Py_ssize_t count):
    """How many symbols the table goes by, so that it takes at most 16 bytes a prefix of a large deck."""
    levels = 1
    while levels < MOST_LEVELS and 16 ** (levels + 1) <= count // 2:
        levels += 1
    return levels


cdef class Trie:
    """Prefixes by their keys, sorted and distinct; the group of a prefix is its place among them.

    Raises ValueError when the keys are not sorted, not distinct, empty or longer than fifteen symbols.
    """

    def __init__(self, keys):
        cdef const uint64_t[::1] all_keys
        cdef uint8_t[::1] table
        cdef int32_t count
        keys = np.ascontiguousarray(keys, np.uint64)
        if len(keys) >= 2**30:
            raise ValueError("a deck has at most 2^30 prefixes")
        if len(keys) and (
            int(keys[0]) == 0
            or np.less_equal(keys[1:], keys[: len(keys) - 1]).any()
            or np.bitwise_and(keys, np.uint64(15)).any()
        ):
            raise ValueError("keys must be sorted, distinct, and of 1 to 15 symbols")
        levels = levels_for(len(keys))
        count = <int32_t>len(keys)
        self._keys = all_keys = keys if count else np.zeros(1, np.uint64)
        space = np.empty((16**levels + 1) * sizeof(Entry) + CACHE_LINE, np.uint8)
        self._table = table = space[-space.ctypes.data % CACHE_LINE:]  # so that no entry lies in two lines
        self.tree.keys = &all_keys[0]
        self.tree.table = <const Entry*>&table[0]
        self.tree.shift = 64 - 4 * levels
        with nogil:
            tabulate(&all_keys[0], count, <Entry*>&table[0], self.tree.shift)
            self.tree.scale = scale_for(self.tree.table, <uint64_t>1 << (64 - self.tree.shift))
            subdivide(&all_keys[0], <Entry*>&table[0], self.tree.shift, self.tree.scale)
        self.count = count
        self.nbytes = 8 * count + table.shape[0]

    cdef int length(self, int32_t group) except -1:
        """How many symbols the prefix of a group has."""
        return LONGEST - (rater_trailing(self.tree.keys[group]) >> 2)

    def lookup(self, str number not None):
        """The group of the longest prefix of `number`; -1 when there is none."""
        return longest(&self.tree, key_of(number))

    def groups(self, str number not None):
        """The groups of all prefixes of `number`, the longest first."""
        cdef uint64_t key = key_of(number)
        cdef int32_t place = longest(&self.tree, key)
        found = []
        while place >= 0:
            found.append(place)
            place = shorter(&self.tree, place)
        return tuple(found)

    def lookup_many(self, const uint64_t[::1] keys not None):
        """The same for many numbers as keys."""
        groups = np.empty(keys.shape[0], np.int32)
        cdef int32_t[::1] out = groups
        cdef Py_ssize_t i
        with nogil:
            for i in range(keys.shape[0]):
                out[i] = longest(&self.tree, keys[i])
        return groups


def pack_texts(const int32_t[::1] start not None, const uint8_t[::1] text not None):
    """Keys of texts (as in an Arrow string array), and the place of the first that is no prefix, else -1."""
    keys = np.zeros(max(0, start.shape[0] - 1), np.uint64)
    cdef uint64_t[::1] out = keys
    cdef Py_ssize_t i, j, length
    cdef uint64_t key
    cdef uint8_t symbol
    cdef Py_ssize_t bad = -1
    with nogil:
        for i in range(start.shape[0] - 1):
            length = start[i + 1] - start[i]
            key = 0
            if length < 1 or length > LONGEST_PREFIX:
                bad = i
                break
            for j in range(length):
                symbol = SYMBOL[text[start[i] + j]]
                if symbol == 0:
                    bad = i
                    break
                key |= <uint64_t>symbol << (60 - 4 * j)
            if bad >= 0:
                break
            out[i] = key
    return keys, bad
