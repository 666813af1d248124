"""Rows 14 and 15 of docs/faults.md on a real Asterisk: it is killed, or restarts itself, with a live call."""

from __future__ import annotations

import time

from .ami import Ami
from .asterisk import Asterisk
from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
TALKED_S = 2.5


def talking(phones: Telephony) -> float:
    """One call that has talked for a while; when it was answered."""
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1001, NUMBER).until_answered()
    assert call.answered_s is not None
    time.sleep(TALKED_S)
    return call.answered_s


def settled_as_one(site: Site, at_most_s: float) -> None:
    """The leg of the life before is over, charged no longer than it can have lasted."""
    site.until(lambda: len(site.events()) == 1, 20, "the settlement")
    site.settled(20)
    (event,) = site.events()
    assert 1 <= event.duration_s <= at_most_s
    assert event.amount_micro == event.duration_s * 1_000_000
    assert site.account("rich").balance_micro == 1_000_000_000 - event.amount_micro
    site.until(lambda: site.metric("rater_ready") == 1, 20, "being ready again")


def test_14_killed_with_a_live_call_it_is_charged_to_its_last_proof_of_life(
    site: Site, phones: Telephony, asterisk: Asterisk
) -> None:
    answered_s = talking(phones)
    asterisk.stop()
    lived_s = time.time() - answered_s
    assert len(site.legs()) == 1
    asterisk.start()
    settled_as_one(site, lived_s + 0.75)


def test_15_restarted_with_a_live_call_nothing_of_the_life_before_is_left(
    site: Site, phones: Telephony, asterisk: Asterisk, ami: Ami
) -> None:
    answered_s = talking(phones)
    ami.send("Command", Command="core restart now")
    settled_as_one(site, time.time() - answered_s + 1.5)
    assert asterisk.running
