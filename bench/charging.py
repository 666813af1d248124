"""What charging costs the Redis server: time and memory. `python bench/charging.py --size 100000`

An account here has five grants (two allowances; three made by hand, of seconds and of money) and three limits, a
leg costs a cent a second. Measured on a server of its own, by its own count (INFO commandstats), in one run,
`ROUNDS` times over:

- `first`, `reserve`, `extend`, `settle`: µs of the server's time for one, and how many Redis commands it gives; as
  `functions` of a library (Redis 7 and newer) and as `scripts` (EVALSHA). `first` is the reservation that opens an
  account's allowances, once in a cycle, `reserve` any other
- `apart`: the time of those very commands, as MONITOR saw them, sent one by one without a script
- `bare`: an EVALSHA of `return 1`
- `floor`: the same keys and arguments given to what only gives the commands of one such call, their words written
  out, and decides nothing: whatever gives these commands costs at least that
- `memory`: bytes of an idle account, of one that still has its postings and ledger entries, and of a live leg
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import redis

from rater.charging.embedded import server_binary
from rater.charging.keys import Keys
from rater.charging.model import Extend, Post, PostGrant, PostKind, Request, Reserve, Settle, Status
from rater.charging.scripts import Forms
from rater.charging.terms import AllowanceTerm, GrantSpec, Lease, Resource, SlicePolicy, Terms
from rater.charging.wire import from_reply, reserve_needs, to_call
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason

ROUNDS = 5
TIMED_MOST = 4000
BATCH = 100
NOW_MS, DAY_MS = 1_790_000_000_000, 86_400_000
AIM_APART, AIM_BARE, AIM_BYTES = 2, 15, 1536
QUOTE = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
SLICES = SlicePolicy(30, 60, 2)
KEYS = Keys("rater", Shard(0))
SWITCH = SwitchId("pbx1")
PHASES = ("first", "reserve", "extend", "settle")
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=int, default=10_000, help="accounts and live legs that memory is measured over"
    )
    print(json.dumps(measure(max(200, parser.parse_args().size)), indent=2))


def measure(size: int) -> dict[str, Any]:
    """Everything said above, over so many accounts and legs (time over TIMED_MOST at most)."""
    with server() as client:
        version = client.info("server")["redis_version"]
        newest = int(version.split(".")[0]) >= 7
        kinds = {"functions": True, "scripts": False} if newest else {"scripts": False}
        timed = min(size, TIMED_MOST)
        rounds = [
            {kind: _round(client, timed, Forms(functions=functions)) for kind, functions in kinds.items()}
            for _ in range(ROUNDS)
        ]
        found: dict[str, Any] = {"redis": version}
        for kind in kinds:
            each = [one[kind] for one in rounds]
            found[kind] = {"bare_us": spread([one["bare"]["us"] for one in each])} | {
                phase: _figures([one[phase] for one in each], [one["bare"] for one in each]) for phase in PHASES
            }
        return found | {
            "memory": {"accounts": size, "aim_bytes": AIM_BYTES, **_memory(client, size, Forms(functions=newest))}
        }


@contextmanager
def server() -> Iterator[redis.Redis]:
    """Debian's or whatever stands on the path, else the embedded one's; without files, on a socket."""
    binary = shutil.which("redis-server") or str(server_binary())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "redis.sock")
        words = [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            for _ in range(500):
                if path.exists():
                    break
                time.sleep(0.01)
            with redis.Redis(unix_socket_path=str(path)) as client:
                client.connection_pool.connection_kwargs["path"] = str(path)
                yield client
        finally:
            process.terminate()
            process.wait()


# -- requests ------------------------------------------------------------------------------------------------------


def _terms() -> Terms:
    cycle = (NOW_MS - DAY_MS, NOW_MS + 30 * DAY_MS)
    plans = [AllowanceTerm(GrantId(f"plan/a{n}"), 6000, Cadence(), *cycle, priority=n) for n in range(2)]
    return Terms(allowances=tuple(plans), currency="EUR")


TERMS = _terms()


def accounts(size: int) -> Iterator[Request]:
    """Each with money and three grants made by hand."""
    for n in range(size):
        account = AccountId(f"A{n}")
        yield Post(OpId(f"o{n}"), Shard(0), account, PostKind.OPENING, 10**8, NOW_MS, TERMS)
        for g in range(3):
            resource, amount = (Resource.MONEY, 10**6) if g == 2 else (Resource.SECONDS, 600)
            spec = GrantSpec(GrantId(f"g{g}"), resource, amount, NOW_MS - 1, NOW_MS + DAY_MS * 30)
            yield PostGrant(OpId(f"g{n}:{g}"), Shard(0), account, spec, NOW_MS)


def legs(phase: str, size: int) -> Iterator[Request]:
    for n in range(size):
        earlier = "0" if phase in ("first", "ended") else "1"
        leg, account = LegId(f"pbx1.179000000{earlier}.{n}"), AccountId(f"A{n}")
        head = (Shard(0), account, leg, SWITCH, 1, NOW_MS)
        if phase in ("first", "reserve"):
            limits = (f"line:{n}", f"account:A{n}", f"account:A{n}:out")
            leases = tuple(Lease(scope, 10, Reason.LINE_LIMIT) for scope in limits)
            yield Reserve(OpId(f"{leg}:1"), *head, QUOTE, TERMS, leases, SLICES, False, facts_of(n))
        elif phase == "extend":
            yield Extend(OpId(f"{leg}:2"), *head, 25, TERMS, SLICES)
        elif phase == "ended":
            yield Settle(OpId(f"{leg}:2"), *head, 0, TERMS, False, facts_of(n))
        else:
            yield Settle(OpId(f"{leg}:3"), *head, 70, TERMS, True, facts_of(n))


def facts_of(n: int) -> bytes:
    """Of the size that a daemon's have."""
    packed: bytes = msgpack.packb(
        {
            "id": f"pbx1.1790000000.{n}", "line": f"{1000 + n}", "number": f"3312345{n:04d}",
            "dialled": f"0012345{n:04d}",
            "trunk": "carrier", "channel": f"PJSIP/carrier-{n:08x}", "caller": f"PJSIP/{1000 + n}-{n:08x}",
            "plan": "retail", "class": "fixed", "band": "day", "prefix": "33", "destination": "France",
            "rated_at_ms": NOW_MS, "zone": "Europe/Paris", "catalog": 12, "mode": "gate",
        }
    )  # fmt: skip
    return packed


