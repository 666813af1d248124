"""A Redis Cluster that loses a master, or moves a slot, while it is charged on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rater import control
from rater.catalog.files import read_catalog
from rater.catalog.publish import load_current, publish
from rater.charging.cluster import slot_of
from rater.charging.model import Extend, Post, PostKind, Reply, Request, Reserve, Settle, Status
from rater.charging.redis_client import open_client
from rater.charging.redis_store import RedisStore
from rater.charging.terms import SlicePolicy, Terms
from rater.commands.common import open_store
from rater.commands.events import _new
from rater.config import Settings
from rater.errors import ConfigError, StoreUnavailable
from rater.events.stream import decode_entry, outbox_key
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from tests.cluster import Cluster, wait_until
from tests.contract.desk import facts
from tests.integration.test_daemon import NUMBER, Site, site_on
from tests.servers import RedisServer, needs_debians_redis

pytestmark = needs_debians_redis

NOW_MS = 1_790_000_000_000
SHARDS = 4
LEGS = 400
AT_ONCE = 40
CENT_A_SECOND = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
SLICES = SlicePolicy(5, 5, 1)
TALKED_S = 7
COST_MICRO, FIRST_SLICE_MICRO = 70_000, 50_000
OPENING_MICRO = 10**9
WITHIN_S = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "cluster")
    try:
        yield cluster.start()
    finally:
        cluster.stop()


class Traffic:
    """Legs that begin, go on and end, some at a time. `answers`: how often each operation was answered."""

    def __init__(self, store: RedisStore, shards: tuple[int, ...] = tuple(range(SHARDS))) -> None:
        self.store = store
        self.shards = [Shard(shard) for shard in shards]
        self.answers: Counter[str] = Counter()
        self.settlements: list[Settle] = []
        self.over: dict[LegId, Reply] = {}
        self.enough = False
        self._begun = 0
        self._room = asyncio.Semaphore(AT_ONCE)

    async def ask(self, request: Request) -> Reply:
        """Its first answer; unlike the store's own, without giving up while nobody serves the shard."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(request: Request, reply: Reply) -> None:
            self.answers[request.op] += 1
            if not answered.done():
                answered.set_result(reply)

        self.store.submit(request, done)
        self.store.flush()
        return await asyncio.wait_for(answered, WITHIN_S)

    async def open_accounts(self) -> None:
        for shard in self.shards:
            opening = Post(
                OpId(f"open:{shard}"),
                shard,
                AccountId(f"A{shard}"),
                PostKind.OPENING,
                OPENING_MICRO,
                NOW_MS,
                Terms(),
            )
            assert (await self.ask(opening)).status is Status.OK

    async def leg(self, number: int) -> None:
        shard = self.shards[number % len(self.shards)]
        leg, account, switch = LegId(f"pbx1.{number}"), AccountId(f"A{shard}"), SwitchId("pbx1")
        async with self._room:
            await self.ask(
                Reserve(
                    OpId(f"{leg}:1"), shard, account, leg, switch, 1, NOW_MS, CENT_A_SECOND, Terms(), (), SLICES,
                    False, facts(leg),
                )
            )  # fmt: skip
            await asyncio.sleep(0.02)
            extension = Extend(OpId(f"{leg}:2"), shard, account, leg, switch, 1, NOW_MS, 5, Terms(), SLICES)
            await self.ask(extension)
            await asyncio.sleep(0.02)
            settlement = Settle(
                OpId(f"{leg}:3"), shard, account, leg, switch, 1, NOW_MS, TALKED_S, Terms(), True, facts(leg)
            )
            self.settlements.append(settlement)
            self.over[leg] = await self.ask(settlement)

    async def legs_without_end(self) -> None:
        """One after the other until there are enough, however fast they are."""
        while not self.enough:
            self._begun += 1
            await self.leg(self._begun)

    async def has_settled(self, many: int, count: Callable[[], int] | None = None) -> None:
        async with asyncio.timeout(WITHIN_S):
            while (len(self.over) if count is None else count()) < many:  # noqa: ASYNC110  # the traffic tells nobody
                await asyncio.sleep(0.005)

    async def check(self, charged: dict[LegId, int]) -> None:
        """Money, ledger and rated events tell of exactly these legs; nothing is reserved any more."""
        rated: Counter[str] = Counter()
        for shard in self.shards:
            [state] = await self.store.accounts(shard)
            amount = sum(charged[s.leg] for s in self.settlements if s.shard == shard and s.leg in charged)
            assert (state.charges_micro, state.reserved_micro) == (amount, 0)
            assert state.balance_micro == OPENING_MICRO - amount
            lines = [line async for entry in self.store.ledger(shard) for line in entry.lines]
            assert sum(line.after - line.before for line in lines) == state.balance_micro
            for place, fields in await self.store.redis.xrange(self.store.keys(shard).outbox):
                entry = decode_entry(shard, place, fields)
                assert entry.kind == "rated"
                rated[entry.facts["id"]] += 1
        assert rated == Counter(dict.fromkeys(charged, 1))


async def opened(cluster: Cluster) -> RedisStore:
    store = RedisStore(cluster.url, shards=SHARDS, cluster=True, timeout_ms=500)
    await store.start()
    return store


