"""What is kept is bounded, and makes room one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rater.kept import Kept


def test_the_oldest_makes_room() -> None:
    kept = Kept(2)
    for key in ("a", "b", "c"):
        kept.put(key, key.upper())
    assert [kept.get(key) for key in "abc"] == [None, "B", "C"]


def test_what_is_put_again_takes_the_place_of_what_was_there() -> None:
    kept = Kept(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        kept.put(key, value)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (3, 2, 2)
    kept.put("c", 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, 2, 4)


@given(st.integers(1, 5), st.lists(st.integers(0, 8), max_size=60))
def test_it_never_grows_and_loses_one_at_a_time(most: int, keys: list[int]) -> None:
    kept = Kept(most)
    for number, key in enumerate(keys):
        before = {other for other in range(9) if kept.get(other) is not None}
        kept.put(key, (key, number))
        after = {other for other in range(9) if kept.get(other) is not None}
        assert kept.get(key) == (key, number)
        assert len(after) == len(kept) <= most
        assert len(before - after) <= 1


def test_nothing_is_left_of_what_was_cleared() -> None:
    kept = Kept(1)
    kept.put("a", 1)
    kept.clear()
    kept.put("b", 2)
    kept.put("c", 3)
    assert (len(kept), kept.get("b"), kept.get("c")) == (1, None, 3)
