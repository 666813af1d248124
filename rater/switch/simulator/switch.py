"""The simulated switch on a port: one world, its dialplan, and the manager port over TCP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from rater.switch.simulator.actions import AMI_VERSION, Actions, stamp
from rater.switch.simulator.call import Call, Kind, Outcome, Route, Script
from rater.switch.simulator.channel import Channel
from rater.switch.simulator.dialplan import Dialplan, Gating
from rater.switch.simulator.moves import join, redirect, send_off
from rater.switch.simulator.protocol import Connection, ManagerUser
from rater.switch.simulator.world import SECOND_US, World


@dataclass(frozen=True, slots=True)
class Extension:
    """A line as the switch has it: its endpoint, and the account code set there."""

    endpoint: str
    account_code: str = ""
    technology: str = "PJSIP"

    @property
    def stem(self) -> str:
        return f"{self.technology}/{self.endpoint}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A trunk as the switch has it; its channels are named ``<technology>/<endpoint>-…``."""

    endpoint: str
    technology: str = "PJSIP"

    @property
    def stem(self) -> str:
        return f"{self.technology}/{self.endpoint}"


def steady_clock_us() -> Callable[[], int]:
    """A clock that starts at the wall time and then never jumps; microseconds since the epoch."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    return lambda: (time.monotonic_ns() + offset_ns) // 1000


class SimulatedSwitch:
    """`start` opens the port (0: a free one, then in `port`); `stop` closes it and ends every call.

    Timestamps are on every event unless `timestamps` is False, as with ``timestampevents`` in manager.conf;
    `channel_variables` are on every event about a channel, as with ``channelvars``.
    """

    def __init__(
        self,
        *,
        users: Sequence[ManagerUser],
        extensions: Sequence[Extension],
        gateways: Sequence[Gateway],
        gating: Gating = Gating.OUTBOUND,
        system_name: str = "",
        banner: str = AMI_VERSION,
        timestamps: bool = True,
        channel_variables: Sequence[str] = (),
        seed: int = 1,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        self.extensions = {extension.endpoint: extension for extension in extensions}
        self.gateways = {gateway.endpoint: gateway for gateway in gateways}
        self.live: dict[Call, None] = {}
        self.ended: Callable[[Call], None] = lambda call: None
        """Called with each call that has ended."""
        self.dialled: Callable[[Call], None] = lambda call: None
        """Called with each call that has its second channel."""
        self.gone: Callable[[Channel, bool], None] = lambda channel, lost: None
        """Called with each channel that has ended; `lost`: the switch died under it."""
        self.world = World(
            clock_us=clock_us or steady_clock_us(),
            emit=self._emit,
            random=Random(f"bridges {seed}"),
            on_earlier=self._wake_earlier,
            on_gone=lambda channel, lost: self.gone(channel, lost),
            shown=channel_variables,
        )
        self._users = {user.name: user for user in users}
        self._dialplan = Dialplan(self.world, gating)
        self._actions = Actions(self.world, system_name)
        self._banner = banner
        self._timestamps = timestamps
        self._clients: dict[Connection, None] = {}
        self.make_connection: Callable[..., Connection] = Connection
        """How a new client is met; for those who want to do something to it."""
        self._server: asyncio.Server | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._waiting: dict[Call, asyncio.Future[None]] = {}

    # The port

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises OSError when the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, host, port)
        self._run()

    @property
    def port(self) -> int:
        assert self._server is not None, "the switch was not started"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def clients(self) -> int:
        """Connections that have logged in."""
        return sum(client.user is not None for client in self._clients)

    async def stop(self) -> None:
        """Hang up every call, tell the clients, close the port."""
        self.hang_up_all()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self.world.emit("Shutdown", "Shutdown: Cleanly\r\nRestart: False\r\n", category="system")
        for client in tuple(self._clients):
            client.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def _connection(self) -> Connection:
        return self.make_connection(
            self._users,
            self._banner,
            self._actions.handle,
            opened=lambda client: self._clients.update({client: None}),
            closed=lambda client: self._clients.pop(client, None) and None,
        )

    # Calls

    def place_call(
        self,
        line: str,
        number: str,
        *,
        ring_s: float = 1.0,
        talk_s: float = 5.0,
        outcome: Outcome = Outcome.ANSWERED,
        caller_hangs_up: bool = True,
        gateway: str | None = None,
    ) -> Call:
        """A line dials: another line of this switch, or else out over `gateway` (the first one when not named).

        Raises KeyError for a line or gateway that is not there.
        """
        caller = self.extensions[line]
        kind, callee, dial_string, code = self._destination(number, gateway)
        route = Route(
            kind=kind,
            caller=caller.stem,
            callee=callee,
            number=number,
            dial_string=dial_string,
            account_code=caller.account_code,
            callee_account_code=code,
            caller_number=line,
            caller_name=f"Line {line}",
            context="from-lines",
        )
        return self._begin(route, Script(outcome, ring_s, talk_s, caller_hangs_up))

    def _destination(self, number: str, gateway: str | None = None) -> tuple[Kind, str, str, str]:
        """Where the dialplan leads a number: the kind of call when a line dials it, the stem of the channel, what
        `Dial` is told, and the account code that the channel is born with."""
        other = self.extensions.get(number)
        if other is not None:
            return Kind.INTERNAL, other.stem, other.endpoint, other.account_code
        trunk = self.gateways[gateway] if gateway is not None else next(iter(self.gateways.values()))
        return Kind.OUT, trunk.stem, f"{number}@{trunk.endpoint}", ""

    def receive_call(
        self,
        line: str,
        *,
        caller: str,
        number: str | None = None,
        ring_s: float = 1.0,
        talk_s: float = 5.0,
        outcome: Outcome = Outcome.ANSWERED,
        caller_hangs_up: bool = True,
        gateway: str | None = None,
    ) -> Call:
        """A call comes in for a line: `caller` as shown, `number` as called. Raises KeyError as `place_call`."""
        callee = self.extensions[line]
        trunk = self.gateways[gateway] if gateway is not None else next(iter(self.gateways.values()))
        route = Route(
            kind=Kind.IN,
            caller=trunk.stem,
            callee=callee.stem,
            number=number if number is not None else line,
            dial_string=callee.endpoint,
            callee_account_code=callee.account_code,
            caller_number=caller,
            caller_name=caller,
            context="from-trunk",
        )
        return self._begin(route, Script(outcome, ring_s, talk_s, caller_hangs_up))

    # Calls that are handed on

    def transfer(self, call: Call, number: str, script: Script, *, by_caller: bool = True) -> Call | None:
        """One party sends the other to a number (blind transfer). None when they do not talk."""
        return self._sent_on(call, number, script, by_caller=by_caller, told=True)

    def redirect(self, call: Call, number: str, script: Script) -> Call | None:
        """A manager sends the called party to a number. None when they do not talk."""
        return self._sent_on(call, number, script, by_caller=True, told=False)

    def join(self, first: Call, second: Call, script: Script) -> Call | None:
        """The line that called in both joins its far parties (attended transfer); they talk as the script says.
        None when it does not talk on both."""
        if not first.talking or not second.talking or first is second:
            return None
        transferee, target = join(self.world, first, second)
        call = self._call(first.route, script)
        call.meet(transferee, target)
        return call

    def _sent_on(self, call: Call, number: str, script: Script, *, by_caller: bool, told: bool) -> Call | None:
        if not call.talking or call.caller is None or call.callee is None:
            return None
        mover, sent = (call.caller, call.callee) if by_caller else (call.callee, call.caller)
        of_trunk = sent.device in {gateway.stem for gateway in self.gateways.values()}
        kind, callee, dial_string, code = self._destination(number)
        route = Route(
            kind=Kind.IN if of_trunk and kind is Kind.INTERNAL else kind,
            caller=sent.device,
            callee=callee,
            number=number,
            dial_string=dial_string,
            account_code=sent.account_code,
            callee_account_code=code,
            caller_number=sent.caller_number,
            caller_name=sent.caller_name,
            context="lines",
        )
        send = send_off if told else redirect
        send(self.world, call, sent, mover, context=route.context, number=number)
        following = self._call(route, script, sender=mover.device)
        following.begin(sent)
        return following

    async def finished(self, call: Call) -> None:
        """Wait for the end of a call."""
        if call.fate is None:
            future = self._waiting.setdefault(call, asyncio.get_running_loop().create_future())
            await asyncio.shield(future)

    def hang_up_all(self) -> None:
        """Every party puts the receiver down."""
        for call in tuple(self.live):
            call.hang_up(by_caller=True)

    def _begin(self, route: Route, script: Script) -> Call:
        call = self._call(route, script)
        call.begin()
        return call

    def _call(self, route: Route, script: Script, sender: str = "") -> Call:
        call = Call(
            self.world, route, script, dialplan=self._dialplan.enter, on_end=self._ended,
            on_dial=lambda dialling: self.dialled(dialling), sender=sender,
        )  # fmt: skip
        self.live[call] = None
        return call

    def _ended(self, call: Call) -> None:
        self.live.pop(call, None)
        waiting = self._waiting.pop(call, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        self.ended(call)

    # Faults

    def drop_clients(self) -> None:
        """Every manager connection breaks, in whatever it was doing."""
        for client in tuple(self._clients):
            client.abort()

    def crash(self) -> None:
        """The switch dies with all its calls and is back at once, empty, with a later start time."""
        self.drop_clients()
        lost = tuple(self.live)
        self.world.restart()
        for call in lost:
            call.lose()

    # What drives the world

    def _emit(self, category: str, name: str, headers: str) -> None:
        if not any(client.hears(category) for client in self._clients):
            return
        stamped = f"Timestamp: {stamp(self.world.now_us())}\r\n" if self._timestamps else ""
        frame = f"Event: {name}\r\nPrivilege: {category},all\r\n{stamped}{headers}\r\n"
        for client in tuple(self._clients):
            client.event(category, name, frame)

    def _run(self) -> None:
        self._wake = None
        try:
            self.world.run_due()
        finally:
            self._wake_earlier()

    def _wake_earlier(self) -> None:
        """Wake up when the next timer of the world is due."""
        if self._server is None:
            return
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        due_us = self.world.next_due_us()
        if due_us is not None:
            delay_s = max(0.0, (due_us - self.world.now_us()) / SECOND_US)
            self._wake = asyncio.get_running_loop().call_later(delay_s, self._run)
