"""Calls while the daemon is not there: by the policy that it left behind, at once, and none ever hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .ami import Ami
from .sipp import Telephony
from .site import Site

NUMBER = "551133334444"
AT_ONCE_S = 0.2
HEARTBEAT_S = 3.0
STATUS = {"open": 200, "closed": 503}


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_stopped_daemon_leaves_its_policy_in_force(
    new_site: Callable[..., Site], phones: Telephony, fail: str
) -> None:
    site = new_site(fail=fail)
    trunk = phones.trunk(ring_ms=0)
    site.stop_daemon()
    time.sleep(HEARTBEAT_S + 1.1)
    (call,) = phones.caller(1001, NUMBER, talk_ms=4000).wait(10)
    assert call.status == STATUS[fail]
    assert call.decided_s is not None
    assert call.decided_s - call.invited_s < AT_ONCE_S
    assert not call.was_cut
    assert len(trunk.calls()) == (1 if fail == "open" else 0)


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_daemon_killed_while_calls_wait_lets_none_hang(
    new_site: Callable[..., Site], phones: Telephony, ami: Ami, fail: str
) -> None:
    """It is frozen first, so that the calls do wait; then killed."""
    site = new_site(fail=fail)
    phones.trunk(ring_ms=0)
    site.freeze_daemon()
    caller = phones.caller(1001, [NUMBER] * 10, talk_ms=4000, rate=1000)
    ami.until_events("AsyncAGIStart", 10)
    killed_s = time.time()
    site.kill_daemon()
    calls = caller.wait(20)
    for call in calls:
        assert call.decided_s is not None, "a call hangs"
        assert call.decided_s - killed_s < HEARTBEAT_S + 0.3
        assert call.status == STATUS[fail]
        assert not call.was_cut, "the gate's guard must be off once a call has passed"


def test_a_party_that_was_sent_on_is_cut_at_the_second_its_money_ends(
    new_site: Callable[..., Site], phones: Telephony, ami: Ami
) -> None:
    """It asks the gate, and nobody answers: the call passes by the policy, with the timer that the party had."""
    site = new_site(fail="open", short_slice_s=5)
    trunk = phones.trunk(ring_ms=0)
    caller = phones.caller(1002, NUMBER)
    line = ami.wait("DialBegin")["Channel"]
    caller.until_answered()
    time.sleep(0.3)
    site.freeze_daemon()
    ami.action("BlindTransfer", Channel=line, Context="from-lines", Exten=NUMBER)
    trunk.until(lambda calls: len(calls) == 2, 6, "the further call")
    site.kill_daemon()
    first, _ = trunk.until(lambda calls: calls[0].ended_s is not None, 6, "the cut")
    assert first.was_cut
    assert first.talked_s == pytest.approx(4.0, abs=0.25), "the money of line 1002 lasts four seconds"


def test_calls_that_passed_while_it_was_away_are_charged_from_its_return(
    new_site: Callable[..., Site], phones: Telephony
) -> None:
    site = new_site(fail="open")
    phones.trunk(ring_ms=0)
    site.kill_daemon()
    time.sleep(HEARTBEAT_S + 1.1)
    caller = phones.caller(1002, NUMBER)
    caller.until_answered()
    site.start_daemon()
    (call,) = caller.wait(30)
    assert call.was_cut, "the money of line 1002 lasts four seconds"
    site.settled()
    (event,) = site.events()
    assert event.account == "four"
    assert 0 < event.amount_micro <= 4_000_000


def test_reload_leaves_live_calls_alone(site: Site, phones: Telephony, ami: Ami) -> None:
    phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER, talk_ms=6000)
    caller.until_answered()
    ami.command("dialplan reload")
    ami.command("manager reload")
    (call,) = caller.wait(15)
    assert not call.was_cut
    site.settled()
    (event,) = site.events()
    assert (event.duration_s, event.grade) == (6, "observed")
