"""What is counted of live legs, who pays for them, and which switches are written to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

from rater import legs
from rater.ids import CallId, SwitchId
from tests.limits.site import Site, make
from tests.limits.support import attempt


def seen(site: Site, name: str, **labels: str) -> float | None:
    return site.metrics.registry.get_sample_value(name, labels)


def test_a_scrape_tells_of_legs_and_calls_as_they_are_at_that_moment(tmp_path: Path) -> None:
    site = make(tmp_path)
    of_one_call = [replace(attempt(leg=name), call=CallId("c")) for name in ("a", "b")]
    for wanted in (*of_one_call, attempt(leg="d")):
        site.call(wanted, 60)
    site.call(replace(attempt(leg="e"), switch=SwitchId("pbx2"), call=CallId("c")), 60)
    for expected_legs, expected_calls, over in ((3, 2, "a"), (2, 2, "b"), (1, 1, "d"), (0, 0, "e")):
        assert seen(site, "rater_legs_active", switch="pbx1", direction="out") == expected_legs
        assert seen(site, "rater_legs_active", switch="pbx1", direction="in") == 0
        assert seen(site, "rater_calls_active", switch="pbx1") == expected_calls
        assert seen(site, "rater_calls_active", switch="pbx2") == 1
        site.hang_up(next(leg for leg in site.ends if leg == over))
    assert seen(site, "rater_calls_active", switch="pbx2") == 0


def test_a_switch_that_is_led_no_longer_has_no_legs(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.call(attempt(leg="a"), 60)
    assert seen(site, "rater_calls_active", switch="pbx1") == 1
    site.engine.detach(SwitchId("pbx1"))
    site.metrics.no_switch("pbx1")
    assert seen(site, "rater_calls_active", switch="pbx1") == 0
    assert seen(site, "rater_legs_active", switch="pbx1", direction="out") == 0


def test_who_pays_for_live_legs_is_told_a_few_legs_at_a_time(tmp_path: Path) -> None:
    site = make(tmp_path)
    for number in range(7):
        site.call(attempt(leg=f"leg{number}"), 60)
    with mock.patch.object(legs, "LOOKED_AT", 3):
        parts = list(site.engine.live_accounts())
    assert parts == [{(0, "ACME"): "EUR"}] * 3
    for leg in list(site.ends):
        site.hang_up(leg)
    assert not list(site.engine.live_accounts())


def test_only_a_switch_that_was_told_something_is_written_to(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.engine.flush()
    with (
        mock.patch.object(site.switches["pbx1"], "flush") as written,
        mock.patch.object(site.switches["pbx2"], "flush") as other,
    ):
        site.call(attempt(leg="a"), 60)
        assert written.call_count >= 1
        before = written.call_count
        site.engine.flush()
        assert written.call_count == before
        assert other.call_count == 0


def test_a_switch_that_was_given_up_is_not_written_to(tmp_path: Path) -> None:
    site = make(tmp_path)
    switch = site.switches["pbx1"]
    with mock.patch.object(switch, "flush") as written:
        site.engine.on_signal(attempt(leg="a"))
        site.store.flush()
        assert switch.commands
        site.engine.detach(switch.name)
        site.engine.flush()
        assert written.call_count == 0
