"""Daemons that die, stop, are paused and succeed each other: rows 20, 21, 33, 38, 43, 45 of docs/faults.md."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from random import Random

from tests.faults.support import CENT, Site, measured, play, until


def test_20_killed_idle_it_is_ready_again(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        first = await here.ready()
        first.end(signal.SIGKILL)
        start_s = time.monotonic()
        await here.ready()
        measured("20 killed idle, a new one is started: ready", time.monotonic() - start_s)
        await here.over(here.call(1))
        [event] = await here.settled(1)
        assert event["amount_micro"] == CENT

    play(tmp_path, case)


def test_20_killed_in_mid_call_it_takes_the_call_up_and_charges_it_once(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        first = await here.ready()
        call = here.call(11)
        await asyncio.sleep(1.2)
        first.end(signal.SIGKILL)
        await here.ready()
        await here.over(call)
        assert abs(call.talked_s - 11) < 0.3, "the call went on and was extended"
        [event] = await here.settled(1)
        assert (event["amount_micro"], event["grade"]) == (11 * CENT, "observed")

    play(tmp_path, case)


def test_20_killed_again_and_again_under_load_the_books_are_exact(tmp_path: Path) -> None:
    """Calls begin, are extended and end all the time, so that the kills fall anywhere in that."""

    async def case(here: Site) -> None:
        random = Random(20)
        calls = []
        for _ in range(3):
            daemon = await here.ready(first_slice_s=2)
            for _ in range(25):
                calls.append(here.call(random.uniform(0.2, 4), ring_s=random.uniform(0.05, 0.3)))
                await asyncio.sleep(random.uniform(0, 0.05))
            daemon.end(signal.SIGKILL)
        await here.ready(first_slice_s=2)
        await here.over(*calls)
        await until(lambda: asyncio.to_thread(lambda: here.live_legs() == 0), within_s=20)
        events = await here.settled(len(here.events()))
        true_s = sum(call.talked_s + 0.5 for call in calls if call.talked_s > 0)
        assert 0 < sum(event["duration_s"] for event in events) <= true_s + len(events) / 2
        assert len(events) <= len(calls)

    play(tmp_path, case)


def test_21_killed_between_the_debit_and_its_answer_there_is_one_event(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        first = await here.ready()
        call = here.call(1)
        await asyncio.sleep(0.7)
        here.proxy.swallows = True
        await here.over(call)
        await until(lambda: asyncio.to_thread(lambda: len(here.events()) == 1), within_s=5)
        first.end(signal.SIGKILL)
        here.proxy.swallows = False
        await here.ready()
        [event] = await here.settled(1)
        assert event["amount_micro"] == CENT
        assert here.proxy.swallowed > 0

    play(tmp_path, case)


def test_7_a_wake_message_that_is_no_text_wakes_nobody_and_ends_nothing(tmp_path: Path) -> None:
    """Whoever may publish may publish anything. The daemon listens on, on the same connection."""

    async def case(here: Site) -> None:
        daemon = await here.ready()
        with here.redis.client() as redis:
            for data in (b"\xff\xfe\x00", b"", b"RICH\xc3", b"x" * 100_000, "RICH\u2028".encode()):
                assert redis.publish("rater:{0}:wake", data) == 1
                assert redis.publish("rater:control", data) == 1
            call = here.call(1)
            await here.over(call)
            await here.settled(1)
            assert redis.publish("rater:{0}:wake", b"RICH") == 1
        assert daemon.process.poll() is None
        log = daemon.log.read_text()
        assert "control connection lost" not in log
        assert "Traceback" not in log

    play(tmp_path, case)


def test_33_a_leader_that_slept_through_its_lease_changes_nothing_when_it_wakes(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        first = await here.ready()
        old = here.leader()
        second = await here.standby()
        call = here.call(10)
        await asyncio.sleep(1.2)
        first.process.send_signal(signal.SIGSTOP)
        start_s = time.monotonic()
        await second.ready(within_s=20)
        measured("33 the leader is paused: the standby is ready", time.monotonic() - start_s)
        new = here.leader()
        assert new != old
        first.process.send_signal(signal.SIGCONT)
        await here.over(call)
        assert abs(call.talked_s - 10) < 0.5
        [event] = await here.settled(1)
        assert event["amount_micro"] == 10 * CENT
        assert here.leader() == new
        seen = await first.scrape()
        assert seen is not None
        assert seen("rater_leader") == 0, "it noticed"
        assert first.process.poll() is None

    play(tmp_path, case)


def test_33_a_standby_leads_within_five_seconds_of_the_leaders_death(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        first = await here.ready()
        second = await here.standby()
        old = here.leader()
        call = here.call(9)
        await asyncio.sleep(1.2)
        first.end(signal.SIGKILL)
        start_s = time.monotonic()
        await until(lambda: asyncio.to_thread(lambda: here.leader() != old), within_s=20, every_s=0.02)
        lead_s = time.monotonic() - start_s
        await second.ready()
        measured("33 the leader is killed: the standby leads", lead_s)
        measured("33 the leader is killed: the standby is ready", time.monotonic() - start_s)
        assert lead_s < 5
        await here.over(call)
        [event] = await here.settled(1)
        assert abs(call.talked_s - 9) < 0.5
        assert event["amount_micro"] == 9 * CENT

    play(tmp_path, case)


def test_34_the_leadership_is_forgotten_in_mid_call_and_one_leads_again(tmp_path: Path) -> None:
    """By Redis, of a switch that two daemons stand ready for: whoever of them leads next, nothing is done twice."""

    async def case(here: Site) -> None:
        await here.ready()
        await here.standby()
        call = here.call(9)
        await asyncio.sleep(1.2)
        old, before = here.leader(), here.epoch()
        start_s = time.monotonic()
        here.forget_leader()

        def is_led() -> bool:
            """By who led, or by another, who is told from it by its epoch once it has seen the shards'."""
            return here.leader() == old or here.epoch() > before

        await until(lambda: asyncio.to_thread(is_led), within_s=20, every_s=0.02)
        measured("34 the leadership is forgotten: one leads", time.monotonic() - start_s)
        await here.over(call)
        assert abs(call.talked_s - 9) < 0.5
        [event] = await here.settled(1)
        assert event["amount_micro"] == 9 * CENT

    play(tmp_path, case)


