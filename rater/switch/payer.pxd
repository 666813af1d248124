cimport cython

from rater.switch.channels cimport Channel, ChannelTable, endpoint_of
from rater.switch.legs cimport Leg

cdef object _OUT

@cython.locals(half=Channel, origin=Channel, leg=Leg)
cpdef object payer_of(ChannelTable channels, Channel dialler, Channel called)
cdef object _forwarding(Channel dialler, Channel half, object forwarder)
@cython.locals(dialler=Channel)
cpdef doubt_own_code(Channel called)
cpdef object line_payer(Channel channel)
