"""Rows 25 and 27 of docs/faults.md: a store that came back as an earlier self is noticed, another one is not."""

from __future__ import annotations

import time
from pathlib import Path

from redis.exceptions import RedisError

from rater.charging.witness import Seen, Witness
from rater.ids import Shard
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
