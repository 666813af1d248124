# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Actions that are plainly good, as bytes, and those that were sent. What is not plainly so is left to
`rater.switch.frames`, which says what the rules are, and refuses what breaks them; there are the twins, too.

An `Action` becomes text only when somebody looks at it; what a switch is told most is written as it was put together.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from rater_native.amitexts cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, text_of
from rater_native.digits cimport DIGITS, put_digits

from collections.abc import Mapping

cdef enum:
    LINE_LIMIT_BYTES = 1024
    HEADER_LIMIT = 128
    VALUES = 3

LINE_LIMIT = LINE_LIMIT_BYTES
HEADERS = HEADER_LIMIT


cdef bint _is_word(const char* text, Py_ssize_t length) noexcept:
    cdef Py_ssize_t i
    cdef char c
    for i in range(length):
        c = text[i]
        if not (97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57):
            return False
    return length > 0


cdef inline uint64_t _wrong(const char* text) noexcept:
    """Not 0 when one of eight bytes is none from the space to the tilde. Cannot raise."""
    cdef uint64_t word
    memcpy(&word, text, 8)
    return ((word - 0x2020202020202020u) & ~word | word + 0x0101010101010101u | word) & 0x8080808080808080u


cdef bint _is_plain(const char* text, Py_ssize_t length) noexcept:
    """Printable ASCII only: from the space to the tilde. Cannot raise."""
    cdef Py_ssize_t i
    if length < 8:
        for i in range(length):
            if not 32 <= text[i] <= 126:
                return False
        return True
    for i in range(0, length - 8, 8):
        if _wrong(text + i):
            return False
    return not _wrong(text + length - 8)


cdef inline Py_ssize_t _length_of(value) noexcept:
    """Of a text that may stand in a header; -1 for anything else. Cannot raise."""
    if type(value) is not str or not PyUnicode_IS_COMPACT_ASCII(value):
        return -1
    if not _is_plain(PyUnicode_DATA(value), PyUnicode_GET_LENGTH(value)):
        return -1
    return PyUnicode_GET_LENGTH(value)


cdef class Shape:
    """What many actions have in common: what they do, and the names of up to three headers behind their ids."""

    def __cinit__(self, str action, names):
        cdef str name
        self.action = action
        self.names = tuple(names)
        if not 0 < len(self.names) <= VALUES:
            raise ValueError(f"an action has 1 to {VALUES} headers of its own, not {len(self.names)}")
        self._pieces = [f"Action: {action}\r\nActionID: ".encode()]
        for name in (action, *self.names):
            if not name.isalnum() or not name.isascii():
                raise ValueError(f"{name!r} is no plain word")
        for name in self.names:
            self._pieces.append(f"\r\n{name}: ".encode())
        self._size = sum(map(len, self._pieces)) + 4
        self._longest = max(map(len, self._pieces)) + 2


@cython.final
@cython.no_gc  # texts, but for what a test may put in
@cython.freelist(64)
cdef class Action:
    """As a mapping of its headers it equals the twin, which is a dictionary."""

    cdef object _read(self, Py_ssize_t place):
        if place == 0:
            return self._shape.action
        if place == 1:
            return f"{self._prefix}-{self._number}"
        return self._first if place == 2 else self._second if place == 3 else self._third

    def keys(self):
        return ("Action", "ActionID", *self._shape.names)

    def __getitem__(self, key):
        keys = self.keys()
        if key not in keys:
            raise KeyError(key)
        return self._read(keys.index(key))

    def get(self, key, default=None, /):
        return self[key] if key in self.keys() else default

    def items(self):
        return [(key, self[key]) for key in self.keys()]

    def values(self):
        return [self[key] for key in self.keys()]

    def __contains__(self, key):
        return key in self.keys()

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __eq__(self, other):
        return dict(self.items()) == dict(other.items()) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return repr(dict(self.items()))


Mapping.register(Action)


cpdef Shape shape(str action, names):
    return Shape(action, names)


cpdef Action made(Shape shape, str prefix, long long number, first, second=None, third=None):
    """An action of that shape, with the id ``PREFIX-NUMBER``, and as many values as it has headers of its own."""
    cdef Action action = Action.__new__(Action)
    action._shape = shape
    action._prefix = prefix
    action._number = number
    action._first = first
    action._second = second
    action._third = third
    return action


