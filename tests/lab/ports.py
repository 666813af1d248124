"""Free ports on the loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

MEDIA_PORTS = range(30_000, 32_760, 8)
"""Below the range out of which the system hands ports to whoever asks, above that of the switch (etc/rtp.conf)."""
_lock = threading.Lock()
_next = os.getpid() % len(MEDIA_PORTS)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody holds at present; the asker must take it soon."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def media_port() -> int:
    """The first of eight UDP ports that nobody holds, and that no other asker of this process is given soon. sipp
    takes several in a row, and gives up when one of them is somebody else's by then."""
    global _next
    for _ in MEDIA_PORTS:
        with _lock:
            port = MEDIA_PORTS[_next % len(MEDIA_PORTS)]
            _next += 1
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for held in range(port, port + 8):
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", held))
            return port
    raise AssertionError("no media ports are free")
