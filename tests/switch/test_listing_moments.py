"""When the channels of several switches are listed."""

from __future__ import annotations

from itertools import pairwise

from rater.ids import SwitchId
from rater.switch.adapter import moment_of


def test_switches_are_listed_at_different_moments_and_each_always_at_its_own() -> None:
    moments = [moment_of(SwitchId(f"pbx{number}")) for number in range(1, 9)]
    assert moments == [moment_of(SwitchId(f"pbx{number}")) for number in range(1, 9)]
    assert all(0 <= moment < 1 for moment in moments)
    in_order = sorted(moments)
    assert min(later - sooner for sooner, later in pairwise(in_order)) > 1 / 600
    assert in_order[-1] - in_order[0] > 0.5
