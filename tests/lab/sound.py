"""Ears for the telephones: what the switch lets them hear; and a silent voice, without which nothing is heard.

A whisper is mixed into what the channel is sent anyhow, as in every real call, so both sides speak (silence).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

FRAME_S = 0.02
SILENCE = b"\xff" * 160
"""20 ms of G.711 µ-law."""
LOUD_BYTES = 40
"""So many loud samples make a frame a sound."""


class Ear:
    """A UDP port that hears and, once it is told where, sends silence. Moments are seconds since the epoch."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.frames = 0
        self.loud_s: list[float] = []
        self._closed = threading.Event()
        threading.Thread(target=self._hear, daemon=True).start()

    def speak(self, to: str) -> None:
        """Send silence to ``host:port`` until closed."""
        host, _, port = to.rpartition(":")
        threading.Thread(target=self._send, args=((host, int(port)),), daemon=True).start()

    def sounds(self) -> list[float]:
        """When each sound began; what comes within half a second belongs together."""
        begun: list[float] = []
        last = 0.0
        for moment in self.loud_s:
            if moment - last > 0.5:
                begun.append(moment)
            last = moment
        return begun

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _hear(self) -> None:
        while not self._closed.is_set():
            try:
                packet = self._socket.recv(2048)
            except OSError:
                return
            self.frames += 1
            # µ-law is inverted: three exponent bits of 4 and more are well above any noise.
            if sum((~byte & 0x70) >= 0x40 for byte in packet[12:]) >= LOUD_BYTES:
                self.loud_s.append(time.time())

    def _send(self, to: tuple[str, int]) -> None:
        due_s = time.monotonic()
        for count in range(60_000):
            if self._closed.is_set():
                return
            header = struct.pack(">BBHII", 0x80, 0, count & 0xFFFF, count * 160, self.port)
            with contextlib.suppress(OSError):
                self._socket.sendto(header + SILENCE, to)
            due_s += FRAME_S
            time.sleep(max(0.0, due_s - time.monotonic()))
