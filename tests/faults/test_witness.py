"""Rows 25 and 27 of docs/faults.md: a store that came back as an earlier self is noticed, another one is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import hiredis
import pytest
from redis.exceptions import RedisError

from rater.charging.keys import Keys
from rater.charging.model import Reply, Status
from rater.charging.newest import Newest
from rater.charging.wire import sequence
from rater.charging.witness import Seen, Witness
from rater.ids import LegId, Shard
from tests.contract.desk import Desk
from tests.faults.conftest import Bench
from tests.faults.support import test_server


def _look(bench: Bench, witness: Witness) -> Seen:
    """As the daemon does: again, when the store is away."""
    for _ in range(20):
        try:
            seen: Seen = bench.run(witness.look())
            return seen
        except (RedisError, OSError):
            time.sleep(0.05)
    raise AssertionError("the store does not come back")


def test_25_a_restart_that_lost_nothing_is_a_restart_and_no_loss(bench: Bench) -> None:
    witness = Witness(bench.store)
    bench.desk.credit("10")
    assert _look(bench, witness) == Seen(False)
    bench.desk.credit("20")
    assert _look(bench, witness) == Seen(False)
    bench.server.stop()
    bench.server.start()
    assert _look(bench, witness) == Seen(True)
    assert _look(bench, witness) == Seen(False)


def test_25_a_ledger_that_was_archived_is_no_loss(bench: Bench) -> None:
    witness = Witness(bench.store)
    for _ in range(5):
        bench.desk.credit("1")
    _look(bench, witness)
    keys = bench.store.keys(Shard(0))
    with bench.server.client() as client:
        client.xtrim(keys.ledger, maxlen=0)
        client.hset(keys.ledger_checkpoint, "entries", 5)
    bench.server.stop()
    bench.server.start()
    assert _look(bench, witness) == Seen(True)
    with bench.server.client() as client:
        client.delete(keys.ledger_checkpoint)


def test_27_a_promoted_replica_that_was_behind_is_told(bench: Bench, tmp_path: Path) -> None:
    """The replica's link is cut before the last credit, then it takes the old master's place."""
    replica = test_server(tmp_path / "replica", appendonly="no")
    replica.start()
    witness = Witness(bench.store)
    bench.desk.credit("10")
    try:
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(bench.server.port))
            deadline_s = time.monotonic() + 10
            while not client.exists(bench.store.keys(Shard(0)).ledger):
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            client.replicaof("NO", "ONE")
        bench.desk.credit("20")
        assert _look(bench, witness) == Seen(False)
        bench.proxy.lead_to(replica.port)
        assert _look(bench, witness) == Seen(True, (Shard(0),))
        bench.desk.credit("5")
        assert bench.desk.account().balance_micro == 15_000_000
        bench.desk.check_books()
    finally:
        replica.stop()


# -- what the store acknowledged to this process ------------------------------------------------------------------


def _told(bench: Bench) -> list[tuple[Shard, ...]]:
    told: list[tuple[Shard, ...]] = []
    bench.store.on_lost = told.append
    return told


def _check_books(bench: Bench) -> None:
    """Over another connection, which may have to be made anew."""
    for _ in range(20):
        try:
            return bench.desk.check_books()
        except (RedisError, OSError):
            time.sleep(0.05)
    raise AssertionError("the store does not come back")


def _aof(bench: Bench) -> Path:
    [path] = bench.server.folder.glob("**/*.incr.aof")
    return path


def _back_to(bench: Bench, size: int) -> None:
    """Redis is killed and comes back without what was written behind that place."""
    bench.server.stop(signal.SIGKILL)
    os.truncate(_aof(bench), size)
    bench.server.start()


OPERATIONS: dict[str, Callable[[Desk], Reply]] = {
    "reserve": lambda desk: desk.reserve("new"),
    "answer": lambda desk: desk.answer("live"),
    "extend": lambda desk: desk.extend("live", 20),
    "settle": lambda desk: desk.settle("live", 3),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_25_one_lost_operation_is_told_before_anything_is_done_on_what_is_left(bench: Bench, kind: str) -> None:
    """Whatever the last acknowledged operation was, and though nobody had looked since."""
    desk, told = bench.desk, _told(bench)
    desk.credit("100")
    desk.reserve("live")
    kept = _aof(bench).stat().st_size
    assert OPERATIONS[kind](desk).status is Status.OK
    _back_to(bench, kept)
    order: list[str] = []
    bench.store.on_lost = lambda shards: order.append("told")

    async def next_one() -> None:
        await bench.store.ask(desk.a_reservation("next"))
        order.append("done")

    bench.run(next_one())
    assert order == ["told", "done"]
    assert told == []
    _check_books(bench)


def test_25_cut_off_anywhere_it_is_told_if_and_only_if_something_acknowledged_is_missing(bench: Bench) -> None:
    """At each place in the file at which an operation ended, and in the midst of each."""
    desk, told = bench.desk, _told(bench)
    desk.credit("100")
    ends = []
    for number in range(4):
        desk.reserve(f"leg{number}")
        ends.append(_aof(bench).stat().st_size)
    for end in (ends[3], ends[3] - 1, ends[2] - 1, ends[1] - 1):
        desk.reserve(f"after{end}")
        _back_to(bench, _aof(bench).stat().st_size)
        assert desk.reserve(f"same{end}").status is Status.OK
        assert told == []
        _back_to(bench, end)
        desk.reserve(f"last{end}")
        assert told == [(Shard(0),)]
        told.clear()
        _check_books(bench)


def test_25_a_leg_that_is_over_or_was_repeated_is_no_loss(bench: Bench) -> None:
    desk, told = bench.desk, _told(bench)
    desk.credit("100")
    desk.reserve("leg")
    settlement = desk.a_settlement("leg", 3)
    for request in (settlement, desk.a_reservation("other"), settlement):
        desk.ask(request)
    bench.server.stop()
    bench.server.start()
    assert desk.reserve("next").status is Status.OK
    assert told == []


def test_27_a_replica_that_lacks_one_operation_is_told_with_the_first_connection(
    bench: Bench, tmp_path: Path
) -> None:
    desk, told = bench.desk, _told(bench)
    replica = test_server(tmp_path / "replica", appendonly="no")
    replica.start()
    try:
        desk.credit("100")
        desk.reserve("live")
        with replica.client() as client, bench.server.client() as master:
            client.replicaof("127.0.0.1", str(bench.server.port))
            master.execute_command("WAIT", "1", "10000")
            while not client.exists(bench.store.keys(Shard(0)).leg(LegId("live"))):
                time.sleep(0.05)
            client.replicaof("NO", "ONE")
        bench.proxy.lead_to(replica.port)
        desk.extend("live", 5)
        assert told == [], "it had everything"
        bench.proxy.lead_to(bench.server.port)
        desk.extend("live", 10)
        assert told == [(Shard(0),)], "and the old master lacks what the replica acknowledged"
    finally:
        replica.stop()


def test_25_what_newest_can_tell() -> None:
    """A shard that is served elsewhere says nothing, an account that has left took its legs along, and after a day
    nobody knows any more."""
    now_s = [0.0]
    newest = Newest(lambda shard: Keys("rater", shard), lambda: now_s[0])
    assert newest.acknowledged() == []
    request = Desk(None).a_reservation("l")  # type: ignore[arg-type]
    moved, lived = sequence([77, 2, 1, 3]), sequence([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])

    def asked(*answers: object) -> tuple[Shard, ...]:
        newest.note(Shard(0), 0, request, now_s[0])
        known = newest.acknowledged()
        assert newest.questions(known) == [("GET", "rater:{0}:leg:l"), ("GET", "rater:{0}:account:ACME")]
        return newest.missing(known, answers)

    assert asked(hiredis.ReplyError("MOVED 1 127.0.0.1:1"), hiredis.ReplyError("MOVED 1 127.0.0.1:1")) == ()
    assert asked(None, moved) == ()
    assert asked(sequence([0, 1, b"", 0]), lived) == ()
    assert asked(sequence([0, 2, b"", 0]), None) == ()
    assert asked(None, lived) == (Shard(0),)
    assert newest.acknowledged() == [], "told once"
    assert asked(None, None) == (Shard(0),)
    newest.note(Shard(0), 0, request, 0.0)
    now_s[0] = 24 * 3600.0
    assert newest.acknowledged() == []


def test_25_the_newest_of_each_connection_must_be_there() -> None:
    """Which of two connections answered first nobody knows: the one whose answer was read last may have been
    carried out before."""
    newest = Newest(lambda shard: Keys("rater", shard), lambda: 0.0)
    desk = Desk(None)  # type: ignore[arg-type]
    newest.note(Shard(3), 1, desk.a_reservation("later"), 0.0)
    newest.note(Shard(3), 0, desk.a_reservation("earlier"), 0.0)
    known = newest.acknowledged()
    newest.note(Shard(3), 1, desk.a_reservation("meanwhile"), 0.0)
    stands, lived = sequence([0, 9, b"", 0]), sequence([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert newest.missing(known, [stands, lived, stands, lived]) == ()
    assert newest.missing(known, [None, lived, stands, lived]) == (Shard(3),)
    assert [each.request.leg for each in newest.acknowledged()] == ["meanwhile", "earlier"]
