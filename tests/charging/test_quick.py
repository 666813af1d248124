"""The short way of a charging operation (lua/quick.lua) stores and answers the very same as the long one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from rater.charging.keys import Keys
from rater.charging.model import (
    Answer,
    ExpireGrant,
    Extend,
    Post,
    PostGrant,
    PostKind,
    Request,
    Reserve,
    Settle,
    Status,
)
from rater.charging.scripts import library
from rater.charging.terms import (
    AllowanceTerm,
    Consumption,
    GrantSpec,
    Lease,
    Resource,
    SlicePolicy,
    Terms,
    Threshold,
    ThresholdKind,
    Tier,
)
from rater.charging.wire import OtherNeeds, from_reply, needs_of, to_call
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Segment
from rater.verdict import Reason
from tests.servers import DEBIAN, RedisServer, needs_debians_redis

pytestmark = needs_debians_redis
SHARD, SWITCH = Shard(0), SwitchId("pbx1")
NOON_MS, DAY_MS = 1_790_000_000_000, 86_400_000
BOTH = {"short": b"local KEPT = {taken = 0, ", "long": b"local KEPT = false and {"}
TAKEN = b"""
redis.register_function('short_taken', function() return KEPT.taken end)
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """Knows every function twice, with its short way and without; and how often that was taken to its end."""
    server = RedisServer(DEBIAN, Path(tmp_path_factory.mktemp("redis"))).start()
    name, source = library()
    with server.client() as client:
        for way, kept in BOTH.items():
            text = source.replace(name.encode(), way.encode()).replace(b"local KEPT = {", kept)
            if way == "short":
                for first in (b"local numbers = to_bytes(", b"if number then\n    call("):
                    assert first in text
                    text = text.replace(first, b"KEPT.taken = KEPT.taken + 1 " + first)
                text += TAKEN
            client.execute_command("FUNCTION", "LOAD", text)
        yield client
    server.destroy()


