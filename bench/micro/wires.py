"""Connections without sockets: what is written is kept, what is read is handed in."""

from __future__ import annotations

from collections.abc import Callable

from rater.charging.cluster import ClusterLinks
from rater.charging.connection import Link, _Protocol
from rater.switch.ami import ConnectionState, SwitchConnection


class Wire:
    """A transport that keeps what is written, for answers to be made of it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def connect(connection: SwitchConnection, wire: Wire) -> Callable[[bytes], object]:
    """As after the log-in; returns what takes the bytes that are read."""
    connection._transport = wire  # type: ignore[assignment]
    connection.state, connection.up = ConnectionState.UP, True
    return connection.received


def attach_link(link: Link | ClusterLinks, wire: Wire) -> Callable[[bytes], object]:
    """As after the greeting; returns what takes the bytes that are read."""
    assert isinstance(link, Link)
    protocol = _Protocol(link)
    protocol.connection_made(wire)  # type: ignore[arg-type]
    link.open(protocol, wire)  # type: ignore[arg-type]
    link.up = True
    link.widen = lambda: None  # type: ignore[method-assign]  # one wire is all there is
    return protocol.data_received
