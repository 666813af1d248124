"""A capture of real calls, replayed through the same core, yields the same legs at the same prices."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .ami import Ami
from .servers import RATER, Child, run_rater
from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
PREFIX = {"gate": "", "watch": "w"}
SAME = (
    "leg", "call", "account", "line", "trunk", "direction", "number", "destination", "answered_at", "ended_at",
    "duration_s", "billed_s", "amount_micro", "disposition", "cause", "grade", "cut",
)  # fmt: skip


def compared(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({key: event[key] for key in SAME} for event in events), key=lambda event: str(event["leg"]))


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_capture_replays_to_the_same_legs_and_prices(
    new_site: Callable[..., Site], phones: Telephony, ami: Ami, tmp_path: Path, mode: str
) -> None:
    site = new_site(mode=mode)
    capture = tmp_path / "capture"
    recorder = Child(
        "rater record",
        [*RATER, "record", "--config", str(site.config), "--switch", "lab", "--out", str(capture), "--json"],
        tmp_path / "record.log",
    )
    recorder.until(lambda: ami.command("manager show connected").count("rater") == 2, 10)
    time.sleep(0.5)
    number = PREFIX[mode] + NUMBER

    phones.trunk(ring_ms=200)
    talking = phones.caller(1001, number, talk_ms=3000)
    allowance = phones.caller(1003, number, talk_ms=12_000)
    cut = phones.caller(1002, number)
    phones.caller(1004, number).wait(10)
    for caller in (talking, cut, allowance):
        caller.wait(20)
    phones.refusing_trunk(486)
    phones.caller(1001, number).wait(10)
    site.settled()
    recorder.stop(signal.SIGINT)

    replayed = run_rater("replay", str(capture), "--catalog", str(site.folder / "catalog"))
    assert replayed["bad_frames"] == 0
    assert not replayed["unfinished"]
    assert compared(replayed["legs"]) == compared([event.to_dict() for event in site.events()])
    assert [denial["reason"] for denial in replayed["denied"]] == [denial.reason for denial in site.denials()]
