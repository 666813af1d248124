"""What a fault of Redis means for calls, and how long taking a busy switch up takes: rows 15, 22, 23, 24, 28."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
import redis
import trustme

from rater.charging.model import Status
from rater.charging.redis_store import RedisStore
from rater.errors import StoreUnavailable
from tests.contract.desk import Desk
from tests.faults.support import CENT, COMMAND, Site, measured, play, test_server, until
from tests.servers import free_port, needs_debians_redis


def test_22_packets_to_redis_vanish_for_two_seconds_and_the_call_goes_on(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        daemon = await here.ready(first_slice_s=6)
        call = here.call(8)
        await asyncio.sleep(3)
        here.proxy.black_hole = True
        start_s = time.monotonic()

        async def noticed() -> bool:
            seen = await daemon.scrape()
            return seen is not None and seen("rater_store_up") == 0

        await until(noticed, within_s=10)
        measured("22 packets to Redis vanish, extensions are due: noticed", time.monotonic() - start_s)
        here.proxy.black_hole = False
        here.proxy.cut()
        await here.over(call)
        assert abs(call.talked_s - 8) < 0.3
        [event] = await here.settled(1)
        assert event["amount_micro"] == 8 * CENT

    play(tmp_path, case)


@needs_debians_redis
def test_22_redis_sleeps_for_two_seconds_under_load_and_each_call_is_charged_once(tmp_path: Path) -> None:
    """DEBUG SLEEP: what was asked meanwhile is asked again, and then carried out twice were it not known again."""

    async def case(here: Site) -> None:
        await here.ready(first_slice_s=6)
        calls = [here.call(5 + number / 10) for number in range(10)]
        await asyncio.sleep(1)
        with here.redis.client() as client:
            start_s = time.monotonic()
            asleep = asyncio.create_task(asyncio.to_thread(client.execute_command, "DEBUG", "SLEEP", "2"))
            await asyncio.sleep(0.5)
            late = here.call(1)
            await asleep
            assert time.monotonic() - start_s >= 2
        await here.over(*calls, late)
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 0), within_s=20)
        measured("22 Redis sleeps for 2 s under 11 calls: all settled", time.monotonic() - start_s)
        for number, call in enumerate(calls):
            assert abs(call.talked_s - (5 + number / 10)) < 0.3, "nobody was cut"
        events = await here.settled(len(here.events()))
        assert len(events) >= 10
        assert len({event["id"] for event in events}) == len(events)

    play(tmp_path, case, **{"enable-debug-command": "local"})


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_23_without_redis_new_calls_go_by_policy_and_live_ones_end_with_their_slice(
    tmp_path: Path, fail: str
) -> None:
    async def case(here: Site) -> None:
        daemon = await here.ready(fail=fail, first_slice_s=5)
        live = here.call(60)
        await asyncio.sleep(1.2)
        await asyncio.to_thread(here.redis.stop, signal.SIGKILL)
        start_s = time.monotonic()

        async def noticed() -> bool:
            seen = await daemon.scrape()
            return seen is not None and seen("rater_ready") == 0

        await until(noticed, within_s=10)
        measured("23 Redis is killed: not ready any more", time.monotonic() - start_s)
        new = here.call(1)
        start_s = time.monotonic()
        await here.over(new)
        assert (new.talked_s > 0) == (fail == "open")
        if fail == "closed":
            measured("23 Redis is away: a new call is refused after", time.monotonic() - start_s)
        await here.over(live)
        assert abs(live.talked_s - 5) < 0.3, "what was paid"
        await asyncio.to_thread(here.redis.start)
        start_s = time.monotonic()
        await daemon.ready()
        measured("23 Redis is back: ready", time.monotonic() - start_s)
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 0))
        events = await here.settled(len(here.events()))
        assert 5 * CENT in [event["amount_micro"] for event in events]
        if fail == "closed":
            assert len(events) == 1
        after = here.call(1)
        await here.over(after)
        assert after.talked_s > 0.9

    play(tmp_path, case)


def test_24_redis_restarts_in_mid_call_and_nobody_notices(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        daemon = await here.ready(first_slice_s=6)
        call = here.call(8)
        await asyncio.sleep(2)
        await asyncio.to_thread(here.redis.stop, signal.SIGKILL)
        await asyncio.to_thread(here.redis.start)
        start_s = time.monotonic()
        await daemon.ready()
        measured("24 Redis was killed and is back: the daemon is ready", time.monotonic() - start_s)
        await here.over(call)
        assert abs(call.talked_s - 8) < 0.3
        [event] = await here.settled(1)
        assert (event["amount_micro"], event["grade"]) == (8 * CENT, "observed")

    play(tmp_path, case)


def test_25_writes_that_the_store_lost_are_told_and_the_legs_compared(tmp_path: Path) -> None:
    """Lost are the settlement of one call and the reservation of another that still talks."""

    async def case(here: Site) -> None:
        daemon = await here.ready(first_slice_s=30)
        ended = here.call(2)
        await asyncio.sleep(1.5)
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 1))
        [path] = here.redis.folder.glob("**/*.incr.aof")
        kept = path.stat().st_size
        talks = here.call(10)
        await here.over(ended)
        await until(lambda: asyncio.to_thread(lambda: len(here.events()) == 1))
        await asyncio.sleep(1.5)  # a look at what the store holds
        await asyncio.to_thread(here.redis.stop, signal.SIGKILL)
        os.truncate(path, kept)
        await asyncio.to_thread(here.redis.start)
        start_s = time.monotonic()

        async def told() -> bool:
            return "lost its last writes" in daemon.log.read_text()

        await until(told, within_s=10)
        measured("25 the store is back without its last writes: told", time.monotonic() - start_s)
        await daemon.ready()
        await here.over(talks)
        events = await here.settled(2)
        assert max(event["duration_s"] for event in events) <= 10
        assert min(event["amount_micro"] for event in events) <= 2 * CENT
        assert talks.talked_s > 9.5, "nobody's call is cut for it"

    play(tmp_path, case)


def test_28_without_memory_new_calls_are_refused_and_then_not(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        await here.ready()
        with here.redis.client() as client:
            client.config_set("maxmemory", 1)
            refused = here.call(1)
            start_s = time.monotonic()
            await here.over(refused)
            measured("28 Redis has no memory: a new call is refused after", time.monotonic() - start_s)
            assert refused.talked_s == 0
            client.config_set("maxmemory", 0)
        await asyncio.sleep(1.5)
        passed = here.call(1)
        await here.over(passed)
        assert passed.talked_s > 0.9
        await until(lambda: asyncio.to_thread(lambda: len(here.events()) > 0))
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 0))
        events = await here.settled(len(here.events()))
        assert sum(event["amount_micro"] for event in events) == CENT

    play(tmp_path, case)


def test_15_two_thousand_live_channels_are_taken_up(tmp_path: Path) -> None:
    """1,000 calls over a trunk are 2,000 channels and 1,000 stored legs."""

    async def case(here: Site) -> None:
        first = await here.ready(first_slice_s=120)
        calls = []
        for number in range(1000):
            calls.append(here.call(300, ring_s=0.5))
            if number % 20 == 19:
                await asyncio.sleep(0.05)
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 1000), within_s=60)
        await asyncio.sleep(1)
        first.end(signal.SIGKILL)
        second = await here.ready(first_slice_s=120)
        leads_s, synced_s = (_logged_s(second.log, word) for word in ("leading", "synchronised"))
        measured("15 1,000 stored legs, 2,000 channels: from leading to synchronised", synced_s - leads_s)
        assert all(call in here.switch.live for call in calls)
        assert here.live_legs() == 1000
        here.switch.hang_up_all()
        events = await here.settled(1000, within_s=60)
        assert {event["grade"] for event in events} == {"observed"}

    play(tmp_path, case)


def _logged_s(log: Path, word: str) -> float:
    """When the first line with that message was written."""
    found = re.search(rf"^(\S+Z|\S+ \S+) \[\w+ *\] {word}\b", log.read_text(), re.MULTILINE)
    assert found is not None, log.read_text()[-4000:]
    return datetime.fromisoformat(found.group(1)).timestamp()


def test_a_wrong_redis_password_ends_the_start_with_a_sentence_and_without_the_secret(tmp_path: Path) -> None:
    server = test_server(tmp_path / "redis")
    server.start()
    try:
        with server.client() as client:
            client.config_set("requirepass", "right")
        config = tmp_path / "rater.toml"
        config.write_text(f"[redis]\nurl = '{server.url}'\npassword = {{ env = 'FAULT_PASSWORD' }}\n")
        ended = subprocess.run(
            [*COMMAND, "serve", "--config", str(config)], env=os.environ | {"FAULT_PASSWORD": "wrong-one"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 1
        assert "Redis" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "wrong-one" not in ended.stdout + ended.stderr
    finally:
        server.stop()


def test_tls_to_redis_with_the_right_authority_only(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    for name, blob in (("ca", authority.cert_pem), ("other", stranger.cert_pem)):
        blob.write_to_path(str(tmp_path / f"{name}.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    port = free_port()
    tls = {
        "tls-port": str(port),
        "tls-cert-file": str(tmp_path / "cert.pem"), "tls-key-file": str(tmp_path / "key.pem"),
        "tls-ca-cert-file": str(tmp_path / "ca.pem"), "tls-auth-clients": "no",
    }  # fmt: skip
    server = test_server(tmp_path / "redis", **tls)
    server.start()

    async def ask(ca: str) -> Status:
        store = RedisStore(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / ca}")
        await store.start()
        try:
            reply = await store.ask(Desk(None).a_posting("gift", "10"))  # type: ignore[arg-type]
        finally:
            await store.close()
        return reply.status

    try:
        assert asyncio.run(ask("ca.pem")) is Status.OK
        with pytest.raises(StoreUnavailable):
            asyncio.run(ask("other.pem"))
    finally:
        server.stop()


def test_23_an_embedded_redis_that_was_killed_is_started_again_with_its_data(tmp_path: Path) -> None:
    config = tmp_path / "rater.toml"
    port = free_port()
    config.write_text(f"[redis]\ndata_dir = 'data'\n[metrics]\nport = {port}\n")
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "serve", "--config", str(config)], stdout=file, stderr=file)
    try:
        path = tmp_path / "data/redis.sock"

        def server_pid() -> int:
            deadline_s = time.monotonic() + 20
            while time.monotonic() < deadline_s:
                try:
                    with redis.Redis(unix_socket_path=str(path)) as client:
                        client.setnx("mark", "kept")
                        assert client.get("mark") == b"kept"
                        return int(client.info("server")["process_id"])
                except redis.exceptions.RedisError:
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.05)
            raise AssertionError(log.read_text())

        first = server_pid()
        with redis.Redis(unix_socket_path=str(path)) as client:
            client.set("before", "1")
        time.sleep(1)
        os.kill(first, signal.SIGKILL)
        start_s = time.monotonic()
        second = server_pid()
        measured("23 the embedded Redis is killed: it serves again", time.monotonic() - start_s)
        assert second != first
        with redis.Redis(unix_socket_path=str(path)) as client:
            assert client.get("before") == b"1"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
