"""Redis silent, restarted, full, damaged: rows 22 to 32 of docs/faults.md, on the store alone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import PostKind, Reply, Request, Status
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Lease
from rater.errors import StoreUnavailable
from rater.verdict import Reason
from tests.contract.desk import CENT, Desk, RedisDriver
from tests.faults.conftest import Bench
from tests.faults.support import fill, loading, measured, test_server
from tests.servers import RedisServer


def _asked_over_a_dead_answer(bench: Bench, request: Request) -> Reply:
    """The server carries the request out, its answer never arrives."""

    async def ask() -> Reply:
        asking = asyncio.create_task(bench.store.ask(request))
        before = bench.proxy.swallowed
        bench.proxy.swallows = True
        while bench.proxy.swallowed == before:  # noqa: ASYNC110  # the proxy knows nobody
            await asyncio.sleep(0.005)
        bench.proxy.swallows = False
        return await asking

    reply: Reply = bench.run(ask())
    return reply


def test_22_what_was_done_and_not_answered_is_answered_alike_by_the_repeat(bench: Bench) -> None:
    desk = bench.desk
    start_s = time.monotonic()
    assert _asked_over_a_dead_answer(bench, desk.a_posting("gift", "10")).repeated
    measured("22 an answer is swallowed: repeated and answered", time.monotonic() - start_s)
    reserved = _asked_over_a_dead_answer(bench, desk.a_reservation("l1"))
    assert (reserved.status, reserved.granted_s, reserved.repeated) == (Status.OK, 30, True)
    assert _asked_over_a_dead_answer(bench, desk.an_extension("l1", 20)).repeated
    assert _asked_over_a_dead_answer(bench, desk.a_settlement("l1", 42)).amount_micro == 42 * CENT
    state = desk.account()
    assert (state.credits_micro, state.charges_micro, state.reserved_micro) == (1000 * CENT, 42 * CENT, 0)
    assert len(desk.entries("rated")) == 1
    desk.check_books()


def test_22_an_answer_cut_off_at_any_byte_is_had_whole_in_the_end(bench: Bench) -> None:
    desk = bench.desk
    desk.credit("100")
    for length in range(0, 32, 2):
        bench.proxy.cuts_after = length
        reply = desk.reserve(f"leg-{length}")
        assert (reply.status, reply.granted_s) == (Status.OK, 30)
        desk.settle(f"leg-{length}", 1)
    assert desk.account().charges_micro == 16 * CENT
    assert len(desk.entries("rated")) == 16
    desk.check_books()


def test_24_scripts_that_the_server_forgot_are_loaded_again(bench: Bench) -> None:
    bench.desk.credit("10")
    with bench.server.client() as client:
        client.script_flush()
    start_s = time.monotonic()
    assert bench.desk.reserve("l1").status is Status.OK
    measured("24 the scripts are flushed: next answer", time.monotonic() - start_s)
    bench.desk.settle("l1", 3)
    bench.desk.check_books()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_24_a_restart_in_the_midst_of_operations_loses_and_doubles_none(bench: Bench, how: signal.Signals) -> None:
    desk = bench.desk
    desk.credit("1000")
    requests = [desk.a_reservation(f"l{number}") for number in range(200)]

    async def restarted() -> list[Reply]:
        asking = [asyncio.create_task(bench.store.ask(request)) for request in requests[:100]]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(bench.server.stop, how)
        asking += [asyncio.create_task(bench.store.ask(request)) for request in requests[100:]]
        await asyncio.to_thread(bench.server.start)
        start_s = time.monotonic()
        replies = await asyncio.gather(*asking)
        measured(
            f"24 {how.name}, the server is back: 200 waiting operations are answered", time.monotonic() - start_s
        )
        return replies

    replies = bench.run(restarted())
    assert {reply.status for reply in replies} == {Status.OK}
    assert desk.account().reserved_micro == sum(reply.granted_s for reply in replies) * CENT
    for number in range(200):
        desk.settle(f"l{number}", 2)
    assert desk.account().charges_micro == 400 * CENT
    desk.check_books()


def test_24_a_server_that_still_loads_is_waited_for(tmp_path: Path) -> None:
    server = test_server(tmp_path / "redis", **{"enable-debug-command": "yes"})
    server.start()
    try:
        with server.client() as client:
            for number in range(4000):
                client.set(f"filler:{number}", number)
        server.stop()
        server.options |= {"key-load-delay": "500", "loading-process-events-interval-bytes": "1024"}
        starting = threading.Thread(target=server.start)
        starting.start()
        seen = _until_loading(server)
        start_s = time.monotonic()

        async def ask() -> Reply:
            store = RedisStore(server.url)
            deadline_s = time.monotonic() + 20
            while True:
                try:
                    await store.start()
                    break
                except StoreUnavailable:
                    assert time.monotonic() < deadline_s
                    await asyncio.sleep(0.05)
            try:
                return await store.ask(Desk(None).a_posting("gift", "10"))  # type: ignore[arg-type]
            finally:
                await store.close()

        assert asyncio.run(ask()).status is Status.OK
        measured("24 loading: answered after", time.monotonic() - start_s)
        starting.join()
        assert seen, "the server did not say that it loads"
    finally:
        server.stop()


def _until_loading(server: RedisServer) -> bool:
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        if loading(server):
            return True
        time.sleep(0.005)
    return False


def _append_only_file(folder: Path) -> Path:
    return max(folder.glob("**/*.aof"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("bytes_lost", [1, 40, 200, 700, 1500])
def test_25_whatever_is_cut_off_the_books_that_are_left_are_in_balance(bench: Bench, bytes_lost: int) -> None:
    """A script's writes are one transaction of the file, there as a whole or not at all. A settlement that was lost
    is made again by its repeat, and charged once."""
    desk = bench.desk
    desk.credit("10")
    settlements = []
    for number in range(6):
        desk.reserve(f"l{number}")
        settlements.append(desk.a_settlement(f"l{number}", 5))
        desk.ask(settlements[-1])
    bench.server.stop()
    path = _append_only_file(bench.server.folder)
    os.truncate(path, path.stat().st_size - bytes_lost)
    bench.server.start()
    desk.check_books()
    for settlement in settlements:
        assert desk.ask(settlement).status in (Status.OK, Status.GONE)
    desk.check_books()
    rated = [event["id"] for event in desk.entries("rated")]
    assert len(rated) == len(set(rated))
    state = desk.account()
    assert state.reserved_micro == 0
    assert state.charges_micro == 5 * CENT * len(rated)


def test_26_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    server.start()
    with asyncio.Runner() as runner:
        store = RedisStore(server.url)
        runner.run(store.start())
        desk = Desk(RedisDriver(runner.get_loop(), store))
        desk.credit("10")
        for number in range(20):
            desk.reserve(f"l{number}")
            desk.settle(f"l{number}", 1)
        desk.driver.close()  # type: ignore[attr-defined]
    server.stop()
    path = _append_only_file(tmp_path / "data")
    data = path.read_bytes()
    command = data.index(b"\r\n*", len(data) // 2) + 2  # damage inside a value would not be noticed: no checksum
    path.write_bytes(data[:command] + b"X" * 64 + data[command + 64 :])
    with pytest.raises(StoreUnavailable) as refused:
        EmbeddedRedis(tmp_path / "data").start()
    assert "redis-check-aof" in f"{refused.value} {refused.value.hint}"


def test_28_out_of_memory_nothing_is_half_done_and_it_goes_on_by_itself(bench: Bench) -> None:
    """What lives is settled meanwhile, since that takes no memory; all else waits."""
    desk = bench.desk
    desk.credit("10")
    desk.reserve("before")
    with bench.server.client() as client:
        client.config_set("maxmemory", 1)
        requests = [desk.a_reservation("l1"), desk.a_settlement("before", 7), desk.a_posting("gift", "5")]

        async def refused_then_not() -> list[Reply]:
            asking = [asyncio.create_task(bench.store.ask(request)) for request in requests]
            await asyncio.sleep(0.4)
            assert [task.done() for task in asking] == [False, True, False]
            held = await bench.store.leg(requests[0].shard, requests[0].leg)  # type: ignore[union-attr]
            assert held is None
            client.config_set("maxmemory", 0)
            start_s = time.monotonic()
            replies = await asyncio.gather(*asking)
            measured("28 memory is free again: answered", time.monotonic() - start_s)
            return replies

        assert {reply.status for reply in bench.run(refused_then_not())} == {Status.OK}
    assert desk.account().charges_micro == 7 * CENT
    desk.check_books()


def test_28_a_full_disk_refuses_and_a_free_one_goes_on(small_disk: Path) -> None:
    server = test_server(small_disk / "redis", appendfsync="everysec", **{"auto-aof-rewrite-percentage": "0"})
    server.start()
    try:
        with asyncio.Runner() as runner:
            store = RedisStore(server.url)
            runner.run(store.start())
            desk = Desk(RedisDriver(runner.get_loop(), store))
            desk.credit("10")
            filler = small_disk / "filler"
            fill(filler)
            with server.client() as client:
                _until_refused(client)
            desk_request = desk.a_reservation("l1")

            async def refused_then_not() -> Reply:
                asking = asyncio.create_task(store.ask(desk_request))
                await asyncio.sleep(0.5)
                assert not asking.done()
                filler.unlink()
                start_s = time.monotonic()
                reply = await asking
                measured("28 the disk has room again: answered", time.monotonic() - start_s)
                return reply

            assert runner.run(refused_then_not()).status is Status.OK
            desk.settle("l1", 3)
            assert desk.account().charges_micro == 3 * CENT
            desk.check_books()
            desk.driver.close()  # type: ignore[attr-defined]
    finally:
        server.stop()


def _until_refused(client: object) -> None:
    """The server learns of the full disk with its next write, and says so within its next second."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            client.set("filler", "x" * 5000)  # type: ignore[attr-defined]
        except Exception as error:
            assert "MISCONF" in str(error)
            return
        time.sleep(0.05)
    pytest.fail("the full disk was not noticed")