class Pair:
    """Two shards that are asked the same and must not come to differ."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._keys = {way: Keys(way, SHARD) for way in BOTH}
        self._needs: dict[str, bytes] = {}
        client.flushdb()

    def ask(self, request: Request) -> bytes:
        leg = getattr(request, "leg", "")
        needs = self._needs.get(leg, needs_of(None, ()))
        if isinstance(request, Reserve):
            needs = self._needs[leg] = needs_of(None, (lease.scope for lease in request.leases))
        replies = []
        for way, keys in self._keys.items():
            script, names, arguments = to_call(request, keys, needs)
            replies.append(self._client.execute_command("FCALL", f"{way}_{script}", len(names), *names, *arguments))
        assert replies[0] == replies[1]
        assert self._everything("short") == self._everything("long")
        return bytes(replies[0])

    def _everything(self, way: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        prefix = self._keys[way].tag
        for name in sorted(self._client.keys(f"{way}:*")):
            key, kind = name.decode(), self._client.type(name)
            of = key.removeprefix(prefix)
            if kind == b"string":
                found[of] = self._client.get(name)
                found[f"{of} expires"] = self._client.pttl(name) > 0
            elif kind == b"set":
                found[of] = self._client.smembers(name)
            elif kind == b"zset":
                found[of] = self._client.zrange(name, 0, -1, withscores=True)
            else:
                assert kind == b"stream"
                found[of] = [fields for _, fields in self._client.xrange(name)]
        return found


CADENCES = st.sampled_from(
    [Cadence(), Cadence(), Cadence(), Cadence(0, 30, 6), Cadence(5, 60, 60), Cadence(0, 1, 60)]
)
QUOTES = [
    Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed"),
    Quote((Segment(0, 60, 700_000, 7), Segment(120, 6, 50_001, 7)), "EUR", "mobile", connect_micro=70_000),
    Quote((Segment(0, 1, 0, 1),), "EUR", "fixed"),
    Quote((Segment(0, 1, 3333, 1),), "EUR", "fixed", free_s=40, horizon_s=400),
]
AMOUNTS = st.sampled_from([60_000, 60_000, 60_000, 6000, 700, 90, 20])
MOMENTS_S = st.sampled_from([-3600, -1, 0, 0, 90, 600])


@st.composite
def allowances(draw: st.DrawFn) -> tuple[AllowanceTerm, ...]:
    terms = []
    for n in range(draw(st.integers(0, 3))):
        until_ms = NOON_MS + draw(st.sampled_from([86_400, 86_400, 1000, 200])) * 1000
        next_ms = draw(st.sampled_from([0, until_ms + DAY_MS]))
        terms.append(
            AllowanceTerm(
                GrantId(f"plan/a{n}"), draw(AMOUNTS), draw(CADENCES), NOON_MS - DAY_MS, until_ms,
                draw(st.sampled_from(Tier)), draw(st.integers(0, 2)), next_ms,
            )
        )  # fmt: skip
    return tuple(terms)


THRESHOLDS = (
    Threshold("low", ThresholdKind.MONEY_BELOW, 5_000_000),
    Threshold("high", ThresholdKind.MONEY_ABOVE, 5_000_000),
    Threshold("half", ThresholdKind.ALLOWANCE_PERCENT, 50, GrantId("plan/a0")),
)
TERMS = st.builds(
    Terms, floor_micro=st.sampled_from([0, -20_000_000]), use_money=st.booleans() | st.just(True),
    allowances=allowances(), thresholds=st.sampled_from([(), THRESHOLDS]), currency=st.just("EUR"),
    shadow=st.sampled_from([False, False, False, True]),
    seconds_order=st.sampled_from(Consumption), money_order=st.sampled_from(Consumption),
)  # fmt: skip


@st.composite
def grants(draw: st.DrawFn) -> GrantSpec:
    resource = draw(st.sampled_from(Resource))
    blocks = draw(st.integers(0, 9)) == 9
    amount = 0 if blocks else draw(AMOUNTS) * (1 if resource is Resource.SECONDS else 10_000)
    from_ms = NOON_MS + draw(MOMENTS_S) * 1000
    classes = draw(st.sampled_from([(), (), ("fixed",), ("mobile",)]))
    return GrantSpec(
        GrantId(f"g{draw(st.integers(0, 5))}"), resource, amount, from_ms, from_ms + draw(AMOUNTS) * 1000,
        draw(st.integers(0, 2)), classes=classes, also=("mobile",) if classes == ("fixed",) else (),
        cadence=draw(CADENCES) if resource is Resource.SECONDS else Cadence(), blocks=blocks,
    )  # fmt: skip


def play(pair: Pair, data: st.DataObject) -> None:
    terms = [data.draw(TERMS), data.draw(TERMS)]
    slices = SlicePolicy(*data.draw(st.sampled_from([(30, 60, 2), (30, 60, 2), (60, 600, 30), (10, 10, 1)])))
    now_ms, numbers, granted = NOON_MS, dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    live: set[str] = set()
    account = AccountId("ACME")
    leases = (Lease("line:1", 3, Reason.LINE_LIMIT), Lease("account:ACME", 2, Reason.ACCOUNT_LIMIT))
    for n in range(data.draw(st.integers(10, 30))):
        now_ms += data.draw(st.sampled_from([20_000, 0, 500, 55_000, 55_000, 130_000]))
        leg = data.draw(st.sampled_from("aabc"))
        kind = data.draw(st.sampled_from("eeeeeas" if leg in live else "rrrrrrs"))
        if data.draw(st.integers(0, 9)) == 9:
            kind = data.draw(st.sampled_from("reascgx"))
        held = terms[data.draw(st.integers(0, 9)) == 9]
        if kind in "reas":
            numbers[leg] = max(1, numbers[leg] + data.draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 1, 0, -1])))
        elapsed_s = max(0, granted[leg] - data.draw(st.sampled_from([5, 5, 5, 0, 40])))
        head = (OpId(f"{leg}:{numbers[leg]}"), SHARD, account, LegId(leg), SWITCH, 1, now_ms)
        request: Request
        if kind == "r":
            quote = data.draw(st.sampled_from([QUOTES[0], QUOTES[0], *QUOTES]))
            taken = leases if data.draw(st.booleans()) else ()
            request = Reserve(*head, quote, held, taken, slices, data.draw(st.integers(0, 9)) == 9, b"\x80")
        elif kind == "e":
            request = Extend(*head, elapsed_s, held, slices, data.draw(st.sampled_from([0, now_ms])))
        elif kind == "a":
            request = Answer(*head, now_ms - 5, b"\x81\xa1a\x01")
        elif kind == "s":
            duration_s = data.draw(st.sampled_from([None, 0, elapsed_s, elapsed_s + 3]))
            request = Settle(*head, duration_s, held, data.draw(st.booleans()), b"\x80")
        elif kind == "c":
            amount = data.draw(AMOUNTS) * 10_000
            request = Post(OpId(f"c{n}"), SHARD, account, PostKind.CREDIT, amount, now_ms, held)
        elif kind == "g":
            request = PostGrant(OpId(f"g{n}"), SHARD, account, data.draw(grants()), now_ms)
        else:
            request = ExpireGrant(OpId(f"x{n}"), SHARD, account, GrantId("plan/a0"), now_ms)
        try:
            reply = from_reply(pair.ask(request))
        except OtherNeeds:
            continue
        granted[leg] = reply.granted_s if kind in "rea" else granted[leg]
        if kind in "rs" and reply.status is Status.OK:
            (live.add if kind == "r" else live.discard)(leg)


def test_the_short_way_stores_and_answers_the_same(client: Redis) -> None:
    taken = [0]

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def same(data: st.DataObject) -> None:
        pair = Pair(client)
        for n in range(data.draw(st.integers(0, 3))):
            spec = data.draw(grants())
            pair.ask(PostGrant(OpId(f"first{n}"), SHARD, AccountId("ACME"), spec, NOON_MS))
        opening = data.draw(AMOUNTS) * 10_000
        pair.ask(Post(OpId("o"), SHARD, AccountId("ACME"), PostKind.OPENING, opening, NOON_MS, Terms()))
        play(pair, data)
        taken[0] = int(client.execute_command("FCALL", "short_taken", 0))

    same()
    assert taken[0] > 100, "the short way was hardly taken"


def _reserve(leg: str, leases: tuple[Lease, ...], *, exempt: bool = False) -> Reserve:
    head = (OpId(f"{leg}:1"), SHARD, AccountId("ACME"), LegId(leg), SWITCH, 1, NOON_MS)
    return Reserve(*head, QUOTES[0], Terms(currency="EUR"), leases, SlicePolicy(30, 60, 2), exempt, b"\x80")


def test_limits_hold_by_the_short_way_when_no_other_leg_draws_on_the_account(client: Redis) -> None:
    """Then all lease sets are asked for at once: one may be there all the same; a limit of none needs none."""
    pair = Pair(client)
    pair.ask(Post(OpId("o"), SHARD, AccountId("ACME"), PostKind.OPENING, 10**8, NOON_MS, Terms()))
    one, two = (Lease(scope, 1, Reason.LINE_LIMIT) for scope in ("line:1", "line:2"))
    none = Lease("account:ACME", 0, Reason.ACCOUNT_LIMIT)
    assert from_reply(pair.ask(_reserve("a", (one, two)))).status is Status.OK
    head = (OpId("a:2"), SHARD, AccountId("ACME"), LegId("a"), SWITCH, 1, NOON_MS)
    settle = Settle(*head, 0, Terms(), False, b"\x80")
    assert from_reply(pair.ask(settle)).status is Status.OK

    before = int(client.execute_command("FCALL", "short_taken", 0))
    assert from_reply(pair.ask(_reserve("b", (one, none)))).reason is Reason.ACCOUNT_LIMIT
    assert from_reply(pair.ask(_reserve("c", (one,), exempt=True))).status is Status.OK
    assert from_reply(pair.ask(_reserve("d", (two, one)))).reason is Reason.LINE_LIMIT
    assert int(client.execute_command("FCALL", "short_taken", 0)) == before
    free = Lease("line:3", 1, Reason.LINE_LIMIT)
    assert from_reply(pair.ask(_reserve("e", (two, free)))).status is Status.OK
    assert int(client.execute_command("FCALL", "short_taken", 0)) == before + 1
