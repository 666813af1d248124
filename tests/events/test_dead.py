"""Dead letters: listed with their reason, delivered again to whom they were meant for, dropped."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.errors import InputError
from rater.events.consumer import OutboxConsumer
from rater.events.dead import DeadLetters
from rater.events.exporters import stored_records
from rater.events.stream import dead_key, outbox_key

from .support import Desk, copies, leg_facts


class Bench:
    def __init__(self, store: RedisStore) -> None:
        self.store, self.redis, self.prefix = store, store.redis, store.prefix
        self.letters = DeadLetters(self.redis, prefix=store.prefix, shards=1)

    async def member(self, group: str) -> OutboxConsumer:
        member = OutboxConsumer(self.redis, prefix=self.prefix, shard=0, group=group, name="one")
        await member.open()
        return member

    async def refuse(self, group: str, *legs: str) -> None:
        """As if the group's target had taken all but these."""
        member = await self.member(group)
        for entry in (await member.read(now_ms=0, block_ms=10)).entries:
            if entry.facts["id"] in legs:
                await member.bury(entry.stream_id, entry.raw, f"{entry.facts['id']} refused")
            else:
                await member.ack([entry])

    async def ids(self, group: str) -> list[str]:
        member = await self.member(group)
        batch = await member.read(now_ms=0, block_ms=10)
        await member.ack(batch.entries)
        return [entry.facts["id"] for entry in batch.entries]


def bench(server: EmbeddedRedis, prefix: str, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        store = RedisStore(server.url, prefix=prefix)
        await store.start()
        try:
            desk = Desk(store)
            await desk.credit(10**9)
            await desk.call(10, leg_facts("leg-0"))
            await copies(store.redis, prefix, [f"leg-{n}" for n in range(1, 5)])
            await work(Bench(store))
        finally:
            await store.close()

    asyncio.run(run())


def test_a_letter_says_what_whose_and_why(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await bench.refuse("webhook:crm", "leg-2")
        await bench.redis.xadd(dead_key("dsay", 0), {"k": "nonsense", "reason": "unknown kind", "group": "mqtt"})
        refused, unreadable = [letter async for letter in bench.letters.each()]
        assert (refused.group, refused.kind, refused.record, refused.account) == (
            "webhook:crm", "rated", "leg-2", "ACME",
        )  # fmt: skip
        assert refused.reason == "leg-2 refused"
        assert (unreadable.kind, unreadable.record) == ("nonsense", "")
        assert [letter async for letter in bench.letters.each(group="mqtt")] == [unreadable]
        assert await bench.letters.find(refused.ref) == refused

    bench(server, "dsay", work)


def test_a_retry_reaches_its_target_and_no_other(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await bench.refuse("webhook:crm", "leg-1", "leg-3")
        await bench.refuse("mqtt")
        first, second = [letter async for letter in bench.letters.each()]
        assert await bench.letters.retry(first)
        assert not await bench.letters.retry(first), "once is enough"
        assert [letter async for letter in bench.letters.each()] == [second]
        assert await bench.ids("mqtt") == []
        assert await bench.ids("webhook:crm") == ["leg-1"]
        pending = await bench.redis.xpending(outbox_key("dretry", 0), "mqtt")
        assert pending["pending"] == 0
        stored = [r.id async for r in stored_records(bench.redis, prefix="dretry", shards=1)]
        assert stored == [f"leg-{n}" for n in range(5)], "an export has each record once"

    bench(server, "dretry", work)


def test_refused_again_it_is_a_letter_again_with_the_new_reason(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await bench.refuse("webhook:crm", "leg-1")
        (letter,) = [letter async for letter in bench.letters.each()]
        for _ in range(3):
            assert await bench.letters.retry(letter)
            member = await bench.member("webhook:crm")
            (entry,) = (await member.read(now_ms=0, block_ms=10)).entries
            await member.bury(entry.stream_id, entry.raw, "still not")
            (letter,) = [letter async for letter in bench.letters.each()]
            assert (letter.reason, letter.record, letter.group) == ("still not", "leg-1", "webhook:crm")
        assert set(letter.raw) == {b"k", b"f", b"r"}

    bench(server, "dagain", work)


def test_operators_at_once_retry_each_letter_once(server: EmbeddedRedis) -> None:
    async def work(bench: Bench) -> None:
        await bench.refuse("webhook:crm", *(f"leg-{n}" for n in range(5)))
        letters = [letter async for letter in bench.letters.each()]
        done = await asyncio.gather(*(bench.letters.retry(letter) for letter in letters * 4))
        assert sum(done) == 5
        assert sorted(await bench.ids("webhook:crm")) == [f"leg-{n}" for n in range(5)]

    bench(server, "donce", work)


@pytest.mark.parametrize("ref", ["", "0", "0/", "1/1-1", "0/1-1", "x/1-1", "0/-", "0/+", "0/1-1-1"])
def test_a_letter_that_is_not_there_is_named(server: EmbeddedRedis, ref: str) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(InputError, match="no dead letter"):
            await bench.letters.find(ref)

    bench(server, "dnone", work)


def test_the_command_line(server: EmbeddedRedis, tmp_path: Path) -> None:
    (tmp_path / "rater.toml").write_text(f'[redis]\nurl = "{server.url}"\nprefix = "dcli"\n')

    def command(*words: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [sys.executable, "-c", "from rater.cli import main; main()", "events", "dead", "--config", "rater.toml",
             *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout) if "--json" in words and not done.returncode else done.stdout
        return done.returncode, answer, done.stderr

    async def work(bench: Bench) -> None:
        await bench.refuse("webhook:crm", "leg-1", "leg-2", "leg-3")

    bench(server, "dcli", work)
    _, listed, _ = command("--json")
    assert [row["id"] for row in listed["letters"]] == ["leg-1", "leg-2", "leg-3"]
    assert listed["letters"][0]["reason"] == "leg-1 refused"
    _, text, _ = command()
    assert "webhook:crm rated leg-2 ACME: leg-2 refused" in text
    assert text.endswith("3 dead letters\n")
    first = listed["letters"][0]["letter"]
    assert command("--retry", first, "--json")[1]["retried"][0]["id"] == "leg-1"
    assert command("--retry", first)[0] == 2
    assert len(command("--drop", listed["letters"][1]["letter"], "--json")[1]["dropped"]) == 1
    assert command("--retry", "all", "--group", "mqtt", "--json")[1] == {"retried": []}
    assert len(command("--retry", "all", "--json")[1]["retried"]) == 1
    assert command("--json")[1] == {"letters": []}
    code, _, said = command("--retry", "all", "--drop", "all")
    assert (code, "cannot go together" in said) == (2, True)

    async def again(bench: Bench) -> None:
        assert sorted(await bench.ids("webhook:crm"))[:2] == ["leg-1", "leg-3"]

    asyncio.run(_with(server, again))


async def _with(server: EmbeddedRedis, work: Callable[[Bench], Awaitable[None]]) -> None:
    store = RedisStore(server.url, prefix="dcli")
    await store.start()
    try:
        await work(Bench(store))
    finally:
        await store.close()
