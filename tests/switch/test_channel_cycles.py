"""A call leaves nothing to the collector of cycles: channels and legs name one another, and let go in time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from rater.calls.signals import Direction, Mode, Payer
from rater.ids import SwitchId, TrunkId
from rater.switch import channels
from rater.switch.channels import Channel, Trunks
from rater.switch.leg_table import LegTable

KEPT = 10


@pytest.fixture
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "GONE_KEPT", KEPT)


@pytest.fixture
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _living(kind: type[Any]) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())


def _call(table: LegTable, number: int) -> None:
    """One that asked at the gate, was dialled, answered and hung up."""
    caller = table.channels.add(f"1.{number}", f"PJSIP/1001-{number}", 1)
    called = table.channels.add(f"2.{number}", f"PJSIP/trunk-{number}", 1)
    leg = table.attempt(caller, caller, Payer("1001"), Direction.OUT, "0800", None, 5, 6, Mode.GATE)
    caller.gate = leg
    table.own(leg, called, TrunkId("trunk"), 7)
    table.answered(leg, 8)
    table.end(leg, 9, 16, "ANSWER")
    table.forget(leg.id)
    table.channels.bury(called)
    table.channels.bury(caller)
    table.take_signals()


def test_what_is_long_over_is_freed_without_the_collector(few_are_kept: None, without_the_collector: None) -> None:
    table, before = LegTable(SwitchId("pbx1"), "boot", Trunks(SwitchId("pbx1"), ()), Mode.WATCH), _living(Channel)
    for number in range(200):
        _call(table, number)
    assert _living(Channel) - before == KEPT
    assert gc.collect() == 0


def test_a_leg_that_lives_stays_with_a_channel_that_is_forgotten(few_are_kept: None) -> None:
    table = LegTable(SwitchId("pbx1"), "boot", Trunks(SwitchId("pbx1"), ()), Mode.WATCH)
    caller = table.channels.add("1.1", "PJSIP/1001-1", 1)
    leg = table.attempt(caller, caller, Payer("1001"), Direction.OUT, "0800", None, 5, 6, Mode.GATE)
    caller.gate = leg
    table.channels.bury(caller)
    for number in range(2, 2 + KEPT):
        _call(table, number)
    assert table.channels.find("1.1") is None
    assert caller.gate is leg