def test_a_master_dies_in_mid_traffic_and_its_replica_goes_on(cluster: Cluster) -> None:
    """Replication is asynchronous: the last answers before the crash may be forgotten; repeats bring them back."""

    async def main() -> None:
        store = await opened(cluster)
        ups: list[bool] = []
        store.on_available = ups.append
        traffic = Traffic(store)
        await traffic.open_accounts()
        running = asyncio.gather(*(traffic.legs_without_end() for _ in range(AT_ONCE)))
        await traffic.has_settled(LEGS // 4)
        dead = cluster.master_of(0)
        await asyncio.to_thread(cluster.kill, dead)
        before = set(traffic.over)
        await asyncio.to_thread(wait_until, lambda: cluster.master_of(0) is not dead, "a replica took over")
        after = sum(settle.shard == 0 for settle in traffic.settlements)
        await traffic.has_settled(LEGS // 8, lambda: sum(s.shard == 0 for s in traffic.settlements) - after)
        traffic.enough = True
        await running
        assert cluster.master_of(0) is not dead
        assert set(traffic.answers.values()) == {1}, "each operation was answered once"
        assert (ups[0], ups[-1]) == (False, True)
        assert store.available

        repeats = {settle.leg: await traffic.ask(settle) for settle in traffic.settlements}
        charged = {leg: reply.amount_micro for leg, reply in repeats.items() if reply.status is Status.OK}
        forgotten = set(repeats) - set(charged)
        assert len(forgotten) <= AT_ONCE, "no more than what was under way"
        unpaid = [leg for leg, amount in charged.items() if amount != COST_MICRO]
        assert {charged[leg] for leg in unpaid} <= {FIRST_SLICE_MICRO}, "its extension was forgotten"
        assert len(unpaid) + len(forgotten) <= AT_ONCE
        assert len(charged) > len(before)
        await traffic.check(charged)
        await store.close()

    asyncio.run(main())


def test_a_shard_moves_to_another_master_while_its_legs_are_live(cluster: Cluster) -> None:
    async def main() -> None:
        store = await opened(cluster)
        traffic = Traffic(store, (0, 3))
        await traffic.open_accounts()
        running = asyncio.gather(*(traffic.leg(number) for number in range(LEGS)))
        await traffic.has_settled(LEGS // 4)
        source, target = cluster.master_of(0), cluster.master_of(1)
        assert source is not target
        await asyncio.to_thread(move_slot, cluster, slot_of(0), source, target)
        assert len(traffic.over) < LEGS, "the slot moved while there was traffic"
        await running
        assert cluster.master_of(0) is target
        assert set(traffic.answers.values()) == {1}, "each operation was answered once"
        assert {reply.status for reply in traffic.over.values()} == {Status.OK}
        await traffic.check(dict.fromkeys(traffic.over, COST_MICRO))
        await store.close()

    asyncio.run(main())


def move_slot(cluster: Cluster, slot: int, source: RedisServer, target: RedisServer) -> None:
    """As `redis-cli --cluster reshard` does: a few keys at a time, and all masters told at the end."""
    with source.client() as giver, target.client() as taker:
        names = {node.port: node.client().execute_command("CLUSTER MYID").decode() for node in (source, target)}
        taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source.port])
        giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target.port])
        while keys := giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 20):
            giver.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for client in (taker, giver):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target.port])


def test_scripts_that_a_master_has_forgotten_are_loaded_again(cluster: Cluster) -> None:
    async def main() -> None:
        store = await opened(cluster)
        traffic = Traffic(store)
        await traffic.open_accounts()
        for node in cluster.running():
            node.client().script_flush()
        await asyncio.gather(*(traffic.leg(number) for number in range(40)))
        await traffic.check(dict.fromkeys(traffic.over, COST_MICRO))
        assert await store.lead(SwitchId("pbx1"), "me", 3000) == 2, (
            "above the epoch that the legs were written under"
        )
        await store.close()

    asyncio.run(main())


def test_a_server_that_is_no_cluster_is_refused(server: RedisServer) -> None:
    async def main() -> None:
        with pytest.raises(StoreUnavailable, match="Cluster mode is not enabled"):
            await RedisStore(server.url, cluster=True).start()

    asyncio.run(main())


def test_a_node_of_a_cluster_is_not_taken_for_a_server_by_itself(cluster: Cluster) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="cluster"):
            await RedisStore(cluster.url).start()

    asyncio.run(main())


def test_the_doctor_looks_into_every_shard(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "rater.toml").write_text(f"[redis]\nurl = '{cluster.url}'\ncluster = true\nshards = {SHARDS}\n")
    program = Path(sys.executable).with_name("rater")
    words = [program, "doctor", "--json", "--config", tmp_path / "rater.toml"]
    findings = json.loads(subprocess.run(words, capture_output=True, timeout=60).stdout)["findings"]
    status = {(each["check"], each["subject"]): each["status"] for each in findings}
    wanted = [("redis.cluster", ""), ("redis.write", ""), *(("outbox.dead", f"shard {n}") for n in range(SHARDS))]
    assert [status[each] for each in wanted] == ["ok"] * len(wanted)