cpdef str seconds_of(long long ms):
    """Milliseconds, 0 or more, as seconds of three decimal places. Raises ValueError for fewer."""
    cdef char[DIGITS + 4] text
    cdef Py_ssize_t length
    cdef long long rest = ms % 1000
    if ms < 0:
        raise ValueError(f"{ms} ms are no span")
    length = put_digits(text, ms // 1000)
    text[length] = 46
    text[length + 1] = <char>(48 + rest // 100)
    text[length + 2] = <char>(48 + rest // 10 % 10)
    text[length + 3] = <char>(48 + rest % 10)
    return text_of(text, length + 4)


cdef Py_ssize_t _size_of_made(Action action) except -1:
    """Likewise, at most."""
    cdef Shape shape = action._shape
    cdef Py_ssize_t count = len(shape.names), prefix = _length_of(action._prefix), size, longest
    cdef Py_ssize_t first = _length_of(action._first), second = 0, third = 0
    if count > 1:
        second = _length_of(action._second)
    if count > 2:
        third = _length_of(action._third)
    if prefix < 0 or first < 0 or second < 0 or third < 0:
        return 0
    longest = shape._longest + max(prefix + DIGITS + 1, first, second, third)
    return shape._size + prefix + DIGITS + 1 + first + second + third if longest < LINE_LIMIT_BYTES else 0


cdef Py_ssize_t _size_of(action) except -1:
    """How many bytes the action takes at most; 0 when one of its headers wants a closer look."""
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t place = 0, size = 2, count = 0, line, length
    if type(action) is Action:
        return _size_of_made(<Action>action)
    if type(action) is not dict:
        return 0
    while PyDict_Next(action, &place, &key, &value):
        if type(<object>key) is not str or not PyUnicode_IS_COMPACT_ASCII(<object>key):
            return 0
        if not _is_word(PyUnicode_DATA(<object>key), PyUnicode_GET_LENGTH(<object>key)):
            return 0
        length = _length_of(<object>value)
        if length < 0:
            return 0
        line = PyUnicode_GET_LENGTH(<object>key) + length + 4
        count += 1
        if line >= LINE_LIMIT_BYTES or count > HEADER_LIMIT:
            return 0
        size += line
    return size if count else 0


cdef inline char* _put(char* out, text) noexcept:
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    memcpy(out, PyUnicode_DATA(text), length)
    return out + length


cdef inline char* _put_piece(char* out, bytes piece) noexcept:
    memcpy(out, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return out + PyBytes_GET_SIZE(piece)


cdef char* _write(char* out, action) except NULL:
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t place = 0
    cdef Action one
    if type(action) is Action:
        one = <Action>action
        out = _put(_put_piece(out, <bytes>one._shape._pieces[0]), one._prefix)
        out[0] = 45
        out += 1 + put_digits(out + 1, one._number)
        for place in range(len(one._shape.names)):
            out = _put_piece(out, <bytes>one._shape._pieces[place + 1])
            out = _put(out, one._first if place == 0 else one._second if place == 1 else one._third)
        memcpy(out, b"\r\n\r\n", 4)
        return out + 4
    while PyDict_Next(action, &place, &key, &value):
        out = _put(out, <object>key)
        out[0] = 58
        out[1] = 32
        out = _put(out + 2, <object>value)
        out[0] = 13
        out[1] = 10
        out += 2
    out[0] = 13
    out[1] = 10
    return out + 2


def serialize(action):
    """The action's bytes; None when one of its headers wants a closer look."""
    return serialize_all((action,))


def serialize_all(actions):
    """The bytes of them all, one after the other; None when one of them wants a closer look."""
    cdef Py_ssize_t size = 0, of_one
    cdef char* begin
    cdef char* out
    cdef bytes data
    for action in actions:
        of_one = _size_of(action)
        if of_one == 0:
            return None
        size += of_one
    data = PyBytes_FromStringAndSize(NULL, size)
    begin = out = PyBytes_AS_STRING(data)
    for action in actions:
        out = _write(out, action)
    return data if out - begin == size else PyBytes_FromStringAndSize(begin, out - begin)


cdef class Sent:
    """When each action was sent that is not answered, and which one it is. `others`: by the id, what has an id of
    another kind."""

    def __init__(self, others=None):
        self._numbered = {}
        self._others = {} if others is None else others

    cpdef put(self, actions, long long now_ns):
        """They are sent now, monotonic time."""
        cdef Action one
        for action in actions:
            if type(action) is Action:
                one = <Action>action
                if self._prefix is None:
                    self._prefix = one._prefix
                if one._prefix is self._prefix:
                    one._sent_ns = now_ns
                    self._numbered[one._number] = one
                    continue
            self._others[action["ActionID"]] = (now_ns, action["Action"])

    cdef object _number_in(self, const char* name, Py_ssize_t length):
        """What `_numbered` would know it by; None when it is of another kind."""
        cdef Py_ssize_t i, begin
        cdef long long number = 0
        if self._prefix is None or not PyUnicode_IS_COMPACT_ASCII(self._prefix):
            return None
        begin = PyUnicode_GET_LENGTH(self._prefix) + 1
        if not begin < length <= begin + 18 or name[begin - 1] != 45 or name[begin] == 48:
            return None
        if memcmp(name, PyUnicode_DATA(self._prefix), begin - 1) != 0:
            return None
        for i in range(begin, length):
            if not 48 <= name[i] <= 57:
                return None
            number = 10 * number + name[i] - 48
        return number

    cdef bint take(self, const char* name, Py_ssize_t length) except -1:
        """It succeeded; whether there was one of that id."""
        number = self._number_in(name, length)
        if number is not None and self._numbered.pop(number, None) is not None:
            return True
        return self._others.pop(text_of(name, length), None) is not None

    def pop(self, str name, default=None, /):
        """When it was sent, and what it was."""
        cdef Action one
        cdef bytes raw = name.encode("utf-8", "replace")
        number = self._number_in(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))
        one = self._numbered.pop(number, None) if number is not None else None
        return (one._sent_ns, one._shape.action) if one is not None else self._others.pop(name, default)

    def overdue(self, long long before_ns):
        """Takes out those that were sent before; what they were."""
        cdef Action one
        cdef list found = []
        for one in list(self._numbered.values()):
            if one._sent_ns < before_ns:
                del self._numbered[one._number]
                found.append(one._shape.action)
        for name, (sent_ns, action) in list(self._others.items()):
            if sent_ns < before_ns:
                del self._others[name]
                found.append(action)
        return found

    def clear(self):
        self._numbered.clear()
        self._others.clear()

    def __len__(self):
        return len(self._numbered) + len(self._others)
