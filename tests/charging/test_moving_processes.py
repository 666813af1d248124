"""Processes charge an account that others move from shard to shard, all killed at random: each leg is charged once,
nothing is charged beyond what there is, and no slot of a limit stays taken."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rater.charging.model import Post, PostKind, Settle
from rater.charging.moves import finish_moves
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.commands.audit import audit_shard
from rater.events.stream import decode_entry
from rater.ids import AccountId, OpId, Shard, SwitchId
from tests.charging.hasty import LEASES, NOW_MS
from tests.charging.restless import SHARDS
from tests.charging.test_many_processes import ROOT
from tests.cluster import Cluster, wait_until
from tests.servers import DEBIAN_WANTED, RedisServer, binaries

ACME, PBX = AccountId("ACME"), SwitchId("pbx1")
CREDIT_MICRO = 2_345_678_901
CALLERS, MOVERS = 3, 2
KILLS, WITHIN_S = 12, 240.0
_PREFIXES = count(1)


@pytest.fixture(params=["one server", *(["cluster"] if DEBIAN_WANTED else [])])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[list[RedisServer], int]]:
    """Servers, and how many shards of a cluster (0: one server)."""
    if request.param == "one server":
        server = RedisServer([*binaries().values()][-1], tmp_path / "server").start()
        yield [server], 0
        server.stop()
        return
    cluster = Cluster(tmp_path / "cluster")
    try:
        yield cluster.start().nodes, SHARDS
    finally:
        cluster.stop()


class Processes:
    """Those that run; `kills`: how many did not end by themselves."""

    def __init__(self, folder: Path, url: str, prefix: str, shards: int) -> None:
        self._folder, self._url, self._prefix, self._shards = folder, url, prefix, shards
        self._numbers = count()
        self._running: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
        self.kills = {"hasty": 0, "restless": 0}

    def start(self, module: str) -> None:
        number = next(self._numbers)
        more, told = ["100000"] if module == "hasty" else [], self._folder / f"{module}-{number}.log"
        words = [self._url, self._prefix, str(number), *more, str(self._shards)]
        command = [sys.executable, "-m", f"tests.charging.{module}", *words]
        with told.open("wb") as log:
            self._running.append((module, told, subprocess.Popen(command, cwd=ROOT, stdout=log)))

    def kill(self, at: int, after_s: float) -> str:
        """So long after it has begun to work, at the earliest."""
        module, told, process = self._running[at]
        deadline_s = time.monotonic() + WITHIN_S
        while "at work" not in told.read_text():
            assert process.poll() is None, f"{module} ended before it worked"
            assert time.monotonic() < deadline_s, f"{module} does not come to work"
            time.sleep(0.02)
        time.sleep(after_s)
        assert process.poll() is None, f"{module} ended by itself"
        del self._running[at]
        process.kill()
        process.wait()
        self.kills[module] += 1
        return module

    def stop(self) -> None:
        while self._running:
            _, _, process = self._running.pop(0)
            process.kill()
            process.wait()


def is_quiet(servers: list[RedisServer]) -> bool:
    """Nobody is connected any more but replicas and whoever asks: all that was sent is carried out."""
    clients = [client for server in servers for client in server.client().client_list()]
    return sum(not {"S", "M"} & set(client["flags"]) for client in clients) == len(servers)


async def credited(store: RedisStore) -> None:
    await store.start()
    await store.ask(Post(OpId("c"), Shard(0), ACME, PostKind.CREDIT, CREDIT_MICRO, NOW_MS, Terms()))
    await store.close()


async def has_moved(store: RedisStore) -> bool:
    """Often enough, and has been charged in every shard."""
    await store.start()
    arrived = [await store.arrivals(Shard(shard)) for shard in range(SHARDS)]
    rated = [await store.redis.xlen(store.keys(Shard(shard)).outbox) for shard in range(SHARDS)]
    await store.close()
    return min(arrived) >= 5 and min(rated) >= 5


async def closed(store: RedisStore) -> tuple[int, dict[str, int]]:
    """Everything is finished and settled: what the account has left, and what each leg was charged."""
    await store.start()
    places = [Shard(shard) for shard in range(SHARDS)]
    for shard in places:
        assert (await audit_shard(store, shard))[1] == [], "also with a move in the middle"
    for shard in places:
        await finish_moves(store, shard)
    for leg in await store.legs_of(PBX):
        op = OpId(f"{leg.leg}:{leg.next_op}")
        await store.ask(
            Settle(op, Shard(0), ACME, leg.leg, PBX, 1, NOW_MS, leg.granted_s, Terms(), True, leg.facts)
        )
    charged: dict[str, int] = {}
    lived_in = []
    for shard in places:
        assert (await audit_shard(store, shard))[1] == []
        assert await store.live_leases(shard, LEASES[0].scope, 0) == 0, "no slot stays taken"
        lived_in += [shard for state in await store.accounts(shard) if state.account == ACME]
        for name, fields in await store.redis.xrange(store.keys(shard).outbox):
            entry = decode_entry(shard, name, fields)
            if entry.kind == "rated":
                assert entry.facts["id"] not in charged, "one event for each leg"
                charged[entry.facts["id"]] = int(entry.result["amount_micro"])
    assert len(lived_in) == 1
    state = await store.account(Shard(0), ACME)
    assert state is not None
    assert state.reserved_micro == 0
    assert state.charges_micro == CREDIT_MICRO - state.balance_micro
    await store.close()
    return state.balance_micro, charged


def test_charged_and_moved_by_processes_that_are_killed(
    place: tuple[list[RedisServer], int], tmp_path: Path
) -> None:
    servers, shards = place
    url, prefix = servers[0].url, f"mp{next(_PREFIXES)}"

    def store() -> RedisStore:
        return RedisStore(url, prefix=prefix, shards=SHARDS, cluster=shards > 0)

    asyncio.run(credited(store()))
    processes, chance = Processes(tmp_path, url, prefix, shards), random.Random(11)
    try:
        for module in ["hasty"] * CALLERS + ["restless"] * MOVERS:
            processes.start(module)
        deadline_s = time.monotonic() + WITHIN_S
        while sum(processes.kills.values()) < KILLS or not asyncio.run(has_moved(store())):
            assert time.monotonic() < deadline_s, "neither charged nor moved"
            processes.start(processes.kill(chance.randrange(CALLERS + MOVERS), chance.uniform(0, 2)))
    finally:
        processes.stop()
    wait_until(lambda: is_quiet(servers), "all that was sent is carried out")
    left_micro, charged = asyncio.run(closed(store()))
    assert sum(charged.values()) == CREDIT_MICRO - left_micro
    assert left_micro >= 0
    assert min(processes.kills.values()) >= 1
