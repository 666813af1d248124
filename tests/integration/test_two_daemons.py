"""Two daemons, each with a switch of its own, one account: what one learns, the other's legs profit by."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.model import Post, PostKind
from rater.charging.terms import Terms
from rater.config import load_settings
from rater.ids import AccountId, OpId, Shard
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch
from tests.integration.test_daemon import NUMBER, SECRET, Site, write_catalog


@asynccontextmanager
async def two_sites(folder: Path) -> AsyncIterator[tuple[Site, Site]]:
    """The same Redis and catalogue for both; the account POOR has 0.10 at 0.01 a second."""
    redis = EmbeddedRedis(folder / "redis")
    await asyncio.to_thread(redis.start)
    os.environ["TEST_AMI_SECRET"] = SECRET
    write_catalog(folder / "catalog")
    accounts = folder / "catalog/accounts.toml"
    accounts.write_text(accounts.read_text().replace('"0.02"', '"0.10"'))
    (folder / "catalog/switches.toml").write_text("[switch.pbx1]\n[switch.pbx2]\n")
    (folder / "catalog/trunks.toml").write_text('[trunk.carrier]\npattern = "PJSIP/carrier-*"\nmax_calls = 1\n')
    sites = [await _site(folder, redis.url, name) for name in ("pbx1", "pbx2")]
    client = Redis.from_url(redis.url)
    async with sites[0].store() as store:
        snapshot = read_catalog(folder / "catalog")
        await publish(client, store, snapshot, prefix="rater", shards=1, now_ms=1)
    await client.aclose()
    try:
        for site in sites:
            await site.start_daemon()
        yield sites[0], sites[1]
    finally:
        for site in sites:
            await site.stop_daemon()
            await site.switch.stop()
        await asyncio.to_thread(redis.stop)


async def _site(folder: Path, url: str, name: str) -> Site:
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRET)],
        extensions=[Extension(str(line)) for line in range(1001, 1005)],
        gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND,
    )
    await switch.start()
    config = folder / f"{name}.toml"
    config.write_text(
        f"[redis]\nurl = '{url}'\n[metrics]\nport = 0\n[charging]\nfirst_slice_s = 2\nlong_slice_s = 2\n"
        f"[[switch]]\nid = '{name}'\nport = {switch.port}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\nmode = 'gate'\n"
    )
    return Site(load_settings(config), switch, url)


def run(folder: Path, case: Callable[[Site, Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with two_sites(folder) as (one, other):
            await case(one, other)

    asyncio.run(main())


def test_a_top_up_prolongs_the_legs_of_every_daemon(tmp_path: Path) -> None:
    async def case(one: Site, other: Site) -> None:
        calls = [site.switch.place_call("1002", NUMBER, ring_s=0.2, talk_s=7) for site in (one, other)]
        await asyncio.sleep(3)
        async with one.store() as store:
            credit = Post(OpId("top-up"), Shard(0), AccountId("POOR"), PostKind.CREDIT, 10**6, 0, Terms())
            await store.ask(credit)
        for site, call in zip((one, other), calls, strict=True):
            await site.talk(call)
        assert [abs(call.talked_s - 7) < 0.3 for call in calls] == [True, True]
        assert (await one.account("POOR")).charges_micro == 140_000

    run(tmp_path, case)


def test_what_a_leg_of_one_daemon_gives_back_prolongs_the_leg_of_the_other(tmp_path: Path) -> None:
    async def case(one: Site, other: Site) -> None:
        long = one.switch.place_call("1002", NUMBER, ring_s=0.2, talk_s=9)
        short = other.switch.place_call("1002", NUMBER, ring_s=0.2, talk_s=1)
        await asyncio.gather(one.talk(long), other.talk(short))
        assert abs(long.talked_s - 9) < 0.3, "one second of ten was the other's"
        state = await one.account("POOR")
        assert (state.charges_micro, state.reserved_micro) == (100_000, 0)

    run(tmp_path, case)


def test_each_daemon_counts_the_trunk_of_its_own_switch(tmp_path: Path) -> None:
    async def case(one: Site, other: Site) -> None:
        lines = {"1001": one, "1004": other}
        calls = [
            site.switch.place_call(line, NUMBER, ring_s=0.2, talk_s=2)
            for line, site in lines.items()
            for _ in range(2)
        ]
        await asyncio.gather(*(one.talk(call) for call in calls[:2]), *(other.talk(call) for call in calls[2:]))
        talked = [call.talked_s > 0 for call in calls]
        assert (sum(talked[:2]), sum(talked[2:])) == (1, 1), "one call on each"

    run(tmp_path, case)
