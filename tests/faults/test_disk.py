"""Row 28 of docs/faults.md where every write is synced (`appendfsync always`, as the embedded server does): on a
full disk such a Redis ends, rather than answer what is not on the disk."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import Reply, Status
from rater.charging.redis_store import RedisStore
from rater.errors import StoreUnavailable
from rater.ids import AccountId, Shard
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch
from tests.contract.desk import CENT, Desk, RedisDriver
from tests.faults.support import (
    CATALOG,
    COMMAND,
    NUMBER,
    SECRET,
    Daemon,
    environment,
    fill,
    measured,
    start_daemon,
    test_server,
    until,
)
from tests.servers import free_port

LEGS = 400


def test_28_a_disk_that_fills_up_under_load_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk, so that it falls into the midst of the traffic."""
    server = test_server(tmp_path / "redis", appendfsync="always", **{"auto-aof-rewrite-percentage": "0"})
    server.start()
    with asyncio.Runner() as runner:
        store = RedisStore(server.url)
        runner.run(store.start())
        desk = Desk(RedisDriver(runner.get_loop(), store))
        desk.credit("100000")
        [file] = server.folder.glob("**/*.incr.aof")
        begun = file.stat().st_size
        desk.reserve("first")
        each = file.stat().st_size - begun
        server.limit_files(file.stat().st_size + LEGS * each // 2)

        async def filled_up_then_not() -> tuple[int, list[Reply]]:
            asking = [asyncio.create_task(store.ask(desk.a_reservation(f"l{n}"))) for n in range(LEGS)]
            assert server.process is not None
            assert await asyncio.to_thread(server.process.wait, 10) == 1, "it ends rather than lie"
            await asyncio.sleep(0.3)
            answered = sum(task.done() for task in asking)
            start_s = time.monotonic()
            await asyncio.to_thread(server.start)
            replies = await asyncio.gather(*asking)
            measured("28 Redis ended on a full disk and is back: all are answered", time.monotonic() - start_s)
            return answered, replies

        answered, replies = runner.run(filled_up_then_not())
        assert answered < LEGS
        assert {reply.status for reply in replies} == {Status.OK}
        assert desk.account().reserved_micro == sum(reply.granted_s for reply in replies) * CENT + 30 * CENT
        for number in range(LEGS):
            desk.settle(f"l{number}", 2)
        desk.settle("first", 1)
        assert desk.account().charges_micro == (2 * LEGS + 1) * CENT
        desk.check_books()
        desk.driver.close()  # type: ignore[attr-defined]
    server.stop()


def test_28_on_a_disk_that_is_full_already_the_start_says_so(small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    config = small_disk.parent / "rater.toml"
    config.write_text(f"[redis]\ndata_dir = '{small_disk / 'data'}'\n")
    ended = subprocess.run(
        [*COMMAND, "serve", "--config", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "is full" in ended.stderr
    assert "Make room" in ended.stderr
    assert "Traceback" not in ended.stderr
    server = EmbeddedRedis(small_disk / "data")
    with pytest.raises(StoreUnavailable, match="is full"):
        server.start()
    filler.unlink()
    server.start()
    server.stop()


def test_28_an_embedded_redis_on_a_full_disk_refuses_calls_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    asyncio.run(_full_in_mid_call(small_disk))


async def _full_in_mid_call(disk: Path) -> None:
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRET)], extensions=[Extension("1001")], gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND,
    )  # fmt: skip
    await switch.start()
    config, log, port = disk.parent / "rater.toml", disk.parent / "serve.log", free_port()
    config.write_text(
        f"[redis]\ndata_dir = '{disk / 'data'}'\n[metrics]\nport = {port}\n[charging]\nfirst_slice_s = 30\n"
        f"[[switch]]\nid = 'pbx1'\nport = {switch.port}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\nfail = 'closed'\n"
    )
    process = await asyncio.to_thread(start_daemon, config, log, environment())
    daemon = Daemon(process, port, log)
    try:
        await until(lambda: _serves(disk / "data/redis.sock"), within_s=20)
        store = RedisStore(f"unix://{disk / 'data/redis.sock'}")
        await store.start()
        await _publish(store, disk.parent / "catalog")
        await daemon.ready()
        live = switch.place_call("1001", NUMBER, ring_s=0.2, talk_s=12)
        await asyncio.sleep(1.5)
        filler = disk / "filler"
        fill(filler)
        calls = [live]
        # What is left of the last page takes a few writes more.
        for _ in range(20):
            calls.append(switch.place_call("1001", NUMBER, ring_s=0.1, talk_s=0.3))
            start_s = time.monotonic()
            await asyncio.wait_for(switch.finished(calls[-1]), 10)
            if calls[-1].talked_s == 0:
                break
        measured("28 the embedded Redis' disk is full: a new call is refused after", time.monotonic() - start_s)
        assert calls[-1].talked_s == 0
        await until(lambda: asyncio.to_thread(lambda: "had ended" in log.read_text()), within_s=10)
        filler.unlink()
        start_s = time.monotonic()
        await daemon.ready()
        measured("28 the embedded Redis' disk has room again: ready", time.monotonic() - start_s)
        calls.append(switch.place_call("1001", NUMBER, ring_s=0.2, talk_s=1))
        for call in (live, calls[-1]):
            await asyncio.wait_for(switch.finished(call), 30)
        assert abs(live.talked_s - 12) < 0.3, "nobody's call is cut for it"
        assert calls[-1].talked_s > 0.9

        async def settled() -> bool:
            return not await store.legs(Shard(0))

        await until(settled, within_s=20)
        state = await store.account(Shard(0), AccountId("RICH"))
        assert state is not None
        due_s = sum(max(1, round(call.talked_s)) for call in calls if call.talked_s > 0)
        assert state.charges_micro == due_s * CENT
        assert (state.reserved_micro, state.balance_micro) == (0, state.opening_micro - state.charges_micro)
        await store.close()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        await switch.stop()


async def _serves(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


async def _publish(store: RedisStore, folder: Path) -> None:
    for name, text in CATALOG.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    await publish(store.redis, store, read_catalog(folder), prefix="rater", shards=1, now_ms=1)
