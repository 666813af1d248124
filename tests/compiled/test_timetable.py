"""Both timetables say the same, whatever is put in and whenever they are asked."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rater_native.timetable import Timetable

from rater import timetable_reference

STEPS = st.lists(st.one_of(st.integers(-50, 50), st.tuples(st.integers(-50, 50))), max_size=200)
"""A number: somebody is due then. A tuple: that is the time now."""


@given(STEPS)
def test_both_give_out_the_same_in_the_same_order(steps: list[int | tuple[int]]) -> None:
    compiled, readable = Timetable(), timetable_reference.Timetable()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            compiled.put(step, number, f"leg {number}")
            readable.put(step, number, f"leg {number}")
        else:
            assert compiled.pop(*step) == readable.pop(*step)
        assert compiled.next_ms() == readable.next_ms()
        assert len(compiled) == len(readable)
    left = [compiled.pop(50) for _ in range(len(steps))]
    assert left == [readable.pop(50) for _ in range(len(steps))]
    assert not len(compiled)


def test_many_come_out_by_their_moment_and_nobody_is_kept() -> None:
    who = "".join(["a ", "leg"])
    before = sys.getrefcount(who)
    table = Timetable()
    for number in range(5000):
        table.put(number * 7919 % 5003, number, who)
    due = [table.pop(10_000) for _ in range(3000)]
    moments = [found[0] for found in due if found is not None]
    assert moments == sorted(number * 7919 % 5003 for number in range(5000))[:3000]
    del due, table
    gc.collect()
    assert sys.getrefcount(who) == before


def test_somebody_is_woken() -> None:
    with pytest.raises(TypeError):
        Timetable().put(1, 1, None)  # type: ignore[arg-type]
