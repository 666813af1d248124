"""The whole daemon on one machine: embedded Redis, a switch that speaks AMI over TCP, real time.

Correctness against a real Asterisk is shown in tests/lab; here everything runs as an ordinary user.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest
from redis.asyncio import Redis

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import Post, PostKind
from rater.charging.records import AccountState
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.commands.common import open_store
from rater.config import Settings, load_settings
from rater.daemon import serve
from rater.ids import AccountId, OpId, Shard
from rater.switch.simulator.call import Call, Outcome
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

SECRET = "open sesame"
PLANS = """
[plan.retail]
currency = "EUR"
zone = "Europe/Paris"
dial_plan = "e164"
deck = "decks/retail.csv"
decimals = 6

[plan.bundle]
currency = "EUR"
zone = "Europe/Paris"
dial_plan = "e164"
deck = "decks/retail.csv"
decimals = 6
when_exhausted = "credit"
[[plan.bundle.allowance]]
id = "seconds"
classes = ["fixed"]
seconds = 2
"""
ACCOUNTS = """
[account.RICH]
plan = "retail"
modality = "prepaid"
opening = "100"
[account.POOR]
plan = "retail"
modality = "prepaid"
opening = "0.02"
[account.EMPTY]
plan = "retail"
modality = "prepaid"
[account.BUNDLE]
plan = "bundle"
modality = "allowance"
opening = "1"
"""
LINES = "line,account,endpoint,limit\n1001,RICH,1001,2\n1002,POOR,1002,\n1003,EMPTY,1003,\n1004,BUNDLE,1004,\n"
DECK = "prefix,destination,class,price,per\n33,France,fixed,0.01,1\n"
NUMBER = "+33123456789"


def write_catalog(folder: Path) -> Path:
    (folder / "decks").mkdir(parents=True)
    (folder / "plans.toml").write_text(PLANS)
    (folder / "accounts.toml").write_text(ACCOUNTS)
    (folder / "trunks.toml").write_text('[trunk.carrier]\nswitch = "pbx1"\npattern = "PJSIP/carrier-*"\n')
    (folder / "switches.toml").write_text("[switch.pbx1]\n")
    (folder / "lines.csv").write_text(LINES)
    (folder / "decks/retail.csv").write_text(DECK)
    return folder


class Site:
    """A running site: what a test does to it and sees of it."""

    def __init__(self, settings: Settings, switch: SimulatedSwitch, url: str) -> None:
        self.settings, self.switch, self.url = settings, switch, url
        self._daemon: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def start_daemon(self) -> None:
        ready, self._stop = asyncio.Event(), asyncio.Event()
        self._daemon = asyncio.create_task(serve(self.settings, stop=self._stop, ready=ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([waiting, self._daemon], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if self._daemon.done():
            await self._daemon
        assert waiting.done(), "the daemon did not become ready"

    async def stop_daemon(self) -> None:
        self._stop.set()
        if self._daemon is not None:
            await asyncio.wait_for(self._daemon, 20)

    async def talk(self, *calls: Call) -> None:
        """Until these calls are over and settled."""
        for call in calls:
            while call in self.switch.live:  # noqa: ASYNC110  # the switch has one listener only
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)

    async def account(self, name: str) -> AccountState:
        async with self.store() as store:
            state = await store.account(Shard(0), AccountId(name))
        assert state is not None
        assert state.balance_micro == (
            state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
        )
        return state

    @asynccontextmanager
    async def store(self) -> AsyncIterator[RedisStore]:
        store = RedisStore(self.url)
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    async def events(self, kind: bytes = b"rated") -> list[dict[str, object]]:
        client = Redis.from_url(self.url)
        entries = await client.xrange("rater:{0}:outbox")
        await client.aclose()
        return [msgpack.unpackb(e[b"f"]) | msgpack.unpackb(e[b"r"]) for _, e in entries if e[b"k"] == kind]


@asynccontextmanager
async def site(folder: Path, *, mode: str) -> AsyncIterator[Site]:
    redis = EmbeddedRedis(folder / "redis")
    await asyncio.to_thread(redis.start)
    try:
        async with site_on(folder, f"url = '{redis.url}'\n", mode=mode) as here:
            yield here
    finally:
        await asyncio.to_thread(redis.stop)


@asynccontextmanager
async def site_on(folder: Path, redis: str, *, mode: str, slice_s: int = 4, more: str = "") -> AsyncIterator[Site]:
    """A site on that Redis, named as in the settings. `more`: further settings."""
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRET)],
        extensions=[Extension(str(line)) for line in range(1001, 1005)],
        gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND if mode == "gate" else Gating.NONE,
    )
    await switch.start()
    os.environ["TEST_AMI_SECRET"] = SECRET
    config = folder / "rater.toml"
    config.write_text(
        f"[redis]\n{redis}[metrics]\nport = 0\n"
        f"[charging]\nfirst_slice_s = {slice_s}\nlong_slice_s = {slice_s}\n{more}"
        f"[[switch]]\nid = 'pbx1'\nport = {switch.port}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\nmode = '{mode}'\n"
    )
    settings = load_settings(config)
    assert settings.redis.url is not None
    here = Site(settings, switch, settings.redis.url)
    async with open_store(settings) as store:
        snapshot = read_catalog(write_catalog(folder / "catalog"))
        await publish(store.redis, store, snapshot, prefix="rater", shards=settings.redis.shards, now_ms=1)
    try:
        await here.start_daemon()
        yield here
    finally:
        await here.stop_daemon()
        await switch.stop()


def run(folder: Path, mode: str, case: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site(folder, mode=mode) as here:
            await case(here)

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_a_call_is_charged_for_what_it_talked(tmp_path: Path, mode: str) -> None:
    async def case(here: Site) -> None:
        await here.talk(here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=5))
        [event] = await here.events()
        assert (event["amount_micro"], event["duration_s"], event["grade"]) == (50_000, 5, "observed")
        assert (event["line"], event["number"], event["trunk"]) == ("1001", "33123456789", "carrier")
        state = await here.account("RICH")
        assert (state.balance_micro, state.reserved_micro) == (99_950_000, 0)

    run(tmp_path, mode, case)


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_a_call_ends_with_its_money_and_one_without_money_does_not_begin(tmp_path: Path, mode: str) -> None:
    async def case(here: Site) -> None:
        calls = [here.switch.place_call(line, NUMBER, ring_s=0.3, talk_s=20) for line in ("1002", "1003")]
        await here.talk(*calls)
        assert abs(calls[0].talked_s - 2) < 0.25
        assert calls[1].talked_s == 0
        state = await here.account("POOR")
        assert (state.balance_micro, state.reserved_micro) == (0, 0)
        [event] = await here.events()
        assert (event["cut"], event["amount_micro"]) == ("credit", 20_000)
        [denial] = await here.events(b"denied")
        assert (denial["account"], denial["reason"]) == ("EMPTY", 51)

    run(tmp_path, mode, case)


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_a_line_limit_lets_exactly_two_pass_and_the_slots_are_free_again(tmp_path: Path, mode: str) -> None:
    async def case(here: Site) -> None:
        for _ in range(2):
            calls = [here.switch.place_call("1001", NUMBER, ring_s=0.5, talk_s=2) for _ in range(10)]
            await here.talk(*calls)
            assert sum(call.talked_s > 0 for call in calls) == 2
        assert len(await here.events(b"denied")) == 16

    run(tmp_path, mode, case)


def test_unanswered_calls_cost_nothing_and_release_everything(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        outcomes = [Outcome.BUSY, Outcome.NO_ANSWER, Outcome.FAILED]
        for outcome in outcomes:
            await here.talk(here.switch.place_call("1001", NUMBER, ring_s=0.5, outcome=outcome))
        state = await here.account("RICH")
        assert (state.balance_micro, state.reserved_micro) == (100_000_000, 0)
        events = await here.events()
        assert [e["amount_micro"] for e in events] == [0, 0, 0]
        assert [e["disposition"] for e in events] == ["busy", "no_answer", "failed"]

    run(tmp_path, "gate", case)


def test_seconds_of_an_allowance_and_money_share_one_call(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        await here.talk(here.switch.place_call("1004", NUMBER, ring_s=0.3, talk_s=5))
        [event] = await here.events()
        assert event["pieces"] == [["bundle/seconds", 0, 2, 2], ["", 2, 5, 30_000]]

    run(tmp_path, "gate", case)


def test_credit_in_mid_call_prolongs_it(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        call = here.switch.place_call("1002", NUMBER, ring_s=0.3, talk_s=4)
        await asyncio.sleep(1.5)
        async with here.store() as store:
            credit = Post(OpId("top-up"), Shard(0), AccountId("POOR"), PostKind.CREDIT, 10**6, 0, Terms())
            await store.ask(credit)
        await here.talk(call)
        assert abs(call.talked_s - 4) < 0.25
        assert (await here.account("POOR")).charges_micro == 40_000

    run(tmp_path, "gate", case)


def test_emergency_passes_without_money(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        call = here.switch.place_call("1003", "112", ring_s=0.3, talk_s=1)
        await here.talk(call)
        assert call.talked_s > 0.9
        [event] = await here.events()
        assert (event["amount_micro"], event["emergency"]) == (0, True)

    run(tmp_path, "gate", case)


def test_a_daemon_that_comes_back_takes_up_the_live_call_and_charges_it_once(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        call = here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=9)
        await asyncio.sleep(1.5)
        await here.stop_daemon()
        await asyncio.sleep(0.5)
        await here.start_daemon()
        await here.talk(call)
        assert abs(call.talked_s - 9) < 0.25, "the call went on and was extended"
        [event] = await here.events()
        assert (event["amount_micro"], event["grade"]) == (90_000, "observed")
        assert (await here.account("RICH")).reserved_micro == 0

    run(tmp_path, "gate", case)


def test_a_call_that_ended_while_the_daemon_was_away_is_settled_once(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        call = here.switch.place_call("1001", NUMBER, ring_s=0.3, talk_s=60)
        await asyncio.sleep(1.5)
        await here.stop_daemon()
        await here.talk(call)
        assert 3.7 < call.talked_s < 8.3, "the switch ended it with its paid slice"
        await here.start_daemon()
        await asyncio.sleep(0.5)
        [event] = await here.events()
        assert event["grade"] == "estimated"
        state = await here.account("RICH")
        assert state.reserved_micro == 0
        assert state.charges_micro == event["amount_micro"] <= call.talked_s * 10_000 + 5_000

    run(tmp_path, "gate", case)
