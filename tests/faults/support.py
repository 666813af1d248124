"""A site of real processes to break: redis-server, `rater serve` (any number), a simulated switch over TCP.

What was measured is appended to the file named by RATER_FAULTS_MEASURED, one line each, for docs/faults.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from servers import RedisServer, binaries, free_port

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.records import AccountState
from rater.charging.redis_store import RedisStore
from rater.ids import AccountId, Shard
from rater.switch.simulator.call import Call
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch
from tests.faults.proxy import Proxy, proxy
from tests.metrics.support import Scrape, get

SECRET = "open sesame"
NUMBER = "+33123456789"
CENT = 10_000
LEASE_KEY = "rater:lead:pbx1"
COMMAND = [sys.executable, "-c", "from rater.cli import main; main()"]
CATALOG = {
    "plans.toml": '[plan.retail]\ncurrency = "EUR"\nzone = "Europe/Paris"\ndial_plan = "e164"\n'
    'deck = "decks/retail.csv"\ndecimals = 6\n',
    "accounts.toml": '[account.RICH]\nplan = "retail"\nmodality = "prepaid"\nopening = "100000"\n',
    "trunks.toml": '[trunk.carrier]\nswitch = "pbx1"\npattern = "PJSIP/carrier-*"\n',
    "switches.toml": "[switch.pbx1]\n",
    "lines.csv": "line,account,endpoint\n1001,RICH,1001\n",
    "decks/retail.csv": "prefix,destination,class,price,per\n33,France,fixed,0.01,1\n",
}


def measured(what: str, value_s: float) -> None:
    """Write a time down; it is not judged here."""
    path = os.environ.get("RATER_FAULTS_MEASURED")
    if path:
        with Path(path).open("a") as file:
            file.write(f"{what}: {value_s:.2f} s\n")


def test_server(folder: Path, **options: str) -> RedisServer:
    return RedisServer(list(binaries().values())[-1], folder, options=options)


test_server.__test__ = False  # type: ignore[attr-defined]


def environment(**more: str) -> dict[str, str]:
    """Without settings of the caller's; with the switch's secret."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RATER_")}
    return kept | {"TEST_AMI_SECRET": SECRET} | more


