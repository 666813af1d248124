"""The collector of cycles leaves the catalogue alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rater import interpreter


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_lives_when_a_catalogue_comes_is_not_looked_at_again() -> None:
    catalogue = [[number] for number in range(1000)]
    interpreter.spare_the_collector()
    assert gc.get_freeze_count() > len(catalogue)
    assert gc.get_threshold() == interpreter.COLLECT_AFTER
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


def test_the_collector_does_not_look_at_what_is_old_by_itself() -> None:
    interpreter.spare_the_collector()
    old = [[number] for number in range(100_000)]
    old_again = [[thing] for thing in old]
    full: list[int] = []
    gc.callbacks.append(lambda phase, about: full.append(about["generation"]) if phase == "start" else None)
    try:
        kept = [[number] for number in range(1_000_000)]
    finally:
        gc.callbacks.pop()
    assert old_again and kept and full.count(0) > 100 and full.count(1) > 10 and full.count(2) == 0
