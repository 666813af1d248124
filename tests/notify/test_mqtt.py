"""The publisher as a process, a real broker, a real Redis: what subscribers see, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from events.support import ALLOWANCE, CENT, Desk, Mosquitto, copies, leg_facts, until

from rater.charging.embedded import EmbeddedRedis
from rater.config import Settings
from rater.events.backlog import outbox_backlog
from rater.events.rated import LegFacts
from rater.events.stream import dead_key, outbox_key

from .support import Publisher, Subscriber, listening, settings_for

Start = Callable[[Settings], Publisher]
OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]


TAKEN = "t/r/event/ACME/([^/']+)"


async def backlog(desk: Desk, group: str = "mqtt") -> int:
    store = desk.store
    return (await outbox_backlog(store.redis, prefix=store.prefix, shard=0, group=group)).entries


async def all_delivered(desk: Desk, group: str = "mqtt") -> bool:
    return await backlog(desk, group) == 0


def test_each_record_goes_to_its_topic(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    async def run() -> None:
        async with open_desk() as desk, listening(broker) as seen:
            publisher(settings_for(server.url, prefix, broker=broker))
            await desk.credit(105 * CENT)
            await desk.call(30, leg_facts("leg/1", line="10/01"), terms=ALLOWANCE)
            await desk.deny(leg_facts("leg2", account="", reason="unknown_payer"))
            await until(lambda: len(seen.on("t/r/denied/#")) == 1 and seen.on("t/r/balance/ACME"))
            (event,) = seen.on("t/r/event/ACME/10%2F01")
            assert (event["schema"], event["id"], event["amount"]) == ("rater.rated/1", "leg/1", "0.20")
            assert {r["threshold"] for r in seen.on("t/r/threshold/ACME/+")} == {"used-80", "low"}
            (denied,) = seen.on("t/r/denied/_")
            assert denied["reason"] == "unknown_payer"
            await until(lambda: seen.on("t/r/balance/ACME")[-1]["balance"] == "0.85")
            (allowance,) = seen.on("t/r/balance/ACME")[-1]["allowances"]
            assert (allowance["grant"], allowance["used_s"], allowance["remaining_s"]) == ("local", 10, 0)
            assert all(m.qos == 1 for m in seen.messages)
            await until(lambda: all_delivered(desk))

    asyncio.run(run())


def test_the_balance_is_retained_and_follows_a_credit_without_any_call(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    async def run() -> None:
        async with open_desk() as desk:
            publisher(settings_for(server.url, prefix, broker=broker))
            await desk.credit(5 * CENT, account="_odd #1")
            async with listening(broker, "t/r/balance/#") as early:
                await until(lambda: early.messages)
            await desk.credit(2 * CENT, account="_odd #1")
            async with listening(broker, "t/r/balance/#") as late:
                await until(lambda: late.messages and late.on("#")[-1]["balance"] == "0.07")
                assert str(late.messages[0].topic) == "t/r/balance/%5Fodd%20%231"
                assert late.messages[0].retain

    asyncio.run(run())


def test_the_status_is_retained_and_the_broker_tells_of_a_death(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, prefix: str
) -> None:
    async def run() -> None:
        settings = settings_for(server.url, prefix, broker=broker)
        async with listening(broker, "t/r/status") as seen:
            first = publisher(settings)
            await until(lambda: len(seen.messages) == 1)
            first.kill()
            await until(lambda: len(seen.messages) == 2)
            second = publisher(settings)
            await until(lambda: len(seen.messages) == 3)
            second.stop()
            await until(lambda: len(seen.messages) == 4)
            told = [(r["status"], r["reason"]) for r in seen.on("#")]
            assert told == [("online", ""), ("offline", "lost"), ("online", ""), ("offline", "stopped")]
        async with listening(broker, "t/r/status") as later:
            await until(lambda: later.messages)
            assert later.messages[0].retain
            assert later.on("#")[0]["status"] == "offline"

    asyncio.run(run())


def test_39_nothing_is_lost_while_the_broker_is_away(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    """The broker is stopped under traffic; charging does not notice; afterwards all comes, in order."""
    ids = [f"leg-{n:04}" for n in range(3000)]

    async def run() -> None:
        async with open_desk() as desk:
            await desk.credit(10**9)
            await desk.call(10, leg_facts(ids[0], line=ids[0]))
            process = publisher(settings_for(server.url, prefix, broker=broker))
            await copies(desk.store.redis, prefix, ids[1:1000])
            await until(lambda: len(broker.taken(TAKEN)) > 200)
            broker.stop()
            await copies(desk.store.redis, prefix, ids[1000:])
            assert (await desk.call(10, leg_facts("during", line="during"))).amount_micro == 10 * CENT
            await until(lambda: _says(process, "mqtt connection lost"))
            assert await backlog(desk) > 1500
            memory_kib = _resident_kib(process.pid)
            broker.start()
            await until(lambda: all_delivered(desk), within_s=60)
            taken = broker.taken(TAKEN)
            assert list(dict.fromkeys(taken)) == [*ids, "during"]
            assert len(taken) < len(ids) + 1000, "more was repeated than can have been on its way"
            assert _resident_kib(process.pid) - memory_kib < 40_000

    asyncio.run(run())


def _says(process: Publisher, text: str) -> bool:
    return text in process.log.read_text()


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"no process {pid}")


def test_21_killed_between_publish_and_acknowledgement_it_delivers_again(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    """Killed over and over under load: subscribers miss nothing, and repeats carry the same id and content."""
    ids = [f"leg-{n:04}" for n in range(1500)]

    async def run() -> None:
        settings = settings_for(server.url, prefix, broker=broker)
        async with open_desk() as desk, listening(broker, "t/r/event/#") as seen:
            await desk.credit(10**9)
            await desk.call(10, leg_facts(ids[0]))
            await copies(desk.store.redis, prefix, ids[1:])
            for _ in range(3):
                process = publisher(settings)
                await _held_in_between(desk, seen, process, ids)
                process.kill()
                assert await _in_between(desk, seen), "nothing was acknowledged on the way out"
            publisher(settings)
            await until(lambda: all_delivered(desk), within_s=60)
            await until(lambda: set(seen.ids()) == set(ids), within_s=60)
            assert list(dict.fromkeys(seen.ids())) == ids
            assert len(seen.messages) > len(ids), "what was published and not acknowledged came again"
            contents: dict[str, Any] = {}
            for record in seen.on("#"):
                assert contents.setdefault(record["id"], record) == record

    asyncio.run(run())


async def _held_in_between(desk: Desk, seen: Subscriber, process: Publisher, ids: list[str]) -> None:
    """Stop the process, as by SIGSTOP, where something is published and not acknowledged. Whoever is quicker than
    we look is given more to do."""

    async def held() -> bool:
        os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: _state(process.pid) == "T")
        await asyncio.sleep(0.05)  # what is on its way arrives
        if await _in_between(desk, seen):
            return True
        os.kill(process.pid, signal.SIGCONT)
        if not await backlog(desk):
            more = [f"leg-{n:04}" for n in range(len(ids), len(ids) + 500)]
            await copies(desk.store.redis, prefix=desk.store.prefix, ids=more)
            ids.extend(more)
        return False

    before = len(seen.messages)
    await until(lambda: len(seen.messages) > before, within_s=60)
    await until(held, within_s=60)


async def _in_between(desk: Desk, seen: Subscriber) -> set[str]:
    """The legs that the subscriber has, and whose entries are given out and not acknowledged."""
    redis, key = desk.store.redis, outbox_key(desk.store.prefix, 0)
    pending = await redis.xpending_range(key, "mqtt", "-", "+", 1000)
    if not pending:
        return set()
    first, last = pending[0]["message_id"], pending[-1]["message_id"]
    given = {entry["message_id"] for entry in pending}
    entries = [fields for name, fields in await redis.xrange(key, first, last) if name in given]
    return {LegFacts.unpack(fields[b"f"]).id for fields in entries} & set(seen.ids())


def test_42_poison_is_set_aside_and_the_rest_is_delivered(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    async def run() -> None:
        async with open_desk() as desk, listening(broker, "t/r/event/#") as seen:
            redis = desk.store.redis
            await desk.credit(10**9)
            await desk.call(10, leg_facts("one"))
            await redis.xadd(outbox_key(prefix, 0), {"k": "rated", "f": b"\x80", "r": b"\x80"})
            await redis.xadd(outbox_key(prefix, 0), {"k": "nonsense"})
            await desk.call(10, leg_facts("two"))
            publisher(settings_for(server.url, prefix, broker=broker))
            await until(lambda: seen.ids() == ["one", "two"])
            await until(lambda: all_delivered(desk))
            letters = [fields[b"reason"] for _, fields in await redis.xrange(dead_key(prefix, 0))]
            assert len(letters) == 2
            assert b"unknown kind" in b" ".join(letters)

    asyncio.run(run())


def test_what_the_broker_forbids_stays_in_the_outbox(
    server: EmbeddedRedis, tmp_path: Path, publisher: Start, open_desk: OpenDesk, prefix: str
) -> None:
    """An access rule that drops messages must not look like delivery."""
    (tmp_path / "strict").mkdir()
    strict = Mosquitto(tmp_path / "strict", acl="topic read #\ntopic write t/r/status\n")
    strict.start()

    async def run() -> None:
        async with open_desk() as desk:
            await desk.credit(10**9)
            await desk.call(10, leg_facts("forbidden"))
            process = publisher(settings_for(server.url, prefix, broker=strict))
            await until(lambda: _says(process, "Not authorized"))
            assert await backlog(desk) == 1

    try:
        asyncio.run(run())
    finally:
        strict.stop()


def test_24_redis_restarts_under_the_publisher(broker: Mosquitto, publisher: Start, tmp_path_factory: Any) -> None:
    own = EmbeddedRedis(tmp_path_factory.mktemp("s"))
    own.start()

    async def run() -> None:
        from rater.charging.redis_store import RedisStore

        async with listening(broker, "t/r/event/#") as seen:
            process = publisher(settings_for(own.url, "again", broker=broker))
            for leg in ("before", "after"):
                store = RedisStore(own.url, prefix="again")
                await store.start()
                desk = Desk(store)
                await desk.credit(10**6)
                await desk.call(10, leg_facts(leg))
                await until(lambda leg=leg: leg in seen.ids(), within_s=40)
                await store.close()
                if leg == "before":
                    own.stop()
                    await until(lambda: _says(process, "redis does not serve the publisher"))
                    own.start()

    try:
        asyncio.run(run())
    finally:
        own.stop()


def test_the_publisher_leaves_when_its_parent_has_died(
    server: EmbeddedRedis, broker: Mosquitto, prefix: str, tmp_path: Path
) -> None:
    """A daemon killed outright leaves no second publisher behind to fight with the next one's."""
    settings = settings_for(server.url, prefix, broker=broker).model_dump_json()
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'rater.notify'], stdin=subprocess.PIPE)\n"
        "child.stdin.write(sys.argv[1].encode()); child.stdin.close()\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )

    with (tmp_path / "orphan.log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", script, settings], stdout=subprocess.PIPE, stderr=log)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    async def run() -> None:
        async with listening(broker, "t/r/status") as seen:
            await until(lambda: any(r["status"] == "online" for r in seen.on("#")))
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            await until(lambda: [r["reason"] for r in seen.on("#")][-1:] == ["stopped"])
            await until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))

    asyncio.run(run())