def test_38_new_prices_in_mid_call_are_for_the_next_one(tmp_path: Path) -> None:
    async def case(here: Site) -> None:
        daemon = await here.ready()
        old = here.call(3)
        await asyncio.sleep(1)
        await here.publish(price="0.05")

        async def new_version() -> bool:
            return "version=2" in daemon.log.read_text()

        start_s = time.monotonic()
        await until(new_version)
        measured("38 a catalogue is published: in force", time.monotonic() - start_s)
        new = here.call(1)
        await here.over(old, new)
        await until(lambda: asyncio.to_thread(lambda: len(here.events()) == 2))
        amounts = {event["duration_s"]: event["amount_micro"] for event in here.events()}
        assert amounts == {3: 3 * CENT, 1: 5 * CENT}

    play(tmp_path, case)


def test_43_with_nowhere_to_log_to_it_charges_on(tmp_path: Path) -> None:
    """/dev/full fails every write as a full disk does."""

    async def case(here: Site) -> None:
        daemon = await here.ready(log_to="/dev/full")
        here.switch.drop_clients()  # so that there is something to log
        await asyncio.sleep(0.5)
        await daemon.ready()
        await here.over(here.call(1))
        [event] = await here.settled(1)
        assert event["amount_micro"] == CENT

    play(tmp_path, case)


def test_45_told_to_stop_under_load_it_hands_over(tmp_path: Path) -> None:
    calls = 40

    async def case(here: Site) -> None:
        first = await here.ready()
        second = await here.standby()
        placed = [here.call(6, ring_s=0.1 + number / 40) for number in range(calls)]
        await asyncio.sleep(1.5)
        old = here.leader()
        start_s = time.monotonic()
        first.process.send_signal(signal.SIGTERM)
        await until(lambda: asyncio.to_thread(lambda: here.leader() != old), within_s=10, every_s=0.01)
        measured("45 SIGTERM with 40 calls: another leads", time.monotonic() - start_s)
        await second.ready()
        measured("45 SIGTERM with 40 calls: it is ready", time.monotonic() - start_s)
        assert await asyncio.to_thread(first.process.wait, 10) == 0
        measured("45 SIGTERM with 40 calls: the process has ended", time.monotonic() - start_s)
        await here.over(*placed)
        events = await here.settled(calls)
        assert all(abs(call.talked_s - 6) < 0.5 for call in placed), "nobody was cut"
        assert sum(event["amount_micro"] for event in events) == calls * 6 * CENT

    play(tmp_path, case)
