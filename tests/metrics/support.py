"""A daemon and a publisher as processes of their own, and what a scrape of them says."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.redis_store import RedisStore
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

ROOT = Path(__file__).parents[2]
SECRET = "open sesame"
NUMBER = "+33123456789"
COMMAND = [sys.executable, "-c", "from rater.cli import main; main()"]
CATALOG = {
    "plans.toml": '[plan.retail]\ncurrency = "EUR"\nzone = "Europe/Paris"\ndial_plan = "e164"\n'
    'deck = "decks/retail.csv"\ndecimals = 6\n',
    "accounts.toml": '[account.RICH]\nplan = "retail"\nmodality = "prepaid"\nopening = "100"\n'
    '[account.EMPTY]\nplan = "retail"\nmodality = "prepaid"\n',
    "trunks.toml": '[trunk.carrier]\nswitch = "pbx1"\npattern = "PJSIP/carrier-*"\n',
    "switches.toml": "[switch.pbx1]\n",
    "lines.csv": "line,account,endpoint,limit\n1001,RICH,1001,2\n1002,RICH,1002,\n1003,EMPTY,1003,\n",
    "decks/retail.csv": "prefix,destination,class,price,per\n33,France,fixed,0.01,1\n",
}


def promtool(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the real one. Where it is missing the test is skipped, in CI it fails."""
    program = shutil.which("promtool")
    if program is None:
        sentence = "promtool is missing: run 'sudo tests/install-lab' (Debian's package is prometheus)."
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return subprocess.run(
        [program, *map(str, arguments)], input=given, capture_output=True, text=True, timeout=120, check=False
    )


def get(port: int, path: str = "/metrics") -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The sum of the samples of this name with these labels; None when there is none."""
        values = [v for n, at, v in self._samples if n == name and labels.items() <= at.items()]
        return sum(values) if values else None


class Site:
    """One daemon process on `port`, its switch in this process."""

    def __init__(self, port: int, switch: SimulatedSwitch, redis_url: str, folder: Path) -> None:
        self.port, self.switch, self.redis_url, self.folder = port, switch, redis_url, folder

    async def scrape(self) -> Scrape:
        return Scrape((await asyncio.to_thread(get, self.port))[1])

    async def until(self, holds: Callable[[Scrape], bool], *, within_s: float = 30) -> Scrape:
        """The first scrape for which it holds; the last one and the log are told when none did."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        while True:
            seen = await self.scrape()
            if holds(seen):
                return seen
            if asyncio.get_running_loop().time() > deadline_s:
                pytest.fail(f"{seen.text}\n{(self.folder / 'serve.log').read_text()[-4000:]}")
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[RedisStore]:
        store = RedisStore(self.redis_url)
        await store.start()
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """`rater serve` as a user runs it, ready; Redis and the switch belong to the test."""
    redis = EmbeddedRedis(folder / "redis")
    await asyncio.to_thread(redis.start)
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRET)],
        extensions=[Extension(str(line)) for line in range(1001, 1004)],
        gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND,
    )
    await switch.start()
    here = Site(free_port(), switch, redis.url, folder)
    await _load_catalog(here)
    process = _serve(here)
    try:
        deadline_s = asyncio.get_running_loop().time() + 30
        while not _answers(here.port):
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert asyncio.get_running_loop().time() < deadline_s
            await asyncio.sleep(0.1)
        await here.until(lambda seen: seen("rater_ready") == 1)
        yield here
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
        await switch.stop()
        await asyncio.to_thread(redis.stop)


async def _load_catalog(here: Site) -> None:
    for name, text in CATALOG.items():
        path = here.folder / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    async with here.store() as store:
        snapshot = read_catalog(here.folder / "catalog")
        await publish(store.redis, store, snapshot, prefix="rater", shards=1, now_ms=1)


def _serve(here: Site) -> subprocess.Popen[bytes]:
    config = here.folder / "rater.toml"
    config.write_text(
        f"[redis]\nurl = '{here.redis_url}'\n[metrics]\nport = {here.port}\n"
        "[charging]\nfirst_slice_s = 4\nlong_slice_s = 4\n"
        f"[[switch]]\nid = 'pbx1'\nport = {here.switch.port}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RATER_")}
    with (here.folder / "serve.log").open("wb") as log:
        return subprocess.Popen(
            [*COMMAND, "serve", "--config", str(config)],
            env=kept | {"TEST_AMI_SECRET": SECRET},
            stdout=log,
            stderr=log,
        )


def _answers(port: int) -> bool:
    try:
        return get(port, "/healthz")[0] == 200
    except OSError:
        return False