def _is_zombie(pid: int) -> bool:
    return _state(pid) == "Z"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_publisher_without_targets_says_so(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rater.notify"],
        input=settings_for(server.url, prefix).model_dump_json().encode(),
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"nowhere to publish" in done.stderr


def test_balances_survive_the_archiving_of_the_ledger(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    """What moved while nobody published, and is no longer in the stream, is published all the same."""
    from ledger.support import SHARD, move_back

    from rater.charging.archive import archive
    from rater.charging.ledger import ShardLedger

    async def run() -> None:
        async with open_desk() as desk:
            for number in range(1, 8):
                await desk.credit(number * CENT, account=f"old-{number}")
            await move_back(desk, span_ms=86_400_000)
            await archive(ShardLedger(desk.store, SHARD), tmp_path / "old", "2026-02")
            await desk.credit(9 * CENT, account="new")
            publisher(settings_for(server.url, prefix, broker=broker))
            expected = {f"old-{n}": f"0.0{n}" for n in range(1, 8)} | {"new": "0.09"}
            async with listening(broker, "t/r/balance/#") as seen:

                def balances() -> dict[str, str]:
                    return {record["account"]: record["balance"] for record in seen.on("#")}

                await until(lambda: balances() == expected)
                await desk.credit(CENT, account="old-1")
                await until(lambda: balances()["old-1"] == "0.02")

    asyncio.run(run())
