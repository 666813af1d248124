"""The ledger's past in files: nothing is missing at any moment, whatever dies, whoever reads meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from events.support import CENT, Desk
from servers import RedisServer, binaries

from rater.charging import archive as archive_module
from rater.charging.archive import ArchiveDamaged, archive, check, month_starts_ms, next_month
from rater.charging.embedded import EmbeddedRedis
from rater.charging.ledger import ShardLedger, pack_sums, unpack_sums
from rater.charging.redis_store import RedisStore
from rater.commands.ledger import Found, verify_shard
from rater.errors import InputError, StoreError

from .support import DAY_MS, JANUARY_MS, SHARD, agree, live_through, move_back, opened, totals

Work = Callable[[Desk, ShardLedger], Awaitable[None]]


def run(server: EmbeddedRedis, prefix: str, work: Work) -> None:
    async def main() -> None:
        async with opened(server, prefix) as desk:
            await work(desk, ShardLedger(desk.store, SHARD))

    asyncio.run(main())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def verified(ledger: ShardLedger, folder: Path) -> Found:
    found = Found()
    await verify_shard(ledger, folder, found)
    return found


def test_closed_months_go_to_files_and_the_sums_stay(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 12)
        count = await move_back(desk)
        before = await totals(desk)
        await agree(desk)
        files = await archive(ledger, tmp_path, "2026-03")
        assert [each.path.name for each in files] == [
            "ledger-0-2026-01-0-0.jsonl.gz", f"ledger-0-2026-02-{files[0].last}.jsonl.gz",
        ]  # fmt: skip
        assert sum(each.entries for each in files) + await ledger.entries() == count
        assert min(each.entries for each in files) > 20
        (first,) = await ledger.page("0", 1)
        assert first.id.startswith(str(first.id)[:7])
        assert int(first.id.split("-")[0]) >= month_starts_ms("2026-03")
        assert await totals(desk) == before
        await agree(desk)
        assert await archive(ledger, tmp_path, "2026-03") == []
        assert (await verified(ledger, tmp_path)).faults == []
        await live_through(desk, 2, first=12)
        await agree(desk)

    run(server, prefix, work)


def test_a_file_holds_each_entry_as_it_was(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 3)
        await move_back(desk, span_ms=20 * DAY_MS)
        stored = await ledger.page("0", 1000)
        (file,) = await archive(ledger, tmp_path, "2026-02")
        assert list(archive_module.entries(file.path)) == stored
        head, *lines, foot = map(json.loads, gzip.decompress(file.path.read_bytes()).splitlines())
        assert head == {"schema": "rater.ledger/1", "shard": 0, "month": "2026-01", "after": "0-0"}
        assert lines[0]["lines"][0] == {
            "cause": "credit", "resource": "", "cycle_ms": 0, "before": 0, "after": 100 * CENT,
        }  # fmt: skip
        assert foot["entries"] == len(stored) == len(lines)
        assert file.path.stat().st_mode & 0o007 == 0

    run(server, prefix, work)


def test_killed_before_and_after_every_step_it_is_taken_up_again(
    server: EmbeddedRedis, prefix: str, tmp_path: Path
) -> None:
    """A run is killed before its n-th step, for each n, and the next goes on from there: after each death the audit
    agrees, and in the end every entry is in exactly one file or in Redis."""

    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 4)
        count = await move_back(desk, span_ms=50 * DAY_MS)
        before, client = await totals(desk), desk.store.redis
        keys = [desk.store.keys(SHARD).ledger, ledger._keys.ledger_checkpoint, ledger._keys.ledger_sums]
        dumps = [(key, await client.dump(key)) for key in keys]
        deaths = 0
        for n in range(1, 200):
            for key, dump in dumps:  # as it was before any run
                await client.delete(key)
                if dump is not None:
                    await client.restore(key, 0, dump)
            folder = tmp_path / str(n)
            words = [sys.executable, str(Path(__file__).with_name("killed.py")), server.url, desk.store.prefix]
            done = await asyncio.to_thread(
                subprocess.run, [*words, str(folder), "2026-03", str(n)], capture_output=True, check=False
            )
            assert await totals(desk) == before, n
            if done.returncode != -signal.SIGKILL:
                assert done.returncode == 0, done.stderr
                break
            deaths += 1
            await archive(ledger, folder, "2026-03")
            assert await totals(desk) == before
            assert (await verified(ledger, folder)).faults == []
            held = sum(check(path).entries for path in folder.glob("ledger-*.gz"))
            assert held + await ledger.entries() == count
            assert (await ledger.checkpoint()).archive == ""
        assert deaths > 20
        await agree(desk)

    run(server, prefix, work)


def test_charging_and_auditing_go_on_while_it_runs(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 30)
        await move_back(desk)
        ended = asyncio.Event()

        async def charge() -> int:
            rounds = 0
            while not ended.is_set():
                await live_through(desk, 1, first=100 + rounds)
                rounds += 1
            return rounds

        async def watch() -> int:
            audits = 0
            while not ended.is_set():
                await agree_roughly(desk)
                audits += 1
            return audits

        charging, watching = asyncio.create_task(charge()), asyncio.create_task(watch())
        archive_module.PAGE, page = 3, archive_module.PAGE  # type: ignore[misc]
        try:
            await archive(ledger, tmp_path, "2026-03")
        finally:
            archive_module.PAGE = page  # type: ignore[misc]
            ended.set()
        assert await charging >= 1
        assert await watching >= 1
        await agree(desk)
        assert (await verified(ledger, tmp_path)).faults == []

    run(server, prefix, work)


async def agree_roughly(desk: Desk) -> None:
    """What an audit says in the middle of it all."""
    from rater.commands.audit import audit_shard

    _, faults = await audit_shard(desk.store, SHARD)
    assert [fault for fault in faults if "live legs" not in fault] == []


def test_two_runs_at_once_move_each_entry_once(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 20)
        count = await move_back(desk)
        before = await totals(desk)
        await asyncio.gather(
            *(archive(ShardLedger(desk.store, SHARD), tmp_path, "2026-03") for _ in range(3)),
            return_exceptions=True,
        )
        await archive(ledger, tmp_path, "2026-03")
        assert await totals(desk) == before
        assert (await ledger.checkpoint()).entries + await ledger.entries() == count
        assert (await verified(ledger, tmp_path)).faults == []

    run(server, prefix, work)


def test_the_month_that_is_not_over_stays(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 2)
        count = await ledger.entries()
        assert await archive(ledger, tmp_path, "9999-01") == []
        assert await ledger.entries() == count
        assert names(tmp_path) == []

    run(server, prefix, work)


def test_a_file_changed_before_its_entries_were_moved_stops_the_move(
    server: EmbeddedRedis, prefix: str, tmp_path: Path
) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 3)
        count = await move_back(desk, span_ms=20 * DAY_MS)
        (written,) = [await archive_module._export(ledger, tmp_path, await ledger.checkpoint(), JANUARY_MS * 2)]
        assert written is not None
        assert await ledger.begin("0-0", written.path.name, written.last)
        good = written.path.read_bytes()
        for bad, said in (
            (
                gzip.compress(gzip.decompress(good).replace(b'"after":1000000', b'"after":1000001')),
                "digest differs",
            ),
            (good[: len(good) // 2], "cannot be read"),
            (good + good, "no ledger archive"),
            (gzip.compress(b'{"a": 1}\n'), "no ledger archive"),
            (b"", "digest differs|cannot be read|not as it was written"),
        ):
            written.path.write_bytes(bad)
            with pytest.raises(ArchiveDamaged, match=said):
                await archive(ledger, tmp_path, "2026-02")
        written.path.unlink()
        with pytest.raises(ArchiveDamaged, match="is missing"):
            await archive(ledger, tmp_path, "2026-02")
        assert await ledger.entries() == count
        written.path.write_bytes(good)
        assert [each.entries for each in await archive(ledger, tmp_path, "2026-02")] == [count]
        await agree(desk)

    run(server, prefix, work)


def test_a_ledger_changed_by_hand_is_not_taken_for_the_files(
    server: EmbeddedRedis, prefix: str, tmp_path: Path
) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 3)
        await move_back(desk, span_ms=20 * DAY_MS)
        written = await archive_module._export(ledger, tmp_path, await ledger.checkpoint(), JANUARY_MS * 2)
        assert written is not None
        assert await ledger.begin("0-0", written.path.name, written.last)
        page = await ledger.page("0", 3)
        await desk.store.redis.xdel(desk.store.keys(SHARD).ledger, page[1].id)
        count = await ledger.entries()
        with pytest.raises(ArchiveDamaged, match="differ after 0-0"):
            await archive(ledger, tmp_path, "2026-02")
        assert not await ledger.fold("0-0", page, is_last=False), "the script looks for itself"
        assert await ledger.entries() == count

    run(server, prefix, work)


def test_verify_tells_of_a_missing_file_and_of_sums_that_were_changed(
    server: EmbeddedRedis, prefix: str, tmp_path: Path
) -> None:
    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 8)
        await move_back(desk)
        first, _ = await archive(ledger, tmp_path, "2026-03")
        assert (await verified(ledger, tmp_path)).faults == []
        sums = desk.store.keys(SHARD).ledger_sums
        kept = await desk.store.redis.hget(sums, "ACME")
        await desk.store.redis.hset(sums, "ACME", pack_sums({("", 0): 1}))
        faults = (await verified(ledger, tmp_path)).faults
        assert [fault.split(":")[0] for fault in faults] == ["ACME"]
        with pytest.raises(AssertionError):
            await agree(desk)
        await desk.store.redis.hset(sums, "ACME", kept)
        first.path.rename(tmp_path / "elsewhere")
        faults = (await verified(ledger, tmp_path)).faults
        assert "begins after" in faults[0]
        assert "were archived" in faults[1]

    run(server, prefix, work)


@pytest.mark.parametrize("binary", sorted(binaries()))
def test_it_runs_when_redis_is_out_of_memory_and_makes_room(binary: str, tmp_path: Path) -> None:
    """That is when it is needed most."""
    own = RedisServer(binaries()[binary], tmp_path / "redis").start()

    async def main() -> None:
        store = RedisStore(own.url, prefix="oom")
        await store.start()
        desk = Desk(store)
        await live_through(desk, 60)
        await move_back(desk)
        await store.redis.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await store.redis.set("x", "y")
        ledger = ShardLedger(store, SHARD)
        held = await ledger.memory_bytes()
        await archive(ledger, tmp_path / "out", "2026-03")
        assert await ledger.memory_bytes() < held / 2
        await store.redis.config_set("maxmemory", 0)
        await agree(desk)
        await store.close()

    try:
        asyncio.run(main())
    finally:
        own.destroy()


def test_a_folder_that_cannot_be_written_is_named(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 1)
        await move_back(desk, span_ms=DAY_MS)
        with pytest.raises(InputError, match="cannot write"):
            await archive(ledger, tmp_path / "file" / "sub", "2026-02")
        (tmp_path / ".ledger-0-2026-01-0-0.jsonl.gz.part").write_text("left by a run that died")
        await archive(ledger, tmp_path, "2026-02")
        assert names(tmp_path) == ["file", "ledger-0-2026-01-0-0.jsonl.gz"]

    run(server, prefix, work)


def test_a_file_that_another_run_is_writing_is_left_alone(
    server: EmbeddedRedis, prefix: str, tmp_path: Path
) -> None:
    import fcntl

    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 1)
        await move_back(desk, span_ms=DAY_MS)
        with (tmp_path / ".ledger-0-2026-01-0-0.jsonl.gz.part").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(StoreError, match="being written by another run"):
                await archive(ledger, tmp_path, "2026-02")

    run(server, prefix, work)


def test_the_command_line(server: EmbeddedRedis, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "rater.toml").write_text(
        f'[redis]\nurl = "{server.url}"\nprefix = "{prefix}"\n[ledger]\narchive = "old"\nkeep_months = 1\n'
    )

    def command(*words: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-c", "from rater.cli import main; main()", *words, "--json"],
            cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    async def work(desk: Desk, ledger: ShardLedger) -> None:
        await live_through(desk, 5)
        await move_back(desk, start_ms=JANUARY_MS - 400 * DAY_MS)
        await live_through(desk, 1, first=50)

    run(server, prefix, work)
    config = ("--config", "rater.toml")
    _, before = command("ledger", "status", *config)
    code, moved = command("ledger", "archive", *config)
    assert (code, len(moved["files"])) == (0, 4)
    assert all(Path(each["file"]).parent == tmp_path / "old" for each in moved["files"])
    _, after = command("ledger", "status", *config)
    assert after["shards"][0]["archived"] == sum(each["entries"] for each in moved["files"])
    assert after["shards"][0]["entries"] + after["shards"][0]["archived"] == before["shards"][0]["entries"]
    assert command("ledger", "verify", *config) == (
        0, {"entries": after["shards"][0]["archived"], "whole": True, "faults": []},
    )  # fmt: skip
    assert command("audit", *config) == (0, {"accounts": 3, "moving": 0, "balanced": True, "faults": []})
    code, said = command("ledger", "archive", "--before", "soon", *config)
    assert (code, "is no month" in said) == (2, True)
    Path(moved["files"][1]["file"]).unlink()
    code, told = command("ledger", "verify", *config)
    assert (code, told["whole"]) == (1, False)


@pytest.mark.parametrize(
    ("month", "by", "other"),
    [("2026-01", 1, "2026-02"), ("2026-12", 1, "2027-01"), ("2026-01", -1, "2025-12"), ("2026-03", -15, "2024-12")],
)
def test_months_are_counted_over_the_year(month: str, by: int, other: str) -> None:
    assert next_month(month, by) == other


@pytest.mark.parametrize("sums", [{}, {("", 0): -5}, {("g", 7): 2**53, ("", 0): -(2**53)},
                                  {(f"g{n}", n): n + 1 for n in range(40)}])  # fmt: skip
def test_sums_survive_packing(sums: dict[tuple[str, int], int]) -> None:
    assert unpack_sums(pack_sums(sums)) == sums
