"""One call from INVITE to invoice line: everything that tells of it tells the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .ami import Ami
from .servers import run_rater
from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"


@pytest.mark.parametrize("mode", ["gate", "watch"])
def test_ten_second_prepaid_call_is_told_alike_everywhere(
    new_site: Callable[..., Site], phones: Telephony, mode: str
) -> None:
    site = new_site(mode=mode)
    trunk = phones.trunk(ring_ms=500)
    (call,) = phones.caller(1001, NUMBER if mode == "gate" else f"w{NUMBER}", talk_ms=10_000).wait(20)
    assert call.status == 200 and call.talked_s == pytest.approx(10.0, abs=0.1)
    assert len(trunk.calls()) == 1
    site.settled()

    price = run_rater("price", "--catalog", str(site.folder / "catalog"), "--plan", "second", "--to", NUMBER,
                      "--seconds", "10")  # fmt: skip
    assert (price["amount"], price["currency"], price["billed_seconds"]) == ("10.00", "EUR", 10)

    (event,) = site.events()
    assert (event.amount_micro, event.currency, event.duration_s, event.billed_s) == (10_000_000, "EUR", 10, 10)
    assert (event.account, event.line, event.trunk, event.number) == ("rich", "1001", "carrier", NUMBER)
    assert (event.disposition, event.grade, event.cut, event.mode) == ("answered", "observed", "", mode)
    assert event.duration_ms == pytest.approx(call.talked_s * 1000, abs=100)
    assert event.balance_before_micro - event.balance_after_micro == 10_000_000

    assert site.account("rich").balance_micro == 990_000_000

    site.until(lambda: bool(site.messages("lab/event/")), 5, "the MQTT message")
    (message,) = site.messages("lab/event/rich/1001")
    assert message == event.to_dict()

    labels = f'{{mode="{mode}",reason="allowed"}}'
    assert site.metric(f"rater_verdicts_total{labels}") == 1
    assert site.metric('rater_charged_money_total{currency="EUR"}') == 10
    assert site.metric('rater_legs_ended_total{disposition="answered",grade="observed"}') == 1
    assert site.metric('rater_legs_active{direction="out",switch="lab"}') == 0
    assert site.metric("rater_decision_latency_seconds_count") >= 1


@pytest.mark.parametrize("line", [1001, 1007, 1012], ids=["account code", "inherited variable", "endpoint"])
def test_payer_is_found_by_each_source(site: Site, phones: Telephony, line: int) -> None:
    phones.trunk(ring_ms=0)
    phones.caller(line, NUMBER, talk_ms=1000).wait(10)
    site.settled()
    (event,) = site.events()
    assert (event.account, event.line, event.amount_micro) == ("rich", str(line), 1_000_000)


def test_unknown_payer_is_denied_whatever_caller_id_it_shows(site: Site, phones: Telephony) -> None:
    """Line 1011 is in no catalogue; showing itself as line 1001 helps nothing."""
    trunk = phones.trunk()
    (call,) = phones.caller(1011, NUMBER, headers=('P-Asserted-Identity: "1001" <sip:1001@127.0.0.1>',)).wait(10)
    assert call.status == 403
    assert not trunk.calls()
    site.settled()
    (denial,) = site.denials()
    assert (denial.reason, denial.account) == ("unknown_payer", "")
    assert not site.events()


def test_line_to_line_is_free_and_only_counted(site: Site, phones: Telephony) -> None:
    phones.telephone(ring_ms=0)
    caller = phones.caller(1004, "1002", talk_ms=2500)
    caller.until_answered()
    site.until(lambda: site.metric('rater_internal_calls_active{switch="lab"}') == 1, 3, "the count")
    (call,) = caller.wait(10)
    assert call.status == 200 and not call.was_cut
    site.until(lambda: site.metric('rater_internal_calls_active{switch="lab"}') == 0, 3, "the count's end")
    assert not site.records()
    assert not site.legs()


def test_live_call_is_listed_and_can_be_hung_up(site: Site, phones: Telephony, ami: Ami) -> None:
    phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER)
    caller.until_answered()
    site.until(lambda: any(leg.answered_at_ms for leg in site.legs()), 3, "the answer in the store")
    (row,) = site.rater("calls")["calls"]
    assert (row["account"], row["line"], row["number"], row["state"]) == ("rich", "1001", NUMBER, "talking")
    site.rater("hangup", row["leg"])
    (call,) = caller.wait(5)
    assert call.was_cut
    site.settled()
    (event,) = site.events()
    assert event.cut == "operator"
    assert site.account("rich").balance_micro == 1_000_000_000 - event.amount_micro
