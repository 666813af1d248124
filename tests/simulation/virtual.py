"""Virtual time and a network in memory: an asyncio loop on which an hour passes as fast as the work in it is done.

Nothing here touches a real socket or waits for a real clock, and nothing is random but by the source handed in: the
same seed gives the same run, callback for callback.
"""

from __future__ import annotations

import asyncio
import selectors
import time as real_time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

from rater.clock import Clock

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""Who opens a connection: the name of a simulated process, so that killing it takes its connections with it."""


class _Idle(selectors.BaseSelector):
    """Waits for nothing: what the loop would have slept is added to the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the simulated world has come to a standstill: nothing is due, ever")
        self.now_s += max(0.0, timeout)
        return []

    def get_map(self) -> dict[Any, selectors.SelectorKey]:  # type: ignore[override]
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` is virtual, in seconds from 0. Connections go over `network`, which must be set before the first."""

    network: Network

    def __init__(self) -> None:
        self._idle = _Idle()
        super().__init__(self._idle)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._idle.now_s

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return await self.network.connect(protocol_factory, int(port))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return self.network.listen(protocol_factory, int(port))


class VirtualTime(SimpleNamespace):
    """Stands in for the `time` module where the product reads a clock. `wall_step_s`: how far the wall clock of the
    process is off; the monotonic one is never."""

    def __init__(self, loop: VirtualLoop, epoch_s: int) -> None:
        super().__init__(**{name: getattr(real_time, name) for name in dir(real_time) if not name.startswith("_")})
        self.loop, self.epoch_s, self.wall_step_s = loop, epoch_s, 0
        self.monotonic = self.perf_counter = loop.time
        self.monotonic_ns = self.perf_counter_ns = lambda: round(loop.time() * 1e9)
        self.time_ns = lambda: round((epoch_s + loop.time() + self.wall_step_s) * 1e9)
        self.time = lambda: self.time_ns() / 1e9

    def wall_ms(self) -> int:
        return int(self.time_ns()) // 1_000_000

    def monotonic_ms(self) -> int:
        return int(self.monotonic_ns()) // 1_000_000


class WorldClock(Clock):
    """The same, for who wants a clock."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def wall_ms(self) -> int:
        return self._time.wall_ms()

    def monotonic_ms(self) -> int:
        return self._time.monotonic_ms()


@dataclass(eq=False)
class Condition:
    """How connections to one port fare. `latency_s`: least and most. `split`: the chance that a write arrives in
    two. `black_hole`: nothing arrives, and nobody is told. `refuses`: no new connection."""

    latency_s: tuple[float, float] = (0.0002, 0.002)
    split: float = 0.05
    black_hole: bool = False
    refuses: bool = False


class Network:
    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.loop, self.random = loop, random
        self.conditions: dict[int, Condition] = {}
        self.wires: dict[Wire, None] = {}
        self._listeners: dict[int, Callable[[], asyncio.BaseProtocol]] = {}

    def listen(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> Listener:
        self._listeners[port] = factory
        self.conditions.setdefault(port, Condition())
        return Listener(self, port)

    def close(self, port: int) -> None:
        self._listeners.pop(port, None)

    async def connect(self, factory: Callable[[], asyncio.BaseProtocol], port: int) -> tuple[End, Any]:
        condition = self.conditions.setdefault(port, Condition())
        await asyncio.sleep(self.random.uniform(*condition.latency_s))
        if condition.black_hole:
            await asyncio.sleep(3600)
        listener = self._listeners.get(port)
        if listener is None or condition.refuses:
            raise ConnectionRefusedError(f"port {port} refuses")
        wire = Wire(self, condition, port, OWNER.get())
        client, server = factory(), listener()
        wire.open(client, server)
        return wire.client, client

    def cut(self, port: int) -> None:
        """Every connection to a port breaks; what is under way is lost from somewhere on."""
        for wire in [wire for wire in self.wires if wire.port == port]:
            wire.cut()

    def kill(self, owner: str) -> None:
        """A process is gone: nothing is told to it any more, and the other side finds out."""
        for wire in [wire for wire in self.wires if wire.owner == owner]:
            wire.client.dead = True
            wire.cut()


@dataclass(eq=False)
class Listener:
    network: Network
    port: int

    @property
    def sockets(self) -> list[Any]:
        return [SimpleNamespace(getsockname=lambda: ("127.0.0.1", self.port))]

    def close(self) -> None:
        self.network.close(self.port)

    async def wait_closed(self) -> None:
        return


class Wire:
    """One connection: two ends, each with what is under way to it."""

    def __init__(self, network: Network, condition: Condition, port: int, owner: str) -> None:
        self.network, self.condition, self.port, self.owner = network, condition, port, owner
        self.client, self.server = End(self), End(self)
        self.client.other, self.server.other = self.server, self.client

    def open(self, client: asyncio.BaseProtocol, server: asyncio.BaseProtocol) -> None:
        self.network.wires[self] = None
        for end, protocol in ((self.client, client), (self.server, server)):
            end.protocol = protocol
            protocol.connection_made(end)

    def cut(self) -> None:
        """Both ends are told that it is lost; chunks that have not arrived by then never do."""
        if self not in self.network.wires:
            return
        del self.network.wires[self]
        for end in (self.client, self.server):
            end.over = True
            self.network.loop.call_later(self.latency_s(), end.lose)

    def latency_s(self) -> float:
        return self.network.random.uniform(*self.condition.latency_s)


@dataclass(eq=False)
class End(asyncio.Transport):
    wire: Wire
    protocol: Any = None
    other: End = field(init=False, repr=False)
    over: bool = False
    """Nothing is sent any more."""
    dead: bool = False
    """Its process is gone: nothing is told to it."""
    _arrives_s: float = 0.0
    _held: list[bytes] = field(default_factory=list)

    def write(self, data: Any) -> None:
        if self.over or self.dead:
            return
        network, data = self.wire.network, bytes(data)
        parts = [data]
        if len(data) > 1 and network.random.random() < self.wire.condition.split:
            at = 1 + int(network.random.random() * (len(data) - 1))  # the same draw whatever the length
            parts = [data[:at], data[at:]]
        for part in parts:
            # Never two at the same moment: what is due together has no order.
            self._arrives_s = max(self._arrives_s + 1e-9, network.loop.time() + self.wire.latency_s())
            network.loop.call_at(self._arrives_s, self.other.arrive, part)

    def arrive(self, data: bytes) -> None:
        if self.over or self.dead:
            return
        if self.wire.condition.black_hole:
            self._held.append(data)
            return
        for held in [*self._held, data]:
            self.protocol.data_received(held)
        self._held.clear()

    def lose(self) -> None:
        if not self.dead:
            self.protocol.connection_lost(ConnectionResetError("cut"))
            self.dead = True

    def close(self) -> None:
        """What was written still arrives, then both sides are told."""
        if not self.over:
            self.over = True
            loop = self.wire.network.loop
            loop.call_at(max(self._arrives_s, loop.time()) + self.wire.latency_s(), self.wire.cut)

    def abort(self) -> None:
        self.wire.cut()

    def is_closing(self) -> bool:
        return self.over

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
