"""The channels of a simulated switch, their timers and bridges. Pure: the time is asked of a clock that is handed
in, events leave by a callback, and nothing happens unless `run_due` or a method is called.

Times are whole microseconds since the epoch (``_us``), on a clock that never goes back.
"""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from rater.switch.simulator.channel import CAUSE_TEXT, Channel, State

SECOND_US = 1_000_000

Emit = Callable[[str, str, str], None]
"""Takes an event's class (``call``), its name and its header lines, each ending in CR LF."""


@dataclass(slots=True, eq=False)
class Timer:
    due_us: int
    action: Callable[[], None] | None

    def cancel(self) -> None:
        self.action = None


class World:
    """One life of one switch: `restart` begins the next.

    `on_earlier` is called when a timer was set that is due before all others, so that whoever drives the world
    can wake up in time. `on_gone` is told of each channel that ends, and whether the switch died under it. `random`
    feeds bridge ids only. `shown`: variables that every event about a channel
    carries, as ``channelvars`` in manager.conf has it.
    """

    def __init__(
        self,
        *,
        clock_us: Callable[[], int],
        emit: Emit,
        random: Random | None = None,
        on_earlier: Callable[[], None] = lambda: None,
        on_gone: Callable[[Channel, bool], None] = lambda channel, lost: None,
        shown: Sequence[str] = (),
    ) -> None:
        self._clock_us = clock_us
        self._emit = emit
        self._random = random or Random(1)
        self._on_earlier = on_earlier
        self._on_gone = on_gone
        self._shown = tuple(shown)
        self._timers: list[tuple[int, int, Timer]] = []
        self._timer_serial = 0
        self._begin()

    def _begin(self) -> None:
        self.channels: dict[str, Channel] = {}
        self._by_uniqueid: dict[str, Channel] = {}
        self._devices: dict[str, str] = {}
        self._device_channels: dict[str, Counter[State]] = {}
        self._bridged: dict[str, list[Channel]] = {}
        self.globals: dict[str, str] = {}
        self.started_us = self._clock_us()
        self.calls_processed = 0
        self._unique_serial = 0
        self._name_serial = 0

    def restart(self) -> None:
        """The switch dies and comes back: every channel is gone without a word, and counters start again."""
        for channel in self.channels.values():
            channel.alive = False
            self._on_gone(channel, True)
        self._timers.clear()
        before_us, serial = self.started_us, self._unique_serial
        self._begin()
        # A real switch is away for longer than a second, so that no id comes twice; here the number sees to it.
        self._unique_serial = serial
        # Lives are told apart by their start, which is known to the second.
        self.started_us = max(self.started_us, before_us + SECOND_US)

    # Time

    def now_us(self) -> int:
        return self._clock_us()

    def later(self, delay_us: int, action: Callable[[], None]) -> Timer:
        timer = Timer(self._clock_us() + max(0, delay_us), action)
        first_us = self._timers[0][0] if self._timers else None
        heapq.heappush(self._timers, (timer.due_us, self._timer_serial, timer))
        self._timer_serial += 1
        if first_us is None or timer.due_us < first_us:
            self._on_earlier()
        return timer

    def next_due_us(self) -> int | None:
        """When the next timer is due; None when none is set."""
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run_due(self) -> None:
        """Carry out every timer that is due, in order."""
        while (due_us := self.next_due_us()) is not None and due_us <= self._clock_us():
            timer = heapq.heappop(self._timers)[2]
            action, timer.action = timer.action, None
            if action is not None:
                action()

    # Channels

    def emit(self, name: str, headers: str, *, category: str = "call") -> None:
        self._emit(category, name, headers)

    def new_channel(
        self,
        stem: str,
        state: State,
        *,
        linkedid: str = "",
        account_code: str = "",
        caller_number: str = "<unknown>",
        caller_name: str = "<unknown>",
        context: str = "",
        exten: str = "s",
    ) -> Channel:
        """A channel named `stem` and a number, such as ``PJSIP/1001-0000002a``; tells Newchannel."""
        now_us = self._clock_us()
        uniqueid = f"{now_us // SECOND_US}.{self._unique_serial}"
        channel = Channel(
            name=f"{stem}-{self._name_serial:08x}",
            uniqueid=uniqueid,
            linkedid=linkedid or uniqueid,
            state=state,
            account_code=account_code,
            caller_number=caller_number,
            caller_name=caller_name,
            context=context,
            exten=exten,
            dnid=exten,
            shown=self._shown,
            created_us=now_us,
        )
        self._unique_serial += 1
        self._name_serial += 1
        self.channels[channel.name] = channel
        self._by_uniqueid[uniqueid] = channel
        self._device_channels.setdefault(channel.device, Counter())[state] += 1
        self.emit("Newchannel", channel.lines())
        return channel

    def find(self, name: str) -> Channel | None:
        """A live channel by its name or its unique id."""
        return self.channels.get(name) or self._by_uniqueid.get(name)

    def live(self) -> Iterator[Channel]:
        return iter(tuple(self.channels.values()))

    def set_state(self, channel: Channel, state: State) -> None:
        states = self._device_channels[channel.device]
        states[channel.state] -= 1
        states[state] += 1
        channel.state = state
        self.emit("Newstate", channel.lines())
        self.tell_device(channel.device)

    def tell_device(self, device: str) -> None:
        """Tells DeviceStateChange when what its channels do together has changed since it was last told."""
        channels = self._device_channels.get(device, Counter[State]())
        if channels[State.UP] or channels[State.RING]:
            state = "RINGINUSE" if channels[State.RINGING] else "INUSE"
        else:
            state = "RINGING" if channels[State.RINGING] else "NOT_INUSE"
        if self._devices.get(device, "NOT_INUSE") != state:
            self._devices[device] = state
            self.emit("DeviceStateChange", f"Device: {device}\r\nState: {state}\r\n")

    def hang_up(self, channel: Channel, cause: int) -> None:
        """Somebody outside the call ends the channel: its call takes it from there."""
        if channel.alive and channel.on_hangup is not None:
            channel.on_hangup(cause)

    def destroy(self, channel: Channel, cause: int) -> None:
        """The channel is gone; tells Hangup."""
        if not channel.alive:
            return
        channel.alive = False
        channel.cause = cause
        if channel.agi is not None:
            channel.agi.abandon()
        self._unset_timeout(channel)
        text = CAUSE_TEXT.get(cause, "Unknown")
        self.emit("Hangup", f"{channel.lines()}Cause: {cause}\r\nCause-txt: {text}\r\n{channel.tech_line()}")
        self.channels.pop(channel.name, None)
        self._by_uniqueid.pop(channel.uniqueid, None)
        self._device_channels[channel.device][channel.state] -= 1
        self.tell_device(channel.device)
        self._on_gone(channel, False)

    # The absolute timeout

    def set_timeout(self, channel: Channel, seconds: float) -> None:
        """End the channel `seconds` from now, whatever it does; replaces an earlier timeout, 0 takes it away."""
        self._unset_timeout(channel)
        if seconds > 0:
            delay_us = round(seconds * SECOND_US)
            channel.timeout_at_us = self._clock_us() + delay_us
            channel.timer = self.later(delay_us, lambda: self._timed_out(channel))

    def _unset_timeout(self, channel: Channel) -> None:
        channel.timeout_at_us = None
        if channel.timer is not None:
            channel.timer.cancel()
            channel.timer = None

    def _timed_out(self, channel: Channel) -> None:
        channel.timeout_at_us = None
        channel.timer = None
        if channel.on_timeout is not None:
            channel.on_timeout()
        elif channel.on_hangup is not None:
            channel.on_hangup(0)

    # Bridges

    def bridge(self, first: Channel, second: Channel) -> str:
        """Join two channels; tells BridgeCreate and BridgeEnter twice. Returns the bridge's id."""
        bridge = self.new_bridge()
        for channel in (first, second):
            self.enter(bridge, channel)
        return bridge

    def new_bridge(self) -> str:
        """An empty bridge; tells BridgeCreate."""
        bridge = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        self._bridged[bridge] = []
        self.emit("BridgeCreate", bridge_lines(bridge, 0))
        return bridge

    def enter(self, bridge: str, channel: Channel) -> None:
        members = self._bridged[bridge]
        members.append(channel)
        channel.bridge = bridge
        self.emit("BridgeEnter", bridge_lines(bridge, len(members)) + channel.lines())

    def members(self, bridge: str) -> int:
        """How many channels are in a bridge."""
        return len(self._bridged.get(bridge, ()))

    def unbridge(self, channel: Channel) -> None:
        """The channel leaves its bridge; the last one to leave takes the bridge with it."""
        bridge = channel.bridge
        if not bridge:
            return
        channel.bridge = ""
        members = self._bridged[bridge]
        members.remove(channel)
        self.emit("BridgeLeave", bridge_lines(bridge, len(members)) + channel.lines())
        if not members:
            del self._bridged[bridge]
            self.emit("BridgeDestroy", bridge_lines(bridge, 0))


def bridge_lines(bridge: str, members: int, prefix: str = "") -> str:
    """The headers of a bridge, each named with `prefix` before it."""
    return (
        f"{prefix}BridgeUniqueid: {bridge}\r\n"
        f"{prefix}BridgeType: basic\r\n"
        f"{prefix}BridgeTechnology: simple_bridge\r\n"
        f"{prefix}BridgeCreator: <unknown>\r\n"
        f"{prefix}BridgeName: <unknown>\r\n"
        f"{prefix}BridgeNumChannels: {members}\r\n"
        f"{prefix}BridgeVideoSourceMode: none\r\n"
    )
