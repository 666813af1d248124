"""The gate for inbound calls: only limits are asked, and without the daemon they pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .ami import Ami
from .sipp import Telephony

AT_ONCE_S = 0.2
FROM_TRUNK = ("User-Agent: carrier",)
CALLED = "551140001001"
"""Ends in the line, 1001."""


def test_inbound_call_asks_with_direction_and_line(ami: Ami, phones: Telephony, beat: Callable[[], None]) -> None:
    phone = phones.telephone()
    beat()
    caller = phones.caller("21999990000", CALLED, talk_ms=300, headers=FROM_TRUNK)
    question = ami.question()
    assert question.channel.startswith("PJSIP/trunk-")
    assert question.arguments == [CALLED, "in", "1001"]
    ami.answer(question, "allow", "allowed", 0)
    (call,) = caller.wait(10)
    assert call.status == 200
    assert len(phone.calls()) == 1


def test_denied_inbound_call_does_not_ring(ami: Ami, phones: Telephony, beat: Callable[[], None]) -> None:
    phone = phones.telephone()
    beat()
    caller = phones.caller("21999990000", CALLED, headers=FROM_TRUNK)
    ami.answer(ami.question(), "deny", "line_limit", 0)
    (call,) = caller.wait(10)
    assert call.status == 486
    assert not phone.calls()


@pytest.mark.parametrize(("policy", "status"), [("", 200), ("open", 200), ("closed", 503)])
def test_inbound_call_without_the_daemon_follows_its_own_policy(
    ami: Ami, phones: Telephony, policy: str, status: int
) -> None:
    ami.action("Setvar", Variable="RATER_FAIL", Value="closed")
    ami.action("Setvar", Variable="RATER_FAIL_IN", Value=policy)
    phones.telephone(ring_ms=0)
    (call,) = phones.caller("21999990000", CALLED, talk_ms=300, headers=FROM_TRUNK).wait(10)
    assert call.status == status
    assert call.decided_s is not None
    assert call.decided_s - call.invited_s < AT_ONCE_S


def test_inbound_call_is_not_lost_when_the_daemon_dies(
    ami: Ami, phones: Telephony, beat: Callable[[], None]
) -> None:
    phones.telephone(ring_ms=0)
    beat()
    caller = phones.caller("21999990000", CALLED, talk_ms=3500, headers=FROM_TRUNK)
    ami.question()
    (call,) = caller.wait(15)
    assert call.status == 200
    assert call.decided_s is not None
    assert call.decided_s - call.invited_s < 3.3
    assert not call.was_cut
