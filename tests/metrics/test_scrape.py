"""Real processes, scraped: what promtool thinks of the exposition, and whether each number is true."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis
from notify.support import Publisher, settings_for
from servers import free_port
from tampering import add_to_balance

from rater.charging.embedded import EmbeddedRedis

from .support import COMMAND, NUMBER, SECRET, Scrape, Site, get, promtool, site


def run(folder: Path, case: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with site(folder) as here:
            await case(here)

    asyncio.run(main())


def lint(text: str) -> None:
    checked = promtool("check", "metrics", given=text)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_promtool_finds_nothing_in_a_daemons_metrics(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        for line in ("1001", "1003"):
            here.switch.place_call(line, NUMBER, ring_s=0.1, talk_s=1)
        seen = await here.until(
            lambda s: s("rater_charged_money_total") is not None and s("rater_reserved_money") == 0
        )
        lint(seen.text)

    run(tmp_path, case)


def test_promtool_finds_nothing_in_a_publishers_metrics(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    port = free_port()
    publisher = Publisher(
        settings_for(server.url, "p", files=tmp_path / "records", metrics_port=port), tmp_path / "publisher.log"
    )
    publisher.start()
    try:
        seen = asyncio.run(_when_ready(port))
        lint(seen.text)
        assert seen("rater_build_info", component="publish") == 1
        assert seen("rater_publish_sink_up", sink="files") == 1
        assert seen("rater_outbox_lag_entries", shard="0", group="files") == 0
    finally:
        publisher.stop()
        server.stop()


def test_promtool_finds_nothing_in_an_audits_file(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        here.switch.place_call("1001", NUMBER, ring_s=0.1, talk_s=1)
        await here.until(lambda s: s("rater_charged_money_total") is not None)
        assert audit(here.folder) == (2, 0)
        with redis.Redis.from_url(here.redis_url) as client:
            add_to_balance(client, "rater:{0}:account:RICH", 1)
        assert audit(here.folder) == (2, 2), "the balance against its totals, and against its ledger"

    run(tmp_path, case)


def audit(folder: Path) -> tuple[float | None, float | None]:
    """Accounts and differences as `rater audit` writes them down."""
    file = folder / "rater.prom"
    done = subprocess.run(
        [*COMMAND, "audit", "--config", str(folder / "rater.toml"), "--metrics-file", str(file)],
        env=os.environ | {"TEST_AMI_SECRET": SECRET}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lint(file.read_text())
    seen = Scrape(file.read_text())
    differences = seen("rater_audit_differences")
    assert done.returncode == (1 if differences else 0), done.stderr
    assert (seen("rater_audit_finished_timestamp_seconds") or 0) > 1.7e9
    return seen("rater_audit_accounts"), differences


async def _when_ready(port: int) -> Scrape:
    for _ in range(300):
        try:
            if get(port, "/readyz")[0] == 200:
                return Scrape(get(port)[1])
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("the publisher did not become ready")


def test_a_quiet_daemon_tells_every_switch_and_that_nothing_goes_on(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        seen = await here.scrape()
        for name in ("rater_ami_up", "rater_leader", "rater_store_up", "rater_catalog_version", "rater_ready"):
            assert seen(name) == 1, name
        for name in (
            "rater_legs_active", "rater_calls_active", "rater_internal_calls_active", "rater_ami_backlog_frames",
            "rater_verdicts_total", "rater_legs_ended_total",
            "rater_ami_reconnects_total", "rater_ami_bad_frames_total", "rater_decision_latency_seconds_count",
        ):  # fmt: skip
            assert seen(name) == 0, name
        offset_s = seen("rater_ami_clock_offset_seconds", switch="pbx1")
        assert offset_s is not None
        assert abs(offset_s) < 60, "the simulated switch runs on this machine's clock"

    run(tmp_path, case)


def test_what_goes_on_is_told_while_it_goes_on(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        talking = here.switch.place_call("1001", NUMBER, ring_s=0.1, talk_s=600)
        here.switch.place_call("1003", NUMBER, ring_s=0.1, talk_s=600)
        seen = await here.until(
            lambda s: (
                (s("rater_reserved_money") or 0) > 0
                and s("rater_legs_active") == 1
                and s("rater_verdicts_total") == 2
            )
        )
        assert seen("rater_legs_active", switch="pbx1", direction="out") == 1
        assert seen("rater_calls_active", switch="pbx1") == 1
        assert seen("rater_verdicts_total", mode="gate", reason="allowed") == 1
        assert seen("rater_verdicts_total", mode="gate", reason="insufficient_credit") == 1
        held = seen("rater_reserved_money", currency="EUR")
        assert held is not None
        assert round(held * 100) in range(4, 61), "slices of 4 s at 0.01 a second"
        assert (seen("rater_decision_latency_seconds_count") or 0) >= 2
        assert 0 < (seen("rater_decision_latency_seconds_sum") or 0) < 60
        assert (seen("rater_ami_frames_total", switch="pbx1") or 0) > 10
        assert seen("rater_ami_lag_seconds", switch="pbx1") is not None
        for script in ("reserve", "answer"):
            await here.until(lambda s, name=script: (s("rater_store_latency_seconds_count", script=name) or 0) > 0)

        talking.hang_up(by_caller=True)
        seen = await here.until(lambda s: s("rater_legs_active") == 0 and s("rater_reserved_money") == 0)
        assert seen("rater_legs_ended_total", disposition="answered", grade="observed") == 1
        async with here.store() as store:
            charged = sum([account.charges_micro for account in await store.accounts(0)])
        assert round((seen("rater_charged_money_total", currency="EUR") or 0) * 10**6) == charged > 0

    run(tmp_path, case)


def test_a_consumer_that_is_behind_is_seen_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        here.switch.place_call("1003", NUMBER, ring_s=0.1, talk_s=1)
        seen = await here.until(lambda s: s("rater_outbox_entries", shard="0") == 1)
        assert seen("rater_outbox_lag_entries") is None, "nobody consumes"
        async with here.store() as store:
            await store.redis.xgroup_create("rater:{0}:outbox", "billing", id="0")
            seen = await here.until(lambda s: s("rater_outbox_lag_entries", group="billing") == 1)
            assert (seen("rater_outbox_lag_seconds", group="billing") or 0) > 0
            [(_, [(entry, _fields)])] = await store.redis.xreadgroup(
                "billing", "one", {"rater:{0}:outbox": ">"}, count=1
            )
            await store.redis.xack("rater:{0}:outbox", "billing", entry)
            await here.until(lambda s: s("rater_outbox_lag_entries", group="billing") == 0)
            await store.redis.xgroup_destroy("rater:{0}:outbox", "billing")
            await here.until(lambda s: s("rater_outbox_lag_seconds") is None)
            await store.redis.xadd("rater:{0}:dead", {"reason": "a test"})
            await here.until(lambda s: s("rater_dead_letters", shard="0") == 1)

    run(tmp_path, case)


def test_a_switch_that_goes_away_is_told_at_once(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        assert get(here.port, "/readyz") == (200, "ok\n")
        await here.switch.stop()
        await here.until(lambda s: s("rater_ami_up", switch="pbx1") == 0 and s("rater_ready") == 0)
        assert get(here.port, "/readyz")[0] == 503
        assert get(here.port, "/healthz") == (200, "ok\n")

    run(tmp_path, case)
