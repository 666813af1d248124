# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""An event as a C structure; `rater.switch.ami_parse` has its twin, and `rater_native.amiframe` fills it.

Its fields are texts, so that no cycle leads through it, and the collector has not to look at it. A timestamp becomes
a text only when somebody asks for it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from rater_native.amitexts cimport (
    PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, same, stamp_ms_of, text_of
)

from collections.abc import Mapping

TAMPERED = "!tampered"


FIELDS = {
    "Event": "event",
    "Timestamp": "timestamp",
    "ActionID": "action_id",
    "Channel": "channel",
    "ChannelState": "channel_state",
    "CallerIDNum": "caller",
    "AccountCode": "account_code",
    "Exten": "exten",
    "Uniqueid": "uniqueid",
    "Linkedid": "linkedid",
    "ChanVariable": "variables",
    "DestChannel": "dest_channel",
    "DestChannelState": "dest_channel_state",
    "DestAccountCode": "dest_account_code",
    "DestUniqueid": "dest_uniqueid",
    "DestLinkedid": "dest_linkedid",
    "DestChanVariable": "dest_variables",
    "DialString": "dial_string",
    "DialStatus": "dial_status",
    "Forward": "forward",
    "BridgeUniqueid": "bridge",
    "Cause": "cause",
    "Env": "env",
    "Newname": "newname",
    "Result": "result",
    "TransfererUniqueid": "transferer_uniqueid",
    "TransfereeUniqueid": "transferee_uniqueid",
    TAMPERED: "tampered",
}

cdef dict _SLOT_OF = {name: slot for slot, name in enumerate(FIELDS)}
cdef tuple _HEADERS = tuple(FIELDS)


cdef int slot_of(str header) except? -1:
    """Where an event keeps that header; `NOWHERE` when it has no field of its own."""
    return _SLOT_OF.get(header, NOWHERE)


