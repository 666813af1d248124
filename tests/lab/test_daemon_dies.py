"""The daemon is killed in mid-call: the switch ends the call with its money, and the books are closed later."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .sipp import Sipp, Telephony
from .site import LEASE_S, Site

NUMBER = "551133334444"
EXACT_S = 0.25
SLICE_S = 5


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site(first_slice_s=SLICE_S, long_slice_s=SLICE_S)


def killed_in_mid_call(site: Site, caller: Sipp, after_s: float) -> None:
    (call,) = caller.until_answered()
    assert call.answered_s is not None
    time.sleep(max(0.0, call.answered_s + after_s - time.time()))
    site.kill_daemon()


def test_leg_ends_with_its_paid_slice_and_is_settled_once_on_restart(site: Site, phones: Telephony) -> None:
    trunk = phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER)
    killed_in_mid_call(site, caller, 1.0)
    (call,) = caller.wait(20)
    assert call.was_cut
    assert call.talked_s == pytest.approx(SLICE_S, abs=EXACT_S)
    (leg,) = trunk.calls()
    assert leg.talked_s == pytest.approx(SLICE_S, abs=EXACT_S)
    (stored,) = site.legs()
    assert stored.granted_s == SLICE_S

    site.start_daemon()
    site.settled(LEASE_S + 7)
    (event,) = site.events()
    assert event.grade in ("estimated", "reconciled")
    assert 1_000_000 <= event.amount_micro <= SLICE_S * 1_000_000
    assert site.account("rich").balance_micro == 1_000_000_000 - event.amount_micro

    site.stop_daemon()
    site.start_daemon()
    time.sleep(1)
    assert len(site.events()) == 1, "a second restart settles nothing again"
    site.check_books()


def test_daemon_started_again_in_mid_call_goes_on_with_it(new_site: Callable[..., Site], phones: Telephony) -> None:
    long_slice_s = 12
    site = new_site(first_slice_s=long_slice_s, long_slice_s=long_slice_s)
    phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER, talk_ms=(long_slice_s + 4) * 1000)
    killed_in_mid_call(site, caller, 1.0)
    site.start_daemon()
    (call,) = caller.wait(40)
    assert not call.was_cut, "the slice was not extended by the new daemon"
    site.settled()
    (event,) = site.events()
    assert (event.duration_s, event.amount_micro) == (long_slice_s + 4, (long_slice_s + 4) * 1_000_000)
    assert event.grade == "observed"
    assert site.account("rich").balance_micro == 1_000_000_000 - event.amount_micro


def test_killed_while_it_rings_holds_nothing_back(site: Site, phones: Telephony) -> None:
    """The call that was answered meanwhile is charged; the one that came to nothing is not."""
    trunk = phones.trunk(ring_ms=1500)
    caller = phones.caller(1001, NUMBER)
    trunk.until(lambda calls: bool(calls), 5, "the INVITE")
    site.until(lambda: any(leg.granted_s for leg in site.legs()), 3, "the reservation")
    site.kill_daemon()
    (call,) = caller.wait(20)
    assert call.status == 200
    assert call.was_cut, "nobody moved the caller's timer to the leg"
    assert call.talked_s <= SLICE_S + EXACT_S, "never longer than what was reserved"
    site.start_daemon()
    site.settled(LEASE_S + 7)
    assert len(site.events()) <= 1


def test_books_are_exact_after_a_kill_with_five_legs(new_site: Callable[..., Site], phones: Telephony) -> None:
    site = new_site(first_slice_s=2, long_slice_s=2)
    phones.trunk(ring_ms=0)
    caller = phones.caller(1006, [NUMBER] * 5, rate=1000)
    caller.until_answered(5)
    time.sleep(1.0)
    site.kill_daemon()
    calls = caller.wait(30)
    assert all(call.was_cut for call in calls)
    site.start_daemon()
    site.settled(LEASE_S + 7)
    assert len(site.events()) == 5
    assert site.account("shared").balance_micro >= 0
