"""The load generator: many switches in one process. Told what to do by JSON lines on its input, says what it saw
by JSON lines on its output. `bench/run` drives it; by hand: `python -m bench.load --switches 2 --records FILE`.

| said | answered |
|---|---|
| (nothing) | `{"ports": […]}` at once; `{"attended": true}` when every switch has a daemon that can decide |
| `{"do": "phase", "rate": 500, "warm_s": 3, "seconds": 10, "pids": {"daemon": [1]}}` | its figures, at its end |
| `{"do": "hang_up", "per_s": 500}` | `{"talking": N}`; every party that talks puts the receiver down |
| `{"do": "cut"}` | `{"cut": N}`; every connection breaks |
| `{"do": "drain", "within_s": 20}` | `{"left": 0}` when every call is over |
| `{"do": "quit"}` | `{"reasons": […], "lost": […]}`: what a record's reason means; connections that broke |
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from bench.load.mix import mix
from bench.load.people import People
from bench.load.port import Port
from bench.load.records import RecordFile
from bench.load.world import SECOND_NS, Lengths, Window, World

GRAIN_S = 0.0005
"""From one turn to the next at least: what falls due meanwhile goes out together, what comes is read together. Both
are in the latencies, which count from when something was to be sent to when it is read."""
LONGEST_S = 0.05
REACTIONS_NS = 4 * SECOND_NS
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Generator:
    def __init__(self, world: World) -> None:
        self._world = world
        self._ports = [switch.port for switch in world.switches]
        self._listeners = {port.listener.fileno(): port for port in self._ports}
        self._clients: dict[int, Port] = {}
        self._full: set[int] = set()
        """Clients to whom not all could be sent."""
        self._ready = select.epoll()
        self._input = b""
        self._going = True
        self._attended = False
        self._phase: dict[str, Any] | None = None
        self._drain_until_ns: int | None = None

    def run(self) -> None:
        for number in (0, *self._listeners):
            self._ready.register(number, select.EPOLLIN)
        say({"ports": [port.number for port in self._ports]})
        while self._going:
            self._world.run_due()
            began_ns = self._world.now_ns
            for port in self._ports:
                if port.out or port.unsent:
                    port.flush()
                    if port.unsent or self._full:
                        self._watch_room(port)
            if self._phase is not None or self._drain_until_ns is not None or not self._attended:
                self._watch()
            self._wait(began_ns)

    def _watch_room(self, port: Port) -> None:
        """Woken when more can be sent, if there is something to send."""
        if port.client is None:
            return
        number = port.client.fileno()
        if port.unsent and number not in self._full:
            self._full.add(number)
            self._ready.modify(number, select.EPOLLIN | select.EPOLLOUT)
        elif not port.unsent and number in self._full:
            self._full.discard(number)
            self._ready.modify(number, select.EPOLLIN)

    def _wait(self, began_ns: int) -> None:
        """Until something is due or comes, and for `GRAIN_S` since the turn began in any case."""
        pause_s = GRAIN_S - (time.monotonic_ns() - began_ns) / 1e9
        if pause_s > 0:
            time.sleep(pause_s)
        ready = self._ready.poll(0)
        if not ready:
            next_ns = self._world.next_ns
            sleep_s = LONGEST_S if next_ns is None else min(LONGEST_S, (next_ns - time.monotonic_ns()) / 1e9)
            # The poll's own timeout is of whole milliseconds.
            if sleep_s <= 0 or not select.select([self._ready], [], [], sleep_s)[0]:
                return
            ready = self._ready.poll(0)
        for number, _ in ready:
            port = self._clients.get(number)
            if port is not None:
                if port.client is not None and port.client.fileno() == number:
                    port.readable()
            elif number == 0:
                self._read_orders()
            else:
                self._accept(self._listeners[number])

    def _accept(self, port: Port) -> None:
        client = port.accept()
        if client is not None:
            self._clients[client.fileno()] = port
            self._full.discard(client.fileno())
            self._ready.register(client, select.EPOLLIN)

    # -- orders --------------------------------------------------------------------------------------------------

    def _read_orders(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._going = False
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        now_ns = time.monotonic_ns()
        match order["do"]:
            case "phase":
                begin_ns = now_ns + int(order["warm_s"] * SECOND_NS)
                end_ns = begin_ns + int(order["seconds"] * SECOND_NS)
                self._world.window = Window(begin_ns, end_ns)
                self._world.offer(order["rate"], end_ns)
                self._phase = order
            case "cut":
                for port in self._ports:
                    port.drop()
                say({"cut": len(self._ports)})
            case "hang_up":
                say({"talking": self._world.hang_up_all(order["per_s"])})
            case "drain":
                self._drain_until_ns = now_ns + int(order["within_s"] * SECOND_NS)
            case "quit":
                reasons = sorted(self._world.reasons.items(), key=lambda pair: pair[1])
                say({"reasons": [reason.decode() for reason, _ in reasons], "lost": self._world.lost})
                self._going = False

    def _watch(self) -> None:
        world, now_ns = self._world, time.monotonic_ns()
        if not self._attended and all(port.attended for port in self._ports):
            self._attended = True
            say({"attended": True})
        if self._phase is not None:
            self._watch_phase(self._phase, now_ns)
        if self._drain_until_ns is not None and (not world.live or now_ns > self._drain_until_ns):
            self._drain_until_ns = None
            say({"left": world.live})

    def _watch_phase(self, phase: dict[str, Any], now_ns: int) -> None:
        window = self._world.window
        if now_ns >= window.begin_ns and "_began" not in phase:
            phase["_began"] = self._snapshot(phase["pids"])
        if now_ns >= window.end_ns and "_ended" not in phase:
            phase["_ended"] = self._snapshot(phase["pids"])
            phase["_live"] = self._world.live
        reacted = not self._world.asking and not self._world.unarmed
        if "_ended" in phase and (reacted or now_ns > window.end_ns + REACTIONS_NS):
            self._phase = None
            say(self._figures(phase))

    def _snapshot(self, pids: dict[str, list[int]]) -> dict[str, Any]:
        return {
            "at_ns": time.monotonic_ns(),
            "cpu_s": {name: sum(map(cpu_s, group)) for name, group in pids.items()}
            | {"generator": time.process_time()},
            "resident": {name: sum(map(resident_bytes, group)) for name, group in pids.items()},
            "actions": sum(port.actions for port in self._ports),
        }

    def _figures(self, phase: dict[str, Any]) -> dict[str, Any]:
        window, began, ended = self._world.window, phase["_began"], phase["_ended"]
        seconds = (ended["at_ns"] - began["at_ns"]) / SECOND_NS
        calls = max(1, window.completed)
        both = type(window.verdict)()
        both.add(window.verdict)
        both.add(window.timer)
        spent = {name: ended["cpu_s"][name] - value for name, value in began["cpu_s"].items()}
        return {
            "rate": phase["rate"],
            "seconds": round(seconds, 3),
            "offered": window.offered,
            "completed": window.completed,
            "calls_per_s": round(window.completed / seconds, 1),
            "events_per_call": round(window.events / calls, 1),
            "actions_per_call": round((ended["actions"] - began["actions"]) / calls, 1),
            "reaction": both.figures(),
            "verdict": window.verdict.figures(),
            "timer": window.timer.figures(),
            "lateness": window.lateness.figures(),
            "unanswered": window.unanswered,
            "fates": dict(sorted(window.fates.items())),
            "cpu_us_per_call": {name: round(value * 1e6 / calls, 1) for name, value in spent.items()},
            "cpu_share": {name: round(value / seconds, 3) for name, value in spent.items()},
            "resident": ended["resident"],
            "live": phase["_live"],
            "dropped": sum(port.dropped for port in self._ports),
            "buckets": both.buckets(),
        }


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=8)
    parser.add_argument("--usual", type=int, default=10_000, help="lines of ordinary accounts")
    parser.add_argument("--poor", type=int, default=1_000, help="lines whose account soon runs dry")
    parser.add_argument("--records", type=Path, required=True, help="where the calls are written down")
    parser.add_argument("--ring", type=float, nargs=2, default=Lengths.ring_s, metavar=("FROM_S", "TO_S"))
    parser.add_argument("--talk", type=float, nargs=2, default=Lengths.talk_s, metavar=("FROM_S", "TO_S"))
    parser.add_argument("--mean-talk", type=float, help="talk from an exponential distribution, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    records = RecordFile(args.records)
    lengths = Lengths(tuple(args.ring), tuple(args.talk), args.mean_talk)
    world = World(mix(), People(args.usual, args.poor), args.switches, records, lengths, args.seed)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        Generator(world).run()
    finally:
        records.close()