@cython.final
@cython.no_gc  # `_rest` holds texts only
@cython.freelist(64)  # as many as are handled at a time
cdef class EventFrame:
    """See the twin."""

    def __cinit__(self):
        self.stamp_ms = -1

    def __init__(self, headers):
        cdef str key, value
        for key, value in headers.items():
            slot = _SLOT_OF.get(key)
            if slot is None:
                if self._rest is None:
                    self._rest = {}
                self._rest[key] = value
            else:
                self.write(slot, value)
        if self._stamp is not None:
            stamp = (<str?>self._stamp).encode("utf-8", "replace")
            self.stamp_ms = stamp_ms_of(PyBytes_AS_STRING(stamp), PyBytes_GET_SIZE(stamp))

    @property
    def timestamp(self):
        if self._stamp is None and self._stamp_length:
            self._stamp = text_of(self._stamp_text, self._stamp_length)
        return self._stamp

    cdef str read(self, int slot):
        if slot == AT_EVENT:
            return self.event
        elif slot == AT_TIMESTAMP:
            return self.timestamp
        elif slot == AT_ACTION_ID:
            return self.action_id
        elif slot == AT_CHANNEL:
            return self.channel
        elif slot == AT_CHANNEL_STATE:
            return self.channel_state
        elif slot == AT_CALLER:
            return self.caller
        elif slot == AT_ACCOUNT_CODE:
            return self.account_code
        elif slot == AT_EXTEN:
            return self.exten
        elif slot == AT_UNIQUEID:
            return self.uniqueid
        elif slot == AT_LINKEDID:
            return self.linkedid
        elif slot == AT_VARIABLES:
            return self.variables
        elif slot == AT_DEST_CHANNEL:
            return self.dest_channel
        elif slot == AT_DEST_CHANNEL_STATE:
            return self.dest_channel_state
        elif slot == AT_DEST_ACCOUNT_CODE:
            return self.dest_account_code
        elif slot == AT_DEST_UNIQUEID:
            return self.dest_uniqueid
        elif slot == AT_DEST_LINKEDID:
            return self.dest_linkedid
        elif slot == AT_DEST_VARIABLES:
            return self.dest_variables
        elif slot == AT_DIAL_STRING:
            return self.dial_string
        elif slot == AT_DIAL_STATUS:
            return self.dial_status
        elif slot == AT_FORWARD:
            return self.forward
        elif slot == AT_BRIDGE:
            return self.bridge
        elif slot == AT_CAUSE:
            return self.cause
        elif slot == AT_ENV:
            return self.env
        elif slot == AT_NEWNAME:
            return self.newname
        elif slot == AT_RESULT:
            return self.result
        elif slot == AT_TRANSFERER_UNIQUEID:
            return self.transferer_uniqueid
        elif slot == AT_TRANSFEREE_UNIQUEID:
            return self.transferee_uniqueid
        elif slot == AT_TAMPERED:
            return self.tampered
        return None

    cdef int write(self, int slot, str value) except -1:
        if slot == AT_EVENT:
            self.event = value
        elif slot == AT_TIMESTAMP:
            self._stamp = value
        elif slot == AT_ACTION_ID:
            self.action_id = value
        elif slot == AT_CHANNEL:
            self.channel = value
        elif slot == AT_CHANNEL_STATE:
            self.channel_state = value
        elif slot == AT_CALLER:
            self.caller = value
        elif slot == AT_ACCOUNT_CODE:
            self.account_code = value
        elif slot == AT_EXTEN:
            self.exten = value
        elif slot == AT_UNIQUEID:
            self.uniqueid = value
        elif slot == AT_LINKEDID:
            self.linkedid = value
        elif slot == AT_VARIABLES:
            self.variables = value
        elif slot == AT_DEST_CHANNEL:
            self.dest_channel = value
        elif slot == AT_DEST_CHANNEL_STATE:
            self.dest_channel_state = value
        elif slot == AT_DEST_ACCOUNT_CODE:
            self.dest_account_code = value
        elif slot == AT_DEST_UNIQUEID:
            self.dest_uniqueid = value
        elif slot == AT_DEST_LINKEDID:
            self.dest_linkedid = value
        elif slot == AT_DEST_VARIABLES:
            self.dest_variables = value
        elif slot == AT_DIAL_STRING:
            self.dial_string = value
        elif slot == AT_DIAL_STATUS:
            self.dial_status = value
        elif slot == AT_FORWARD:
            self.forward = value
        elif slot == AT_BRIDGE:
            self.bridge = value
        elif slot == AT_CAUSE:
            self.cause = value
        elif slot == AT_ENV:
            self.env = value
        elif slot == AT_NEWNAME:
            self.newname = value
        elif slot == AT_RESULT:
            self.result = value
        elif slot == AT_TRANSFERER_UNIQUEID:
            self.transferer_uniqueid = value
        elif slot == AT_TRANSFEREE_UNIQUEID:
            self.transferee_uniqueid = value
        elif slot == AT_TAMPERED:
            self.tampered = value
        return 0

    cdef object _find(self, key):
        slot = _SLOT_OF.get(key)
        if slot is not None:
            return self.read(slot)
        return self._rest.get(key) if self._rest is not None else None

    cpdef object variables_of(self, str channel):
        return self._rest.get(f"ChanVariable({channel})") if self._rest is not None else None

    def get(self, key, default=None, /):
        found = self._find(key)
        return default if found is None else found

    def __getitem__(self, key):
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key):
        return self._find(key) is not None

    def keys(self):
        cdef int slot
        found = [_HEADERS[slot] for slot in range(SLOTS) if self.read(slot) is not None]
        return found + list(self._rest) if self._rest is not None else found

    def items(self):
        return [(key, self._find(key)) for key in self.keys()]

    def values(self):
        return [self._find(key) for key in self.keys()]

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __eq__(self, other):
        return dict(self.items()) == dict(other.items()) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return repr(dict(self.items()))


Mapping.register(EventFrame)


cpdef bint differ(str text, str other) except -1:
    """As ``!=``, of two texts; see `rater.switch.texts`."""
    cdef Py_ssize_t length
    if text is None or other is None:
        raise TypeError("texts are compared")
    if text is other:
        return False
    length = PyUnicode_GET_LENGTH(text)
    if length != PyUnicode_GET_LENGTH(other):
        return True
    if not PyUnicode_IS_COMPACT_ASCII(text) or not PyUnicode_IS_COMPACT_ASCII(other):
        return text != other
    return length > 0 and not same(PyUnicode_DATA(text), PyUnicode_DATA(other), length)
