"""What calls cost a Redis server, in bytes; see `redis_side`. Instructions take valgrind: by hand."""

from __future__ import annotations

from bench.load.servers import redis_binary
from bench.micro.redis_side import KINDS, measure, parts_of


def test_each_request_of_a_call_is_answered_and_kept(size: int) -> None:
    calls = min(size, 2000)
    binary = redis_binary()
    together = measure(calls, binary)["all"]
    apart = measure(calls, binary, apart=True)
    assert together.requests == 4 * calls
    assert set(apart) == set(KINDS)
    assert all(cost.requests == calls for cost in apart.values())
    assert sum(cost.sent for cost in apart.values()) == together.sent
    assert all(cost.kept > 0 and cost.sent > cost.answered > 0 for cost in apart.values())


def test_all_bytes_of_a_request_are_told_by_its_words(size: int) -> None:
    calls = min(size, 200)
    told = list(parts_of(calls))
    kinds = tuple(line.partition(" ")[0] for line in told)
    assert kinds == KINDS
