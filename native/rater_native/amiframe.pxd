cdef class EventFrame:
    cdef readonly object event, timestamp, action_id, channel, channel_state, caller, account_code, exten, uniqueid
    cdef readonly object linkedid, variables, dest_channel, dest_channel_state, dest_account_code, dest_uniqueid
    cdef readonly object dest_linkedid, dest_variables, dial_string, dial_status, forward, bridge, cause, env, newname
    cdef readonly object result, transferer_uniqueid, transferee_uniqueid, tampered
    cdef readonly long long stamp_ms
    cdef dict _rest

    cdef object _read(self, int slot)
    cdef int _write(self, int slot, object value) except -1
    cdef object _find(self, key)
    cpdef object variables_of(self, str channel)
