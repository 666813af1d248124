"""A sharing group on a real switch: an account joins one while it talks."""

from __future__ import annotations

import time

from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
GROUP = """
[group.family]
owner = "rich"
money = true
[group.family.member.four]
"""
RICH_MICRO, FOUR_MICRO = 1_000_000_000, 4_000_000


def test_an_account_that_joins_while_it_talks_is_served_from_the_next_slice_on(
    site: Site, phones: Telephony
) -> None:
    """Its own money lasts four seconds; what was paid before it joined stays its own."""
    phones.trunk(ring_ms=0)
    caller = phones.caller(1002, NUMBER, talk_ms=7000)
    caller.until_answered()
    time.sleep(0.5)
    accounts = site.folder / "catalog" / "accounts.toml"
    accounts.write_text(accounts.read_text() + GROUP)
    site.rater("catalog", "load", str(site.folder / "catalog"))
    (call,) = caller.wait(20)
    assert not call.was_cut, "the owner's money goes on"
    site.settled()
    (event,) = site.events()
    assert (event.account, event.duration_s, event.amount_micro) == ("four", 7, 7_000_000)
    own = FOUR_MICRO - site.account("four").balance_micro
    owners = RICH_MICRO - site.account("rich").balance_micro
    assert own + owners == 7_000_000
    assert owners >= 3_000_000
    assert own >= 0
