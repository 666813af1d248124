"""A list is gone through once, however long it is: the work is counted, not timed."""

from __future__ import annotations

import pytest

from rater.calls.signals import Attempted, Ended
from rater.switch import resync
from rater.switch.ami_parse import Frame
from rater.switch.listing import Listing
from rater.switch.tracker import Tracker
from tests.switch.support import first_list, known, later_list, new_tracker, row


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Listing]:
    made: list[Listing] = []

    def make(tracker: Tracker, at_ms: int, asked_ns: int) -> Listing:
        made.append(Listing(tracker, at_ms, asked_ns))
        return made[-1]

    monkeypatch.setattr(resync, "Listing", make)
    return made


def strangers(calls: int) -> list[Frame]:
    """Two channels a call, of which nobody knows."""
    rows = []
    for call in range(calls):
        line, trunk = f"7.{2 * call}", f"7.{2 * call + 1}"
        dial = row(
            f"PJSIP/1001-{call:08x}", line, linkedid=line, app="Dial", data="PJSIP/+331@trunk,60", account="ACC1001"
        )
        dialled = row(f"PJSIP/trunk-{call:08x}", trunk, linkedid=line, app="AppDial", data="(Outgoing Line)")
        rows += [dial, dialled]
    return rows


@pytest.mark.parametrize("calls", [100, 10_000])
def test_of_strangers_each_row_is_visited_a_few_times(calls: int, listings: list[Listing]) -> None:
    tracker = new_tracker()
    signals = first_list(tracker, strangers(calls))
    assert sum(isinstance(signal, Attempted) for signal in signals) == calls
    [listing] = listings
    assert calls < listing.visits <= 4 * calls


@pytest.mark.parametrize("calls", [100, 10_000])
def test_of_strangers_in_a_later_list_too(calls: int, listings: list[Listing]) -> None:
    tracker, rows = new_tracker(), strangers(calls)
    assert later_list(tracker, rows, [], 5_000, asked_ns=10) == []
    signals = later_list(tracker, rows, [], 6_000, asked_ns=20)
    assert sum(isinstance(signal, Attempted) for signal in signals) == calls
    assert calls < listings[1].visits <= 4 * calls
    assert listings[0].visits == 0


@pytest.mark.parametrize("legs", [100, 10_000])
def test_of_lost_legs_none_is_sought_among_the_calls_of_others(legs: int, listings: list[Listing]) -> None:
    others = strangers(legs)
    lost = [known(f"b.9.{n}", caller=f"9.{n}", call=f"9.{n}", dialled="+332") for n in range(legs)]
    signals = first_list(new_tracker(), others, lost)
    assert sum(isinstance(signal, Ended) for signal in signals) == legs
    [listing] = listings
    assert listing.visits <= 4 * legs


def test_local_channels_that_nobody_dialled_are_not_sought_among_all(listings: list[Listing]) -> None:
    rows = [
        row(f"Local/{call}@lines-{call:08x};{half}", f"8.{2 * call + half}", linkedid=f"8.{call}", app=app)
        for call in range(2_000)
        for half, app in ((1, "AppDial"), (2, "Dial"))
    ]
    first_list(new_tracker(), rows)
    assert listings[0].visits <= 4 * len(rows)