def start_daemon(
    config: Path, log_to: Path, env: dict[str, str], before: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """`before`: a command that runs the rest of its words elsewhere."""
    words = [*before, *COMMAND, "serve", "--config", str(config)]
    with log_to.open("wb") as log:
        return subprocess.Popen(words, env=env, stdout=log, stderr=log)


async def until(holds: Callable[[], Awaitable[Any]], *, within_s: float = 30, every_s: float = 0.05) -> Any:
    """What `holds` gives as soon as that is true; AssertionError when it never is."""
    deadline_s = time.monotonic() + within_s
    while not (found := await holds()):
        assert time.monotonic() < deadline_s, f"not within {within_s:.0f} s"
        await asyncio.sleep(every_s)
    return found


@dataclass
class Daemon:
    """One `rater serve`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    async def ready(self, *, within_s: float = 30) -> None:
        async def holds() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-4000:] if self.log.exists() else "it ended"
            seen = await self.scrape()
            return seen is not None and seen("rater_ready") == 1

        await until(holds, within_s=within_s, every_s=0.02)

    async def scrape(self) -> Scrape | None:
        try:
            return Scrape((await asyncio.to_thread(get, self.port))[1])
        except OSError:
            return None

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)


@dataclass
class Site:
    folder: Path
    redis: RedisServer
    proxy: Proxy
    switch: SimulatedSwitch
    daemons: list[Daemon] = field(default_factory=list)

    async def serve(self, *, log_to: str | None = None, first_slice_s: int = 8, fail: str = "closed") -> Daemon:
        """Start a daemon; it reaches Redis through the proxy. Not yet ready."""
        port = free_port()
        number = len(self.daemons)
        config = self.folder / f"rater-{number}.toml"
        config.write_text(
            f"[redis]\nurl = '{self.proxy.url}'\n[metrics]\nport = {port}\n"
            f"[charging]\nfirst_slice_s = {first_slice_s}\nlong_slice_s = {first_slice_s}\nextend_ahead_ms = 1500\n"
            f"[[switch]]\nid = 'pbx1'\nport = {self.switch.port}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\n"
            f"fail = '{fail}'\n"
        )
        path = self.folder / f"serve-{number}.log"
        process = await asyncio.to_thread(start_daemon, config, Path(log_to or path), environment())
        daemon = Daemon(process, port, path)
        self.daemons.append(daemon)
        return daemon

    async def ready(self, **how: Any) -> Daemon:
        daemon = await self.serve(**how)
        await daemon.ready()
        return daemon

    async def standby(self) -> Daemon:
        """A daemon beside the one that leads, once it has all that it needs to lead in its place."""
        daemon = await self.serve()

        async def holds() -> bool:
            assert daemon.process.poll() is None, daemon.log.read_text()[-4000:]
            seen = await daemon.scrape()  # the port is opened when the store is reached and the catalogue read
            return seen is not None and seen("rater_leader") == 0

        await until(holds)
        return daemon

    def call(self, talk_s: float, ring_s: float = 0.2) -> Call:
        return self.switch.place_call("1001", NUMBER, ring_s=ring_s, talk_s=talk_s)

    async def over(self, *calls: Call) -> None:
        for call in calls:
            await asyncio.wait_for(self.switch.finished(call), 60)

    def leader(self) -> str:
        with self.redis.client() as client:
            return (client.hget(LEASE_KEY, "holder") or b"").decode()

    def epoch(self) -> int:
        """The present leader's; 0: nobody leads."""
        with self.redis.client() as client:
            return int(client.hget(LEASE_KEY, "epoch") or 0)

    def forget_leader(self) -> None:
        with self.redis.client() as client:
            assert client.delete(LEASE_KEY) == 1

    def events(self, kind: bytes = b"rated") -> list[dict[str, Any]]:
        with self.redis.client() as client:
            entries = client.xrange("rater:{0}:outbox")
        return [msgpack.unpackb(e[b"f"]) | msgpack.unpackb(e[b"r"]) for _, e in entries if e[b"k"] == kind]

    async def settled(self, count: int, *, within_s: float = 20) -> list[dict[str, Any]]:
        """Rated events once there are `count`, and the books of the account checked against them: the balance is
        the opening less the charges and the ledger's sum, nothing is reserved, no event came twice."""

        async def holds() -> bool:
            with_legs = await asyncio.to_thread(self.live_legs)
            return len(self.events()) >= count and not with_legs

        await until(holds, within_s=within_s)
        events = self.events()
        assert len(events) == count
        assert len({event["id"] for event in events}) == count
        state = await self.account()
        assert state.reserved_micro == 0
        assert state.charges_micro == sum(event["amount_micro"] for event in events)
        assert all(event["amount_micro"] <= CENT * event["granted_s"] for event in events)
        async with self.store() as store:
            entries = [entry async for entry in store.ledger(Shard(0))]
        lines = [line for entry in entries for line in entry.lines]
        assert sum(line.after - line.before for line in lines) == state.balance_micro
        return events

    def live_legs(self) -> int:
        with self.redis.client() as client:
            return int(client.scard("rater:{0}:legs:pbx1"))

    async def account(self, name: str = "RICH") -> AccountState:
        async with self.store() as store:
            state = await store.account(Shard(0), AccountId(name))
        assert state is not None
        assert state.balance_micro == (
            state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
        )
        return state

    async def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the product on this site's Redis, past the proxy."""
        return await asyncio.to_thread(
            subprocess.run, [*COMMAND, *words], env=environment(RATER_REDIS__URL=self.redis.url),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    async def publish(self, price: str = "0.01") -> None:
        for name, text in CATALOG.items():
            path = self.folder / "catalog" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("fixed,0.01,1", f"fixed,{price},1"))
        async with self.store() as store:
            snapshot = read_catalog(self.folder / "catalog")
            await publish(store.redis, store, snapshot, prefix="rater", shards=1, now_ms=1)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[RedisStore]:
        store = RedisStore(self.redis.url)
        await store.start()
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def site(folder: Path, host: str = "127.0.0.1", **options: str) -> AsyncIterator[Site]:
    server = test_server(folder / "redis", **options)
    await asyncio.to_thread(server.start)
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRET)],
        extensions=[Extension("1001")],
        gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND,
    )
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        between = await stack.enter_async_context(proxy(server.port))
        await switch.start(host)
        stack.push_async_callback(switch.stop)
        here = Site(folder, server, between, switch)
        await here.publish()
        try:
            yield here
        finally:
            for daemon in here.daemons:
                if daemon.process.poll() is None:
                    daemon.process.send_signal(signal.SIGCONT)
                    daemon.process.kill()
                    daemon.process.wait()


def play(folder: Path, case: Callable[[Site], Awaitable[None]], host: str = "127.0.0.1", **options: str) -> None:
    """One case on a site of its own. `host`: where the switch listens."""

    async def main() -> None:
        async with site(folder, host, **options) as here:
            await case(here)

    asyncio.run(main())


def fill(path: Path) -> None:
    """Whatever room is left on the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 256, 16, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def loading(server: RedisServer) -> bool:
    """Whether the server answers that it loads its data. Asked bare: redis-py would wait and ask again."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(100).startswith(b"-LOADING")
    except OSError:
        return False
