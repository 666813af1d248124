"""The collector of cycles leaves the catalogue alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rater import interpreter


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_lives_when_a_catalogue_comes_is_not_looked_at_again() -> None:
    catalogue = [[number] for number in range(1000)]
    interpreter.spare_the_collector()
    assert gc.get_freeze_count() > len(catalogue)
    young = [[number] for number in range(10)]
    watched = gc.get_objects()
    assert any(thing is young for thing in watched)
    assert not any(thing is catalogue for thing in watched)


def test_old_cycles_are_looked_for_when_hardly_anybody_talks_and_once_a_day_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: looked.append(1))
    hour, day, many = interpreter.ALL_AFTER_S, interpreter.ALL_AT_LATEST_S, interpreter.QUIET_LEGS + 1
    collector = interpreter.Collector(1000.0)
    assert not collector.step(1000.0 + hour - 1, 0)
    assert not collector.step(1000.0 + hour, many)
    assert collector.step(1000.0 + hour + 1, many - 1)
    assert not collector.step(1000.0 + 2 * hour, 0)
    assert not collector.step(1000.0 + hour + day, many)
    assert collector.step(1000.0 + hour + 1 + day, many)
    assert len(looked) == 2


def test_more_objects_than_legs_account_for_are_looked_at_at_once() -> None:
    interpreter.spare_the_collector()
    collector = interpreter.Collector(1000.0)
    rings = interpreter.LEFT_OVER
    for _ in range(rings):
        one, other = [], []  # type: list[object], list[object]
        one.append(other)
        other.append(one)
    legs = 2 * rings // interpreter.OF_A_LEG
    assert not collector.step(1001.0, legs), "so many may be the legs' own"
    assert collector.step(1001.0, 0)
    assert gc.get_count()[0] < 1000, "they are gone"
    assert not collector.step(1002.0, 0)


def test_what_a_catalogue_is_made_of_while_it_is_read_is_not_looked_at() -> None:
    interpreter.spare_the_collector()
    collector = interpreter.Collector(1000.0)
    with interpreter.uncollected():
        read = [[number] for number in range(2 * interpreter.LEFT_OVER)]
        assert not collector.step(1001.0, 0)
    assert not collector.step(1001.0, 0)
    assert gc.get_freeze_count() > len(read)
    assert not gc.isenabled()


def test_the_collector_does_not_look_by_itself() -> None:
    interpreter.spare_the_collector()
    looked: list[int] = []
    gc.callbacks.append(lambda phase, about: looked.append(about["generation"]))
    try:
        kept = [[number] for number in range(1_000_000)]
    finally:
        gc.callbacks.pop()
    assert kept and not looked
