"""The slots of a trunk: exact, idempotent, forced beyond the limit only for those who may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rater.ids import LegId, TrunkId
from rater.limits.slots import TrunkSlots

T1, T2 = TrunkId("t1"), TrunkId("t2")


def take(slots: TrunkSlots, leg: str, most: int | None = 2, *, trunk: TrunkId = T1, forced: bool = False) -> bool:
    return slots.take(trunk, LegId(leg), most, forced=forced)


def test_as_many_legs_pass_as_the_limit_allows_and_a_freed_slot_is_free() -> None:
    slots = TrunkSlots()
    assert [take(slots, leg) for leg in "abc"] == [True, True, False]
    slots.free(LegId("a"))
    slots.free(LegId("a"))
    assert [take(slots, leg) for leg in "cd"] == [True, False]
    assert slots.live(T1) == 2


def test_a_leg_keeps_its_slot_when_it_asks_again_and_changes_trunks_with_it() -> None:
    slots = TrunkSlots()
    assert take(slots, "a", 1)
    assert take(slots, "a", 1)
    assert take(slots, "a", 1, trunk=T2)
    assert (slots.live(T1), slots.live(T2)) == (0, 1)


def test_a_leg_beyond_the_limit_is_counted_only_when_it_is_forced() -> None:
    slots = TrunkSlots()
    assert not take(slots, "a", 0)
    assert slots.live(T1) == 0
    assert not take(slots, "sos", 0, forced=True)
    assert slots.live(T1) == 1
    assert not take(slots, "b", 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.sampled_from([T1, T2])), max_size=60))
def test_the_count_is_that_of_the_legs_that_were_let_in(steps: list[tuple[bool, int, TrunkId]]) -> None:
    slots, where = TrunkSlots(), dict[int, TrunkId]()
    for takes, leg, trunk in steps:
        if not takes:
            slots.free(LegId(str(leg)))
            where.pop(leg, None)
        elif take(slots, str(leg), 3, trunk=trunk):
            where[leg] = trunk
        for each in (T1, T2):
            assert slots.live(each) == sum(at == each for at in where.values()) <= 3
