"""What goes into Redis and the outbox: a leg's facts, a reservation as the bytes of its call."""

from __future__ import annotations

from dataclasses import asdict

import hiredis
import msgpack
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.test_session import facts
from rater.charging.keys import Keys
from rater.charging.model import Reserve
from rater.charging.terms import AllowanceTerm, Lease, SlicePolicy, Terms
from rater.charging.wire import reserve_needs, to_call
from rater.events.rated import LegFacts
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason

NOW_MS = 1_790_000_000_000
KEYS = Keys("rater", Shard(0))
QUOTE = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
TERMS = Terms(allowances=(AllowanceTerm(GrantId("p/a"), 600, Cadence(), NOW_MS - 1, NOW_MS + 1),))


def reserve() -> bytes:
    """From the facts to the bytes for the socket."""
    leg, account = LegId("pbx1.t0.1"), AccountId("a")
    request = Reserve(
        OpId(f"{leg}:1"), Shard(0), account, leg, SwitchId("pbx1"), 1, NOW_MS, QUOTE, TERMS,
        (Lease("line:1", 2, Reason.LINE_LIMIT), Lease("account:a", 20, Reason.ACCOUNT_LIMIT)),
        SlicePolicy(), False, facts().pack(),
    )  # fmt: skip
    script, keys, arguments = to_call(request, KEYS, reserve_needs(request))
    return hiredis.pack_command(("EVALSHA", script, len(keys), *keys, *arguments))


def test_facts(benchmark: BenchmarkFixture) -> None:
    one = facts()
    assert LegFacts.unpack(benchmark(one.pack)) == one


def test_facts_by_the_standard_library(benchmark: BenchmarkFixture) -> None:
    one = facts()
    assert benchmark(lambda: msgpack.packb(asdict(one))) == one.pack()


def test_reservation(benchmark: BenchmarkFixture) -> None:
    assert b"pbx1.t0.1:1" in benchmark(reserve)