class Caller:
    """Sends requests as the store does, in pipelines."""

    def __init__(self, client: redis.Redis, forms: Forms) -> None:
        self._client = client
        self.forms = forms
        for command in forms.loading():
            try:
                client.execute_command(*command)
            except redis.ResponseError as refusal:
                assert forms.forgives(str(refusal)), refusal
        self._needs: dict[str, bytes] = {}

    def send(self, requests: Iterator[Request], instead: tuple[str, str] | None = None) -> None:
        """Raises AssertionError unless each is done. `instead`: the two words of another call with the same keys
        and arguments, whose answers are not looked at."""
        pipe = self._client.pipeline(transaction=False)
        for request in requests:
            needs = b""
            if isinstance(request, Reserve):
                needs = self._needs[request.leg] = reserve_needs(request)
            elif isinstance(request, Extend | Settle):
                needs = self._needs[request.leg]
            script, keys, arguments = to_call(request, KEYS, needs)
            pipe.execute_command(*(instead or self.forms.call(script)), len(keys), *keys, *arguments)
            if len(pipe) == BATCH:
                _all_ok(pipe.execute(), instead)
        _all_ok(pipe.execute(), instead)


def _all_ok(answers: Sequence[Any], instead: object) -> None:
    for answer in answers:
        assert instead is not None or from_reply(answer).status is Status.OK, from_reply(answer)


# -- time ----------------------------------------------------------------------------------------------------------


def _round(client: redis.Redis, size: int, forms: Forms) -> dict[str, dict[str, float]]:
    """One measurement of each: µs of one call, and commands in it."""
    found: dict[str, dict[str, float]] = {"bare": _bare(client, size)}
    seen: dict[str, list[list[bytes]]] = {}
    client.flushall()
    caller = Caller(client, forms)
    caller.send(accounts(size))
    for phase in PHASES:
        client.config_resetstat()
        caller.send(legs(phase, size))
        stats = stats_of(client)
        calls_us = sum(stats.pop(name)[1] for name in ("evalsha", "fcall") if name in stats)
        found[phase] = {"us": calls_us / size, "commands": sum(calls for calls, _ in stats.values()) / size}
        _between(caller, phase, size)
    client.flushall()
    caller = Caller(client, forms)
    caller.send(accounts(size))
    with _watched(client) as watched:
        for phase in PHASES:
            caller.send(legs(phase, size))
            seen[phase] = watched()
            _between(caller, phase, size)
            watched()
    client.flushall()
    Caller(client, forms).send(accounts(size))
    for phase in PHASES:
        found[phase]["apart_us"] = _apart(client, seen[phase]) / size
        last = seen[phase][-round(found[phase]["commands"]) :]
        found[phase]["floor_us"] = _floor(client, caller, phase, last, size)
    return found


def _between(caller: Caller, phase: str, size: int) -> None:
    """The first leg of each account ends before the next begins."""
    if phase == "first":
        caller.send(legs("ended", size))


