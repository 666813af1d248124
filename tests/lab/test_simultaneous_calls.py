"""Limits of simultaneous calls are exact when everybody calls at once, and no slot is ever lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .sipp import Sipp, Telephony
from .site import Site

NUMBER = "551133334444"
PREFIX = {"gate": "", "watch": "w"}
FROM_TRUNK = ("User-Agent: carrier",)
LINE_WITH_FIVE = 1005
EnoughSite = Callable[..., Site]


def answered(caller: Sipp) -> int:
    return sum(call.status == 200 for call in caller.calls())


def refused(caller: Sipp) -> int:
    return sum(call.status == 486 for call in caller.calls())


def all_decided(caller: Sipp, count: int) -> None:
    caller.until(lambda calls: sum(c.status is not None for c in calls) == count, 15, f"{count} final responses")


def five_pass(phones: Telephony, number: str) -> None:
    """The whole limit can be used again."""
    caller = phones.caller(LINE_WITH_FIVE, [number] * 5, talk_ms=300)
    caller.wait(20)
    assert answered(caller) == 5, "a slot was lost"


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_of_twenty_calls_at_once_exactly_five_pass(new_site: EnoughSite, phones: Telephony, mode: str) -> None:
    site = new_site(mode=mode)
    number = PREFIX[mode] + NUMBER
    trunk = phones.trunk(ring_ms=1500)
    caller = phones.caller(LINE_WITH_FIVE, [number] * 20, talk_ms=1500, rate=1000)
    all_decided(caller, 20)
    assert answered(caller) == 5
    assert refused(caller) == 15
    caller.wait(20)
    site.settled()
    assert sum(call.status == 200 for call in trunk.calls()) == 5
    assert [denial.reason for denial in site.denials()] == ["line_limit"] * 15
    assert sum(event.amount_micro for event in site.events()) == 5 * 2_000_000
    five_pass(phones, number)
    site.settled()


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_slots_are_free_again_after_calls_that_came_to_nothing(
    new_site: EnoughSite, phones: Telephony, mode: str
) -> None:
    site = new_site(mode=mode)
    number = PREFIX[mode] + NUMBER
    phones.refusing_trunk(486)
    caller = phones.caller(LINE_WITH_FIVE, [number] * 5)
    caller.wait(10)
    assert refused(caller) == 5
    site.settled()

    phones.trunk(ring_ms=5000)
    for _ in range(5):
        phones.canceller(LINE_WITH_FIVE, number, after_ms=300).wait(10)
    site.settled()

    phones.trunk(ring_ms=0)
    five_pass(phones, number)
    site.settled()
    assert not site.denials()


def test_account_limit_counts_all_its_lines_in_and_out(site: Site, phones: Telephony) -> None:
    """Lines 1008 and 1009 share an account that may have three calls, inbound ones included."""
    phones.trunk(ring_ms=0)
    phones.telephone(ring_ms=0)
    inbound = phones.caller("21999990000", "551140001008", headers=FROM_TRUNK)
    inbound.until_answered()
    first = phones.caller(1008, NUMBER)
    second = phones.caller(1009, NUMBER)
    first.until_answered()
    second.until_answered()
    for line in (1008, 1009):
        (call,) = phones.caller(line, NUMBER).wait(10)
        assert call.status == 486
    (call,) = phones.caller("21999990000", "551140001009", headers=FROM_TRUNK).wait(10)
    assert call.status == 486
    assert [denial.reason for denial in site.denials()] == ["account_limit"] * 3


def test_inbound_limit_is_exact(site: Site, phones: Telephony) -> None:
    phone = phones.telephone(ring_ms=1000)
    caller = phones.caller("21999990000", ["551140001013"] * 8, talk_ms=1000, rate=1000, headers=FROM_TRUNK)
    all_decided(caller, 8)
    assert (answered(caller), refused(caller)) == (2, 6)
    caller.wait(10)
    assert len(phone.calls()) == 2
    site.settled()
    assert {(event.direction, event.amount_micro) for event in site.events()} == {("in", 0)}
