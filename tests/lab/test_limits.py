"""Limits on a real switch: one short scenario for each."""

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