def test_a_daemon_charges_on_while_a_master_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    """Leadership, catalogue, control, publisher and audit, all on the cluster."""

    async def main() -> None:
        settings = f"url = '{cluster.url}'\ncluster = true\nshards = {SHARDS}\n"
        more = f"[publish]\nfiles = '{tmp_path / 'files'}'\n"
        async with site_on(tmp_path, settings, mode="gate", slice_s=60, more=more) as here:
            redis = open_client(cluster.url, None, cluster=True)
            shard = Shard(int(await redis.hget("rater:shards", "RICH")))
            call = here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=10)
            await asyncio.sleep(2)
            await asyncio.to_thread(cluster.kill, cluster.master_of(shard))
            await here.talk(call)
            assert abs(call.talked_s - 10) < 0.25
            state = await charged(here, shard)
            assert state == (100_000_000 - 100_000, 100_000)
            await published(here.settings, redis, tmp_path)
            tail = _new(redis, here.settings.redis, {outbox_key("rater", shard): "0" for shard in range(SHARDS)})
            assert (await anext(tail)).account == "RICH"
            await hung_up(here, redis, shard)
            await redis.aclose()
            found = await asyncio.to_thread(rater, tmp_path, "audit", "--json")
            assert json.loads(found) == {"accounts": 4, "moving": 0, "balanced": True, "faults": []}
        event, hung = [json.loads(line) for path in (tmp_path / "files").iterdir() for line in path.open()]
        assert hung["duration_s"] < event["duration_s"]
        assert (event["account"], event["amount_micro"], event["grade"]) == ("RICH", 100_000, "observed")

    asyncio.run(main())


def rater(folder: Path, *words: str) -> bytes:
    """What the command prints."""
    program = Path(sys.executable).with_name("rater")
    done = subprocess.run([program, *words, "--config", folder / "rater.toml"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def hung_up(here: Site, redis: Any, shard: Shard) -> None:
    """The daemon hears a request, and answers it, over the cluster as it is now."""
    call = here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=60)
    await asyncio.sleep(2)
    async with open_store(here.settings) as store:
        [leg] = await store.legs(shard)
    answer = await control.ask(redis, "rater", {"do": "hangup", "leg": leg.leg})
    assert answer is not None
    assert answer["sent"]
    await here.talk(call)
    assert call.talked_s < 10
    await asyncio.sleep(1)


async def charged(here: Site, shard: Shard) -> tuple[int, int]:
    """Balance and charges once nothing is reserved any more."""
    async with asyncio.timeout(WITHIN_S), open_store(here.settings) as store:
        while True:
            state = await store.account(shard, AccountId("RICH"))
            assert state is not None
            if not state.reserved_micro:
                return state.balance_micro, state.charges_micro
            await asyncio.sleep(0.1)


async def published(settings: Settings, client: Any, folder: Path) -> None:
    """A catalogue can be published with one master replaced."""
    async with open_store(settings) as store:
        snapshot = read_catalog(folder / "catalog")
        result = await publish(client, store, snapshot, prefix="rater", shards=SHARDS, now_ms=2)
    current = await load_current(client, "rater")
    assert current is not None
    assert current.version == result.version


def test_a_shard_without_a_master_hinders_its_own_accounts_only(cluster: Cluster, tmp_path: Path) -> None:
    """Master and replica are gone. The others' calls, live and new, are decided and extended as ever."""

    async def main() -> None:
        settings = f"url = '{cluster.url}'\ncluster = true\nshards = {SHARDS}\n"
        async with site_on(tmp_path, settings, mode="gate") as here:
            redis = open_client(cluster.url, None, cluster=True)
            rich, bundle = [Shard(int(n)) for n in await redis.hmget("rater:shards", "RICH", "BUNDLE")]
            await redis.aclose()
            doomed = cluster.master_of(rich)
            assert cluster.master_of(bundle) is not doomed
            place = here.switch.place_call
            cut, goes_on = (place(line, NUMBER, ring_s=0.2, talk_s=14) for line in ("1001", "1004"))
            await asyncio.sleep(1.5)
            for node in (cluster.replica_of(doomed), doomed):
                await asyncio.to_thread(cluster.kill, node)
            await asyncio.sleep(2)
            for _ in range(4):
                passed, refused = (place(line, NUMBER, ring_s=0.1, talk_s=1) for line in ("1004", "1001"))
                await here.talk(passed, refused)
                assert passed.talked_s > 0.9
                assert refused.talked_s == 0
            await here.talk(cut, goes_on)
            assert abs(cut.talked_s - 4) < 0.3, "what was paid"
            assert abs(goes_on.talked_s - 14) < 0.3
            await asyncio.to_thread(doomed.start)
            await asyncio.to_thread(cluster.wait_until_whole)
            await asyncio.sleep(3)
            after = place("1001", NUMBER, ring_s=0.1, talk_s=1)
            await here.talk(after)
            assert after.talked_s > 0.9
            assert await charged(here, rich) == (100_000_000 - 50_000, 50_000)

    asyncio.run(main())
