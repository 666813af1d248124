"""Calls end when their money does: at the second by sipp's clock, to the micro in the books."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
PREFIX = {"gate": "", "watch": "w"}
EXACT_S = 0.25
SHORT_SLICE_S = 2
"""The least that a call is given while there is money."""


@pytest.mark.parametrize(("mode", "ring_ms"), [("gate", 100), ("gate", 3000), ("watch", 100), ("watch", 3000)])
def test_credit_for_four_seconds_cuts_four_seconds_after_the_answer(
    new_site: Callable[..., Site], phones: Telephony, mode: str, ring_ms: int
) -> None:
    """Ringing costs nothing, however long."""
    site = new_site(mode=mode)
    trunk = phones.trunk(ring_ms=ring_ms)
    (call,) = phones.caller(1002, PREFIX[mode] + NUMBER).wait(20)
    assert call.was_cut
    assert call.talked_s == pytest.approx(4.0, abs=EXACT_S)
    (leg,) = trunk.calls()
    assert leg.talked_s == pytest.approx(4.0, abs=EXACT_S)
    site.settled()
    (event,) = site.events()
    assert (event.amount_micro, event.duration_s, event.cut) == (4_000_000, 4, "credit")
    assert site.account("four").balance_micro == 0


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_without_money_there_is_no_call(new_site: Callable[..., Site], phones: Telephony, mode: str) -> None:
    site = new_site(mode=mode)
    trunk = phones.trunk(ring_ms=2000)
    (call,) = phones.caller(1004, PREFIX[mode] + NUMBER).wait(10)
    assert call.status is not None and call.status >= 400
    site.settled()
    assert all(leg.answered_s is None for leg in trunk.calls())
    (denial,) = site.denials()
    assert (denial.reason, denial.account) == ("insufficient_credit", "broke")


def test_postpaid_goes_down_to_its_limit_and_no_further(site: Site, phones: Telephony) -> None:
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1010, NUMBER).wait(20)
    assert call.was_cut
    assert call.talked_s == pytest.approx(3.0, abs=EXACT_S)
    site.settled()
    assert site.account("postpaid").balance_micro == -3_000_000
    (call,) = phones.caller(1010, NUMBER).wait(10)
    assert call.status == 403


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_five_calls_share_one_credit_and_all_end_with_it(
    new_site: Callable[..., Site], phones: Telephony, mode: str
) -> None:
    site = new_site(mode=mode)
    phones.trunk(ring_ms=0)
    calls = phones.caller(1006, [PREFIX[mode] + NUMBER] * 5, rate=1000).wait(40)
    assert all(call.was_cut for call in calls)
    site.settled()
    events = site.events()
    assert len(events) == 5
    assert sum(event.amount_micro for event in events) == 20_000_000
    assert site.account("shared").balance_micro == 0
    assert {event.cut for event in events} == {"credit"}
    talked = sorted(call.talked_s for call in calls)
    assert sum(talked) == pytest.approx(20.0, abs=5 * EXACT_S)
    assert talked[0] > SHORT_SLICE_S - EXACT_S, f"a call got no fair share: {talked}"


def test_allowance_pays_first_and_money_the_rest_in_one_call(site: Site, phones: Telephony) -> None:
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1003, NUMBER, talk_ms=13_000).wait(25)
    assert not call.was_cut
    site.settled()
    (event,) = site.events()
    assert (event.duration_s, event.amount_micro) == (13, 3_000_000)
    assert [(p.from_s, p.to_s, p.seconds) for p in event.allowance] == [(0, 10, 10)]
    assert [(p.from_s, p.to_s, p.amount_micro) for p in event.money] == [(10, 13, 3_000_000)]
    state = site.account("minutes")
    assert state.balance_micro == 97_000_000
    assert [(grant.used_s, grant.remaining_s) for grant in state.grants] == [(10, 0)]
    crossed = [(t.kind, t.value_raw) for t in site.thresholds()]
    assert crossed == [("allowance_percent", 50), ("allowance_percent", 100)], "each crossing is told once"
    site.until(lambda: len(site.messages("lab/threshold/minutes/")) == 2, 5, "the thresholds on MQTT")


def test_credit_in_mid_call_prolongs_it(site: Site, phones: Telephony) -> None:
    phones.trunk(ring_ms=0)
    caller = phones.caller(1002, NUMBER)
    (call,) = caller.until_answered()
    assert call.answered_s is not None
    time.sleep(max(0.0, call.answered_s + 1.0 - time.time()))
    for _ in range(2):  # the same operation again changes nothing
        site.rater("account", "credit", "four", "3.00", "--op-id", "top-up-1")
    (call,) = caller.wait(20)
    assert call.was_cut
    assert call.talked_s == pytest.approx(7.0, abs=EXACT_S)
    site.settled()
    state = site.account("four")
    assert (state.credits_micro, state.balance_micro) == (3_000_000, 0)
    (event,) = site.events()
    assert (event.amount_micro, event.cut) == (7_000_000, "credit")
    shown = site.rater("account", "show", "four")
    assert shown["balance"] == "0.00"


def test_increments_and_connect_fee_are_what_the_price_says(site: Site, phones: Telephony) -> None:
    """0.50 to connect and six-second increments: eight seconds cost 12.50."""
    phones.trunk(ring_ms=0)
    phones.caller(1001, "5521999990000", talk_ms=8000).wait(20)
    site.settled()
    (event,) = site.events()
    assert (event.duration_s, event.billed_s, event.amount_micro) == (8, 12, 12_500_000)