def _bare(client: redis.Redis, size: int) -> dict[str, float]:
    name = client.script_load("return 1")
    client.config_resetstat()
    for _ in range(max(1, size // BATCH)):
        pipe = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.evalsha(name, 0)
        pipe.execute()
    calls, used_us = stats_of(client)["evalsha"]
    return {"us": used_us / calls}


def stats_of(client: redis.Redis) -> dict[str, tuple[int, int]]:
    """Calls and µs of each command since they were last set to zero."""
    raw = client.info("commandstats")
    found = {name.removeprefix("cmdstat_"): (each["calls"], each["usec"]) for name, each in raw.items()}
    return {
        name: each for name, each in found.items() if name.partition("|")[0] not in ("config", "info", "monitor")
    }


@contextmanager
def _watched(client: redis.Redis) -> Iterator[Any]:
    """Gives what returns the commands that scripts gave since it was last asked."""
    with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rb") as stream:
        monitor.connect(client.connection_pool.connection_kwargs["path"])
        monitor.sendall(b"MONITOR\r\n")
        assert stream.readline() == b"+OK\r\n"

        def commands() -> list[list[bytes]]:
            client.echo("that is all")
            found = []
            for line in stream:
                words = [ast.literal_eval(f'b"{word.decode("latin-1")}"') for word in _WORD.findall(line)]
                if words == [b"ECHO", b"that is all"]:
                    break
                if b" lua] " in line[:60]:
                    found.append(words)
            return found

        yield commands


def _apart(client: redis.Redis, commands: Sequence[Sequence[bytes]]) -> int:
    client.config_resetstat()
    for start in range(0, len(commands), BATCH):
        pipe = client.pipeline(transaction=False)
        for words in commands[start : start + BATCH]:
            pipe.execute_command(*words)
        pipe.execute()
    return sum(used_us for _, used_us in stats_of(client).values())


def _floor(
    client: redis.Redis, caller: Caller, phase: str, commands: Sequence[Sequence[bytes]], size: int
) -> float:
    body = "".join(f"call({','.join(map(_quoted, words))})\n" for words in commands)
    if caller.forms.functions:
        function = f"function(KEYS, ARGV)\nlocal call = redis.call\n{body}return 1 end"
        client.function_load(f"#!lua name=floor\nredis.register_function('floor', {function})", replace=True)
        instead = ("FCALL", "floor")
    else:
        instead = ("EVALSHA", client.script_load(f"local call = redis.call\n{body}return 1"))
    client.config_resetstat()
    caller.send(legs(phase, size), instead)
    return stats_of(client)[instead[0].lower()][1] / size


def _quoted(word: bytes) -> str:
    """As a literal of Lua."""
    return "'" + "".join(f"\\{byte:03d}" for byte in word) + "'"


def _figures(rounds: Sequence[dict[str, float]], bare: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "us": spread([each["us"] for each in rounds]),
        "apart_us": spread([each["apart_us"] for each in rounds]),
        "floor_us": spread([each["floor_us"] for each in rounds]),
        "commands": round(rounds[0]["commands"], 2),
        "over_apart": spread([each["us"] / each["apart_us"] for each in rounds]) | {"aim": AIM_APART},
        "over_bare": spread([each["us"] / one["us"] for each, one in zip(rounds, bare, strict=True)])
        | {"aim": AIM_BARE},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "low": round(min(values), 2), "median": round(statistics.median(values), 2), "high": round(max(values), 2)
    }  # fmt: skip


# -- memory --------------------------------------------------------------------------------------------------------


def _memory(client: redis.Redis, size: int, forms: Forms) -> dict[str, float]:
    client.flushall()
    caller = Caller(client, forms)
    caller.send(iter([*accounts(1), *legs("reserve", 1)]))  # what there is once
    client.flushall()
    client.connection_pool.disconnect()  # whose buffer has held the library
    time.sleep(0.2)
    before = used_memory(client)
    caller.send(accounts(size))
    posted = used_memory(client)
    client.delete(KEYS.ledger)
    for start in range(0, size, BATCH):
        names = [name for n in range(start, min(start + BATCH, size)) for name in _operations(n)]
        client.delete(*names)
    idle = used_memory(client)
    caller.send(legs("reserve", size))
    return {
        "idle_account": round((idle - before) / size),
        "account_with_its_postings": round((posted - before) / size),
        "live_leg": round((used_memory(client) - idle) / size),
    }


def _operations(n: int) -> list[str]:
    return [KEYS.operation(op) for op in (f"o{n}", *(f"g{n}:{g}" for g in range(3)))]


def used_memory(client: redis.Redis) -> int:
    """Without the connections' own buffers, which grow with what was sent last and shrink when the server likes."""
    memory = client.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])


if __name__ == "__main__":
    main()
