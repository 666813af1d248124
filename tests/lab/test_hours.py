"""An allowance with hours, over their edge in mid-call: it pays on one side, money on the other."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
TALK_S = 12
BEFORE_S = 6
"""How long before the edge the call begins."""
PLAN = """
[plan.{name}]
currency = "EUR"
zone = "UTC"
dial_plan = "lab"
deck = "decks/second.csv"
decimals = 6
when_exhausted = "credit"
[[plan.{name}.band]]
name = "night"
windows = [{{ from = "{begins}", to = "{ends}" }}]
[[plan.{name}.allowance]]
id = "hour"
classes = ["fixed"]
seconds = 3600
hours = ["night"]
"""


def catalogue_with_an_edge_at(site: Site, edge_s: int) -> None:
    """The accounts `four` and `minutes` are in plans whose night ends, or begins, at that minute."""

    def clock(at_s: int) -> str:
        return time.strftime("%H:%M", time.gmtime(at_s))

    folder = site.folder / "catalog"
    plans, accounts = folder / "plans.toml", folder / "accounts.toml"
    plans.write_text(
        plans.read_text()
        + PLAN.format(name="early", begins=clock(edge_s - 3600), ends=clock(edge_s))
        + PLAN.format(name="late", begins=clock(edge_s), ends=clock(edge_s + 3600))
    )
    own = {"four": ("early", "4.00"), "minutes": ("late", "100.00")}
    blocks = [block for block in accounts.read_text().split("\n\n") if block.split("]")[0][9:] not in own]
    blocks += [
        f'[account.{name}]\nplan = "{plan}"\nmodality = "allowance"\nopening = "{opening}"\n'
        for name, (plan, opening) in own.items()
    ]
    accounts.write_text("\n\n".join(blocks))
    site.rater("account", "credit", "four", "96.00", "--op-id", "enough")
    site.rater("catalog", "load", str(folder))
    site.until(lambda: site.metric("rater_catalog_version") == 2, 5, "the new catalogue")


@pytest.mark.parametrize("slices", [{}, {"first_slice_s": 2, "long_slice_s": 3}], ids=["one slice", "many slices"])
def test_a_call_over_the_edge_of_hours_draws_on_the_allowance_on_one_side_only(
    new_site: Callable[..., Site], phones: Telephony, slices: dict[str, int]
) -> None:
    site = new_site(**slices)
    phones.trunk(ring_ms=0)
    edge_s = (int(time.time()) + BEFORE_S + 10) // 60 * 60 + 60
    catalogue_with_an_edge_at(site, edge_s)
    time.sleep(max(0.0, edge_s - BEFORE_S - time.time()))
    callers = [phones.caller(line, NUMBER, talk_ms=TALK_S * 1000) for line in (1002, 1003)]
    calls = [call for caller in callers for call in caller.wait(TALK_S + 10)]
    assert not any(call.was_cut for call in calls)
    site.settled()
    events = {event.account: event for event in site.events()}

    for call, account in zip(calls, ("four", "minutes"), strict=True):
        event = events[account]
        assert event.duration_s == TALK_S
        grants = [(piece.from_s, piece.to_s, piece.seconds) for piece in event.allowance]
        money = [(piece.from_s, piece.to_s, piece.amount_micro) for piece in event.money]
        at = grants[0][1] if account == "four" else money[0][1]
        assert call.answered_s is not None
        assert at == pytest.approx(edge_s - call.answered_s, abs=1.1), "split at the second of the edge"
        if account == "four":
            assert (grants, money) == ([(0, at, at)], [(at, TALK_S, (TALK_S - at) * 1_000_000)])
        else:
            assert (grants, money) == ([(at, TALK_S, TALK_S - at)], [(0, at, at * 1_000_000)])
        state = site.account(account)
        assert state.balance_micro == 100_000_000 - event.amount_micro
        (grant,) = (grant for grant in state.grants if grant.grant.endswith("/hour"))
        assert (grant.used_s, grant.reserved_s) == (sum(seconds for *_, seconds in grants), 0)
