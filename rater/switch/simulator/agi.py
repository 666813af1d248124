"""``AGI(agi:async)``: the channel waits, and managers send it AGI commands until ``ASYNCAGI BREAK``."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import quote

from rater.switch.simulator.channel import Channel
from rater.switch.simulator.world import World

_ABSOLUTE = re.compile(r"TIMEOUT\(absolute\)=(\d+(?:\.\d+)?)", re.ASCII)
_BREAK = "ASYNCAGI BREAK"
LOOK_EVERY_US = 100_000
"""The waiting channel looks for commands this often, unless a frame on it wakes it."""


class AsyncAgi:
    """One channel in AsyncAGI, from AsyncAGIStart to AsyncAGIEnd.

    `on_done` is called once, when a manager has sent the break; not by `abandon`: whoever abandons it knows.
    """

    def __init__(
        self, world: World, channel: Channel, arguments: Sequence[str], *, on_done: Callable[[], None]
    ) -> None:
        self._world = world
        self._channel = channel
        self._on_done = on_done
        self._open = True
        self._queue: deque[tuple[str, str]] = deque()
        channel.application, channel.application_data = "AGI", ",".join(("agi:async", *arguments))
        channel.agi = self
        env = quote(_environment(channel, arguments), safe="")
        self._serial = 0
        self._tell("AsyncAGIStart", f"Env: {env}\r\n")
        self._look = world.later(LOOK_EVERY_US, self._work)

    def submit(self, command: str, command_id: str) -> None:
        """Queue one command, as the AMI action AGI does; its result comes as AsyncAGIExec."""
        self._queue.append((command, command_id))

    def wake(self) -> None:
        """A frame came on the channel: it looks for commands at once."""
        if self._open:
            self._look.cancel()
            self._look = self._world.later(0, self._work)

    def abandon(self) -> None:
        """The channel leaves AsyncAGI without a break: hung up, or timed out."""
        if self._open:
            self._open = False
            self._look.cancel()
            self._channel.agi = None
            self._tell("AsyncAGIEnd", "")

    def _work(self) -> None:
        while self._queue and self._open:
            self._run(*self._queue.popleft())
        if self._open:
            self._look = self._world.later(LOOK_EVERY_US, self._work)

    def _run(self, command: str, command_id: str) -> None:
        is_break = command.strip().upper() == _BREAK
        self._serial += 1
        number = f"CommandId: {self._serial}\r\nCommand: {command}\r\n"
        self._tell("AGIExecStart", number)
        result = "200 result=0\n" if is_break else self._result(command)
        if not self._open:
            return
        outcome = "Success" if result.startswith("200") else "Failure"
        self._tell("AGIExecEnd", f"{number}ResultCode: {result[:3]}\r\nResult: {outcome}\r\n")
        identity = f"CommandID: {command_id}\r\n" if command_id else ""
        self._tell("AsyncAGIExec", f"{identity}Result: {quote(result, safe='')}\r\n")
        if is_break:
            self.abandon()
            self._on_done()

    def _tell(self, event: str, lines: str) -> None:
        self._world.emit(event, self._channel.lines() + lines, category="agi")

    def _result(self, command: str) -> str:
        try:
            words = shlex.split(command)
        except ValueError:
            return "520 Invalid command syntax.\n"
        match [word.upper() for word in words[:2]]:
            case ["SET", "VARIABLE"] if len(words) == 4:
                return self._set(words[2], words[3])
            case ["GET", "VARIABLE"] if len(words) == 3:
                value = self._channel.read(words[2])
                return f"200 result=1 ({value})\n" if value else "200 result=0\n"
            case ["EXEC", "SET"] if len(words) == 3 and "=" in words[2]:
                return self._exec_set(words[2])
            case ["EXEC", _]:
                return "200 result=0\n"
            case ["VERBOSE", *_]:
                return "200 result=1\n"
            case ["NOOP", *_]:
                return "200 result=0\n"
            case ["HANGUP", *_]:
                self._world.hang_up(self._channel, 0)
                return "200 result=1\n"
            case ["SET", "VARIABLE"] | ["GET", "VARIABLE"] | ["EXEC", *_]:
                return "520 Invalid command syntax.\n"
            case _:
                return "510 Invalid or unknown command\n"

    def _set(self, name: str, value: str) -> str:
        self._channel.variables[name] = value
        lines = f"{self._channel.lines()}Variable: {name}\r\nValue: {value}\r\n"
        self._world.emit("VarSet", lines, category="dialplan")
        return "200 result=1\n"

    def _exec_set(self, assignment: str) -> str:
        timeout = _ABSOLUTE.fullmatch(assignment)
        if timeout is not None:
            self._world.set_timeout(self._channel, float(timeout[1]))
        else:
            name, _, value = assignment.partition("=")
            self._set(name, value)
        return "200 result=0\n"


def _environment(channel: Channel, arguments: Sequence[str]) -> str:
    """What an AGI script is told first, one ``agi_NAME: VALUE`` a line, closed by an empty one."""
    pairs = [
        ("request", "async"),
        ("channel", channel.name),
        ("language", "en"),
        ("type", channel.name.partition("/")[0]),
        ("uniqueid", channel.uniqueid),
        ("version", "22.10.1"),
        ("callerid", channel.caller_number),
        ("calleridname", channel.caller_name),
        ("callingpres", "0"),
        ("callingani2", "0"),
        ("callington", "0"),
        ("callingtns", "0"),
        ("dnid", channel.dnid),
        ("rdnis", "unknown"),
        ("context", channel.context),
        ("extension", channel.exten),
        ("priority", str(channel.priority)),
        ("enhanced", "0.0"),
        ("accountcode", channel.account_code),
        ("threadid", "140000000000000"),
        *((f"arg_{number}", argument) for number, argument in enumerate(arguments, 1)),
    ]
    return "".join(f"agi_{name}: {value}\n" for name, value in pairs) + "\n"
