"""The collector of cycles leaves the catalogue alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rater import daemon


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_lives_when_a_catalogue_comes_is_not_looked_at_again() -> None:
    catalogue = [[number] for number in range(1000)]
    daemon.spare_the_collector()
    assert gc.get_freeze_count() > len(catalogue)
    assert gc.get_threshold() == daemon.COLLECT_AFTER
    young = [[number] for number in range(10)]
    watched = gc.get_objects()
    assert any(thing is young for thing in watched)
    assert not any(thing is catalogue for thing in watched)
