"""What an earlier version stored is read, and written anew in today's form; what a newer one stored is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rater.charging.model import Extend, Settle, Status
from rater.charging.redis_store import RedisStore
from rater.charging.terms import SlicePolicy, Terms
from rater.charging.wire import parse_sequence, sequence
from rater.charging.wire_states import leg_payers, to_account, to_leg
from rater.errors import StoreError
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from tests.servers import RedisServer

SHARD, ACME, LEG, SWITCH = Shard(0), AccountId("ACME"), LegId("a"), SwitchId("pbx1")
NOW_MS, CENT = 1_790_000_000_000, 10_000
QUOTE = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed")
GIFT = sequence((0, 0, 0, 1, 1, "", "", "gift"))
ACCOUNT = sequence((
    1, 500 * CENT, 30 * CENT, 0, 500 * CENT, 0, 0, 0, 1, 0,
    "gift", NOW_MS - 1000, NOW_MS + 10**9, 20, 0, 20, 0, 1, GIFT,
))  # fmt: skip
"""Version 1: five euros and twenty seconds, of which a leg holds thirty cents and all seconds."""
REPLY = sequence((0, 0, 50, 0, 0, 500 * CENT, 30 * CENT))
LIVE = sequence((
    1, 1, REPLY, "ACME", "pbx1", 50, 0, "", 0, 1, NOW_MS, -1, 0, sequence([QUOTE.to_wire()]), b"\x80",
    sequence(("", "line:1")), "gift", NOW_MS - 1000, 0, 1, 1, 0, 20, 20, 0, -1,
    "", 0, 0, 0, 0, 20, 50, 30 * CENT, 0, -1,
))  # fmt: skip


@pytest.fixture
def store(server: RedisServer) -> Iterator[tuple[asyncio.Runner, RedisStore]]:
    with asyncio.Runner() as runner, server.client() as client:
        client.flushall()
        store = RedisStore(server.url, prefix="forms")
        runner.run(store.start())
        keys = store.keys(SHARD)
        client.set(keys.account(ACME), ACCOUNT)
        client.sadd(keys.accounts, ACME)
        client.set(keys.leg(LEG), LIVE)
        client.sadd(keys.legs(SWITCH), LEG)
        yield runner, store
        runner.run(store.close())


def test_what_version_1_stored_goes_on(store: tuple[asyncio.Runner, RedisStore], server: RedisServer) -> None:
    runner, charging = store
    leg = runner.run(charging.leg(SHARD, LEG))
    assert leg is not None
    assert [(p.grant, p.from_s, p.to_s, p.amount) for p in leg.pieces] == [
        ("gift", 0, 20, 20), (None, 20, 50, 30 * CENT),
    ]  # fmt: skip
    assert (leg.next_op, leg.granted_s, leg.leases) == (2, 50, ("line:1",))
    assert leg_payers(LIVE) == (ACME, None)
    head = (SHARD, ACME, LEG, SWITCH, 1, NOW_MS + 45_000)
    terms = Terms(currency="EUR")
    longer = runner.run(charging.ask(Extend(OpId("a:2"), *head, 45, terms, SlicePolicy(30, 60, 2))))
    assert (longer.granted_s, longer.reserved_micro) == (105, 85 * CENT)
    with server.client() as client:
        assert parse_sequence(client.get(charging.keys(SHARD).leg(LEG)))[0] == 2
    again = runner.run(charging.leg(SHARD, LEG))
    assert again is not None
    assert [(p.grant, p.to_s) for p in again.pieces] == [("gift", 20), (None, 105)]
    end = runner.run(charging.ask(Settle(OpId("a:3"), *head, 60, terms, True, b"\x80")))
    assert (end.status, end.amount_micro) == (Status.OK, 40 * CENT)
    account = runner.run(charging.account(SHARD, ACME))
    assert account is not None
    assert (account.balance_micro, account.reserved_micro) == (460 * CENT, 0)
    assert [(g.grant, g.used_s, g.reserved_s) for g in account.grants] == [("gift", 20, 0)]


@pytest.mark.parametrize("key", ["account", "leg"])
def test_what_a_newer_version_stored_is_refused(
    store: tuple[asyncio.Runner, RedisStore], server: RedisServer, key: str
) -> None:
    runner, charging = store
    keys = charging.keys(SHARD)
    name, held = (keys.account(ACME), ACCOUNT) if key == "account" else (keys.leg(LEG), LIVE)
    newer = b"\x03" + held[1:]
    with server.client() as client:
        client.set(name, newer)
        head = (SHARD, ACME, LEG, SWITCH, 1, NOW_MS + 45_000)
        longer = runner.run(charging.ask(Extend(OpId("a:2"), *head, 45, Terms(), SlicePolicy(30, 60, 2))))
        assert longer.status is Status.DENIED
        assert client.get(name) == newer
    with pytest.raises(StoreError, match="form that this version does not know"):
        to_account(ACME, newer) if key == "account" else to_leg(LEG, SHARD, newer)