def test_30_an_answer_that_nobody_waits_for_any_more_goes_to_nobody_else(bench: Bench) -> None:
    """Every other one of 400 questions is given up while it is under way; each other gets its own answer."""
    desk = bench.desk
    desk.credit("1000")
    requests = [desk.a_posting(f"gift-{number}", str(number + 1)) for number in range(400)]

    async def ask() -> list[Reply | BaseException]:
        asking = [asyncio.create_task(bench.store.ask(request)) for request in requests]
        await asyncio.sleep(0)
        for number, task in enumerate(asking):
            if number % 2:
                task.cancel()
                if number % 20 == 1:
                    await asyncio.sleep(0)
        return await asyncio.gather(*asking, return_exceptions=True)

    replies = bench.run(ask())
    balances = [reply.balance_micro for reply in replies if isinstance(reply, Reply)]
    assert len(balances) >= 200
    sums = [100 * CENT * (1000 + (n + 1) * (n + 2) // 2) for n in range(400)]
    expected = [sums[n] for n, reply in enumerate(replies) if isinstance(reply, Reply)]
    assert balances == expected
    desk.check_books()


def test_31_of_a_thousand_calls_of_one_account_at_once_exactly_the_limit_passes(bench: Bench) -> None:
    desk = bench.desk
    desk.credit("2000")
    most = Lease("account:ACME", 100, Reason.ACCOUNT_LIMIT)
    requests = [desk.a_reservation(f"l{number}", leases=(most,)) for number in range(1000)]

    async def all_at_once() -> list[Reply]:
        start_s = time.monotonic()
        replies = await asyncio.gather(*(bench.store.ask(request) for request in requests))
        measured("31 1,000 calls of one account at once: decided", time.monotonic() - start_s)
        return replies

    replies = bench.run(all_at_once())
    passed = [request.leg for request, reply in zip(requests, replies, strict=True) if reply.status is Status.OK]
    assert len(passed) == 100
    assert {reply.reason for reply in replies if reply.status is not Status.OK} == {Reason.ACCOUNT_LIMIT}
    desk.check_books()
    for leg in passed:
        desk.settle(leg, 7)
    assert desk.account().balance_micro == (200_000 - 700) * CENT
    assert desk.live("account:ACME") == 0
    desk.check_books()


def test_31_a_thousand_calls_of_an_account_with_little_money_never_have_more_than_that(bench: Bench) -> None:
    desk = bench.desk
    desk.credit("5")
    requests = [desk.a_reservation(f"l{number}") for number in range(1000)]

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(*(bench.store.ask(request) for request in requests))

    replies = bench.run(all_at_once())
    granted = {q.leg: r.granted_s for q, r in zip(requests, replies, strict=True) if r.status is Status.OK}
    assert 0 < sum(granted.values()) <= 500
    assert desk.account().reserved_micro == sum(granted.values()) * CENT
    for leg, seconds in granted.items():
        desk.settle(leg, seconds + 10)
    state = desk.account()
    assert state.charges_micro == sum(granted.values()) * CENT
    assert state.balance_micro >= 0
    desk.check_books()


def test_32_top_ups_in_the_midst_of_slices_and_settlements_sum_up_exactly(bench: Bench) -> None:
    """50 legs live through three operations each while 150 credits and 50 debits arrive, in whatever order."""
    desk = bench.desk
    desk.credit("100")

    async def live(leg: str) -> int:
        assert (await bench.store.ask(desk.a_reservation(leg))).status is Status.OK
        await bench.store.ask(desk.an_extension(leg, 20))
        return (await bench.store.ask(desk.a_settlement(leg, 25))).amount_micro

    async def all_at_once() -> tuple[int, int]:
        legs = [asyncio.create_task(live(f"l{number}")) for number in range(50)]
        moved = []
        for number in range(200):
            kind = PostKind.DEBIT if number % 4 == 3 else PostKind.CREDIT
            moved.append(asyncio.create_task(bench.store.ask(desk.a_posting(f"p{number}", "0.37", kind))))
            await asyncio.sleep(0)
        replies = await asyncio.gather(*moved)
        done = [1 if number % 4 < 3 else -1 for number, reply in enumerate(replies) if reply.status is Status.OK]
        return sum(await asyncio.gather(*legs)), sum(done) * 37 * CENT

    charged_micro, moved_micro = bench.run(all_at_once())
    assert 0 < charged_micro <= 50 * 25 * CENT
    assert desk.account().balance_micro == 10_000 * CENT + moved_micro - charged_micro
    desk.check_books()
