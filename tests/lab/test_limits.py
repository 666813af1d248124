"""Limits and shadow on a real switch: one short scenario for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .sipp import Telephony
from .site import Site

FIXED, MOBILE = "551133334444", "552199998888"
LINES = {"quick": 1014, "careful": 1015, "short": 1016, "watched": 1017}
ACCOUNTS = """
[account.quick]
plan = "second"
modality = "prepaid"
opening = "100.00"
limits = { calls_per_second = 2 }

[account.careful]
plan = "second"
modality = "prepaid"
opening = "100.00"
limits = { classes = { mobile = 1 } }

[account.short]
plan = "second"
modality = "prepaid"
opening = "100.00"
max_call_s = 3

[account.watched]
plan = "second"
modality = "prepaid"
opening = "2.00"
enforce = "shadow"
"""


@pytest.fixture
def limited(new_site: Callable[..., Site]) -> Callable[..., Site]:
    """A site with the accounts above, each with a line of its own."""

    def make(**options: str) -> Site:
        site = new_site(**options)
        folder = site.folder / "catalog"
        with (folder / "accounts.toml").open("a") as accounts, (folder / "lines.csv").open("a") as lines:
            accounts.write(ACCOUNTS)
            lines.writelines(f"{line},{account},{line},,,,\n" for account, line in LINES.items())
        site.rater("catalog", "load", str(folder))
        site.until(lambda: site.metric("rater_catalog_version") == 2, 5, "the new catalogue")
        return site

    return make


def test_calls_per_second(limited: Callable[..., Site], phones: Telephony) -> None:
    site = limited()
    phones.trunk(ring_ms=0)
    caller = phones.caller(LINES["quick"], [FIXED] * 6, talk_ms=1500, rate=1000)
    calls = caller.until(lambda seen: sum(c.status is not None for c in seen) == 6, 10, "6 final responses")
    assert sorted(call.status or 0 for call in calls) == [200, 200, 503, 503, 503, 503]
    caller.wait(10)
    again = phones.caller(LINES["quick"], [FIXED] * 2, talk_ms=300).wait(10)
    assert [call.status for call in again] == [200, 200]
    site.settled()
    assert [denial.reason for denial in site.denials()] == ["call_rate_limit"] * 4


def test_one_call_of_a_class_at_a_time(limited: Callable[..., Site], phones: Telephony) -> None:
    site = limited()
    phones.trunk(ring_ms=0)
    first = phones.caller(LINES["careful"], MOBILE, talk_ms=3000)
    first.until_answered()
    (refused,) = phones.caller(LINES["careful"], MOBILE).wait(10)
    (other_class,) = phones.caller(LINES["careful"], FIXED, talk_ms=300).wait(10)
    assert (refused.status, other_class.status) == (486, 200)
    first.wait(10)
    (again,) = phones.caller(LINES["careful"], MOBILE, talk_ms=300).wait(10)
    assert again.status == 200
    site.settled()
    assert [denial.reason for denial in site.denials()] == ["class_limit"]


def test_the_longest_call(limited: Callable[..., Site], phones: Telephony) -> None:
    site = limited()
    phones.trunk(ring_ms=200)
    (call,) = phones.caller(LINES["short"], FIXED).wait(15)
    assert call.was_cut
    assert call.talked_s == pytest.approx(3.0, abs=0.25)
    site.settled()
    (event,) = site.events()
    assert (event.cut, event.duration_s, event.amount_micro) == ("max_length", 3, 3_000_000)


def test_an_account_in_shadow_talks_on_when_its_credit_is_gone(
    limited: Callable[..., Site], phones: Telephony
) -> None:
    site = limited()
    phones.trunk(ring_ms=200)
    (call,) = phones.caller(LINES["watched"], FIXED, talk_ms=5000).wait(15)
    assert not call.was_cut
    site.until(lambda: len(site.events()) == 1, 5, "the rated event")
    (event,) = site.events()
    assert (event.mode, event.cut, event.amount_micro) == ("shadow", "", 5_000_000)
    assert (event.shadow, event.shadow_at_s) == ("insufficient_credit", 2)
    (told,) = site.denials()
    assert (told.shadow, told.reason, told.shadow_at_s) == (True, "insufficient_credit", 2)
    assert site.account("watched").balance_micro == -3_000_000
    assert site.metric('rater_shadow_denials_total{kind="cut",reason="insufficient_credit"}') == 1


@pytest.mark.parametrize("prefix", ["", "w"], ids=["with a gate in the dialplan", "without"])
def test_a_switch_in_shadow_is_not_touched(limited: Callable[..., Site], phones: Telephony, prefix: str) -> None:
    site = limited(mode="shadow")
    phones.trunk(ring_ms=200)
    (call,) = phones.caller(1002, prefix + FIXED, talk_ms=6000).wait(15)
    (broke,) = phones.caller(1004, prefix + FIXED, talk_ms=1000).wait(15)
    assert (call.status, call.was_cut, broke.status, broke.was_cut) == (200, False, 200, False)
    site.until(lambda: len(site.events()) == 2, 5, "two rated events")
    assert {(event.account, event.shadow, event.shadow_at_s) for event in site.events()} == {
        ("four", "insufficient_credit", 4), ("broke", "insufficient_credit", None),
    }  # fmt: skip
    assert sorted(told.account for told in site.denials()) == ["broke", "four"]
