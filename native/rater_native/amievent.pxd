cdef enum:
    STAMP_LENGTH = 24

cdef enum Slot:
    NOWHERE = -1
    AT_EVENT, AT_TIMESTAMP, AT_ACTION_ID, AT_CHANNEL, AT_CHANNEL_STATE, AT_CALLER, AT_ACCOUNT_CODE, AT_EXTEN,
    AT_UNIQUEID, AT_LINKEDID, AT_VARIABLES, AT_DEST_CHANNEL, AT_DEST_CHANNEL_STATE, AT_DEST_ACCOUNT_CODE,
    AT_DEST_UNIQUEID, AT_DEST_LINKEDID, AT_DEST_VARIABLES, AT_DIAL_STRING, AT_DIAL_STATUS, AT_FORWARD,
    AT_BRIDGE, AT_CAUSE, AT_ENV, AT_NEWNAME, AT_RESULT, AT_TRANSFERER_UNIQUEID, AT_TRANSFEREE_UNIQUEID,
    AT_TAMPERED,
    SLOTS

cdef class EventFrame:
    cdef readonly str event, action_id, channel, channel_state, caller, account_code, exten, uniqueid
    cdef readonly str linkedid, variables, dest_channel, dest_channel_state, dest_account_code, dest_uniqueid
    cdef readonly str dest_linkedid, dest_variables, dial_string, dial_status, forward, bridge, cause, env, newname
    cdef readonly str result, transferer_uniqueid, transferee_uniqueid, tampered
    cdef readonly long long stamp_ms
    cdef dict _rest
    cdef str _stamp
    cdef char[STAMP_LENGTH] _stamp_text
    cdef int _stamp_length

    cdef str read(self, int slot)
    cdef int write(self, int slot, str value) except -1
    cdef object _find(self, key)
    cpdef object variables_of(self, str channel)

cdef int slot_of(str header) except? -1
cpdef bint differ(str text, str other) except -1
