"""Unanswered calls cost nothing and hold nothing back; emergency calls always pass and never cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
PREFIX = {"gate": "", "watch": "w"}
RICH_MICRO = 1_000_000_000
BY_DAEMON, BY_GATE = "999", "190"
"""Both are emergency numbers of the plan; the gate's own list has only the second."""


@pytest.fixture(params=["gate", "watch"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_is_charged_for_calls_that_are_not_answered(
    new_site: Callable[..., Site], phones: Telephony, mode: str
) -> None:
    site = new_site(mode=mode)
    number = PREFIX[mode] + NUMBER

    phones.refusing_trunk(486)
    (busy,) = phones.caller(1001, number).wait(10)
    phones.refusing_trunk(480)
    (no_answer,) = phones.caller(1001, number).wait(10)
    phones.refusing_trunk(503)
    (failed,) = phones.caller(1001, number).wait(10)
    trunk = phones.trunk(ring_ms=10_000)
    (cancelled,) = phones.canceller(1001, number, after_ms=500).wait(10)
    trunk.until(lambda calls: calls[0].status == 487, 3, "the CANCEL")

    assert (busy.status, cancelled.status) == (486, 487)
    assert all(call.status and call.status >= 400 for call in (no_answer, failed))
    site.settled()
    events = site.events()
    assert [event.amount_micro for event in events] == [0] * 4
    dispositions = [event.disposition for event in events]
    assert dispositions[0] == "busy"
    assert dispositions[3] == "cancelled"
    assert set(dispositions[1:3]) <= {"no_answer", "failed"}
    assert all(event.answered_at is None and event.duration_s == 0 for event in events)
    assert site.account("rich").balance_micro == RICH_MICRO


def test_trunk_that_is_not_there_costs_nothing(site: Site, phones: Telephony) -> None:
    phones.no_trunk()
    phones.canceller(1001, NUMBER, after_ms=1500).wait(20)
    site.settled()
    assert all(event.amount_micro == 0 for event in site.events())
    assert site.account("rich").balance_micro == RICH_MICRO


def test_caller_that_gives_up_in_the_gate_holds_nothing_back(site: Site, phones: Telephony) -> None:
    phones.trunk()
    site.freeze_daemon()
    phones.canceller(1001, NUMBER, after_ms=200).wait(10)
    site.thaw_daemon()
    site.settled()
    assert site.account("rich").balance_micro == RICH_MICRO
    assert all(event.amount_micro == 0 for event in site.events())


@pytest.mark.parametrize("number", [BY_DAEMON, BY_GATE])
def test_emergency_passes_without_money_and_is_never_cut(
    new_site: Callable[..., Site], phones: Telephony, mode: str, number: str
) -> None:
    site = new_site(mode=mode)
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1004, PREFIX[mode] + number, talk_ms=5000).wait(15)
    assert call.status == 200 and not call.was_cut
    assert call.talked_s == pytest.approx(5.0, abs=0.1)
    site.settled()
    (event,) = site.events()
    assert (event.emergency, event.amount_micro, event.account) == (True, 0, "broke")
    assert not site.denials()


def test_emergency_passes_at_a_full_limit(site: Site, phones: Telephony) -> None:
    phones.trunk(ring_ms=0)
    talking = phones.caller(1005, [NUMBER] * 5)
    talking.until_answered(5)
    (refused,) = phones.caller(1005, NUMBER).wait(10)
    assert refused.status == 486
    for number in (BY_DAEMON, BY_GATE):
        (call,) = phones.caller(1005, number, talk_ms=300).wait(10)
        assert call.status == 200
