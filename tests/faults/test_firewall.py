"""Row 33 of docs/faults.md with a real firewall: the leader lives in a network namespace of its own, and nftables
drops every packet between it and Redis. Its way to the switch stays open."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.support import CENT, Daemon, Site, environment, measured, play, start_daemon, until
from tests.servers import free_port

TOOLS = ("ip", "nft")


@dataclass
class Island:
    """A namespace with one cable to here. `host`: our end of it."""

    name: str
    host: str

    def run(self, *words: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.name, *words], check=True, capture_output=True)

    def cut_off_from(self, port: int) -> None:
        """Packets to that port vanish, whatever connection they are of; nobody is told."""
        self.run("nft", "add", "table", "inet", "cut")
        self.run("nft", "add", "chain", "inet", "cut", "out", "{ type filter hook output priority 0; }")
        self.run("nft", "add", "rule", "inet", "cut", "out", "tcp", "dport", str(port), "drop")

    def join(self) -> None:
        self.run("nft", "delete", "table", "inet", "cut")


@pytest.fixture
def island() -> Iterator[Island]:
    if os.geteuid() or not all(map(shutil.which, TOOLS)):
        pytest.skip("a firewall of one's own needs root, ip and nft (tests/install-lab)")
    number = os.getpid() % 16_384
    name, ends = f"rater{number}", (f"rfa{number}", f"rfb{number}")
    net = f"10.213.{number // 64}.{number % 64 * 4}"
    host, guest = (net[: net.rindex(".") + 1] + str(number % 64 * 4 + end) for end in (1, 2))
    commands = [
        f"ip netns add {name}",
        f"ip link add {ends[0]} type veth peer name {ends[1]} netns {name}",
        f"ip addr add {host}/30 dev {ends[0]}",
        f"ip link set {ends[0]} up",
        f"ip -n {name} addr add {guest}/30 dev {ends[1]}",
        f"ip -n {name} link set {ends[1]} up",
        f"ip -n {name} link set lo up",
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        yield Island(name, host)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


async def _serve(here: Site, island: Island, name: str, *before: str) -> Daemon:
    """A daemon at the end of `before`; its metrics are seen from where it lives only."""
    config, log = here.folder / f"{name}.toml", here.folder / f"{name}.log"
    config.write_text(
        f"[redis]\nurl = 'redis://{island.host}:{here.redis.port}/0'\n[metrics]\nport = {free_port()}\n"
        "[charging]\nfirst_slice_s = 6\nlong_slice_s = 6\nextend_ahead_ms = 1500\n"
        f"[[switch]]\nid = 'pbx1'\nhost = '{island.host}'\nport = {here.switch.port}\n"
        "secret = { env = 'TEST_AMI_SECRET' }\nfail = 'closed'\n"
    )
    process = await asyncio.to_thread(start_daemon, config, log, environment(), before)
    daemon = Daemon(process, 0, log)
    here.daemons.append(daemon)
    return daemon


def test_33_a_leader_behind_a_firewall_is_succeeded_and_touches_nothing(tmp_path: Path, island: Island) -> None:
    """The old leader still hears the switch, and would end what it cannot extend."""

    async def case(here: Site) -> None:
        inside = ("ip", "netns", "exec", island.name)
        first = await _serve(here, island, "first", *inside)
        await until(lambda: _said(first, "synchronised"))
        old = here.leader()
        second = await _serve(here, island, "second")
        await asyncio.sleep(2)
        call = here.call(25)
        await asyncio.sleep(1.5)
        island.cut_off_from(here.redis.port)
        start_s = time.monotonic()
        await until(lambda: asyncio.to_thread(lambda: here.leader() != old), within_s=20, every_s=0.02)
        measured("33 a firewall drops the leader's packets to Redis: the standby leads", time.monotonic() - start_s)
        await until(lambda: _said(second, "synchronised"))
        measured("33 a firewall drops the leader's packets to Redis: ready", time.monotonic() - start_s)
        during = here.call(1)
        await here.over(during)
        assert during.talked_s > 0.9, "the new leader decides"
        await asyncio.sleep(8)
        assert first.process.poll() is None
        assert call in here.switch.live, "the old leader has not ended what it cannot extend"
        island.join()
        opened_s = time.monotonic()
        await until(lambda: _said(first, "leadership lost"), within_s=30)
        measured("33 the firewall is opened again: the old leader has let go", time.monotonic() - opened_s)
        await here.over(call)
        assert abs(call.talked_s - 25) < 0.5
        events = await here.settled(2)
        assert sorted(event["amount_micro"] for event in events) == [CENT, 25 * CENT]
        assert {event["grade"] for event in events} == {"observed"}
        after = here.leader()
        assert after != old

    play(tmp_path, case, host=island.host, bind=f"127.0.0.1 {island.host}", **{"protected-mode": "no"})


async def _said(daemon: Daemon, text: str) -> bool:
    return text in await asyncio.to_thread(daemon.log.read_text)
