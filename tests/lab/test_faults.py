"""Rows 7, 14, 15, 16 and 33 of docs/faults.md on a real Asterisk: it is killed, stopped, restarted, reloaded with a
live call; callers have names that would be more; the daemon is paused for half a minute."""

from __future__ import annotations

import time

import pytest

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
    asterisk.until_booted()


def test_14_stopped_with_a_live_call_it_is_charged_to_its_last_proof_of_life(
    site: Site, phones: Telephony, asterisk: Asterisk, ami: Ami
) -> None:
    """`core stop now` says good-bye on the connection, and hangs nothing up before it goes."""
    answered_s = talking(phones)
    ami.send("Command", Command="core stop now")
    site.until(lambda: not asterisk.running, 15, "the end of Asterisk")
    lived_s = time.time() - answered_s
    asterisk.stop()
    asterisk.start()
    settled_as_one(site, lived_s + 0.75)


@pytest.mark.parametrize("command", ["core reload", "dialplan reload", "module reload res_pjsip.so"])
def test_16_reloaded_with_a_live_call_it_goes_on_and_is_charged_to_the_second(
    site: Site, phones: Telephony, ami: Ami, command: str
) -> None:
    phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER, talk_ms=5000)
    caller.until_answered()
    ami.command(command)
    (call,) = caller.wait(15)
    assert not call.was_cut
    site.settled()
    (event,) = site.events()
    assert (event.duration_s, event.grade) == (5, "observed")
    phones.trunk(ring_ms=0)  # the dialplan's global variables are as its files have them
    (second,) = phones.caller(1001, NUMBER, talk_ms=1000).wait(15)
    assert second.status == 200, "the gate is asked and answers as before"


NAMES = {
    "Latin-1": '"Jos\xe9 \xff\xfe" ',
    "line break, in percents": '"Eve%0D%0AEvent: Hangup%0D%0AUniqueid: 1%0D%0A%0D%0A" ',
    "tab and bell": '"a\tb\x07c" ',
    "delete and C1": '"a\x7fb\x85c\x9bd" ',
    "quoted quotes": '"a\\"b\\\\c<sip:x@y>;z" ',
    "header": '"Channel: PJSIP/1001-00000000" ',
    "long": '"' + "x" * 900 + '" ',
}


@pytest.mark.parametrize("name", NAMES)
def test_7_a_callers_name_is_never_more_than_that(site: Site, phones: Telephony, name: str) -> None:
    """From outside to a line, under a name that would be an event, a header, or no text at all."""
    phones.telephone(ring_ms=0)
    phones.caller(
        "21999990000", "551140001001", talk_ms=1500, headers=("User-Agent: carrier",), values={"NAME": NAMES[name]}
    ).wait(15)
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1001, NUMBER, talk_ms=1000).wait(15)
    assert call.status == 200, "the next call is decided as if nothing had been"
    site.settled()
    told = [(event.direction, event.duration_s, event.grade) for event in site.events()]
    assert told in ([("in", 2, "observed"), ("out", 1, "observed")], [("out", 1, "observed")])
    assert site.metric('rater_ami_reconnects_total{switch="lab"}') == 0
    assert site.metric("rater_ready") == 1


def test_7_a_name_that_is_folded_over_lines_never_reaches_us(site: Site, phones: Telephony, ami: Ami) -> None:
    """Header lines that go on in the next one are legal in SIP; the switch drops such a call without a word."""
    since = ami.mark()
    phones.telephone(ring_ms=0)
    name = {"NAME": '"Eve\n Event: Hangup\n\tUniqueid: 1" '}
    caller = phones.caller("21999990000", "551140001001", headers=("User-Agent: carrier",), values=name)
    caller.until(lambda calls: bool(calls) and len(calls[0].messages) > 2, 10, "the third attempt")
    assert all(way == "S" for _, way, _, _ in caller.calls()[0].messages), "no answer"
    assert not ami.events("Newchannel", since=since)
    caller.stop()
    phones.trunk(ring_ms=0)
    (call,) = phones.caller(1001, NUMBER, talk_ms=1000).wait(15)
    assert call.status == 200
    site.settled()
    assert [event.direction for event in site.events()] == ["out"]


def test_33_paused_for_half_a_minute_it_settles_what_ended_meanwhile(
    site: Site, phones: Telephony, ami: Ami
) -> None:
    """Nobody stands by. The live call ends with its paid slice; new ones go by the dialplan's own rule."""
    phones.trunk(ring_ms=0)
    caller = phones.caller(1001, NUMBER)
    caller.until_answered()
    site.freeze_daemon()
    begin_s = time.monotonic()
    (call,) = caller.wait(60)
    assert call.was_cut
    time.sleep(max(0.0, 4 - (time.monotonic() - begin_s)))
    (refused,) = phones.caller(1002, NUMBER, talk_ms=500).wait(15)
    assert refused.status != 200
    time.sleep(max(0.0, 30 - (time.monotonic() - begin_s)))
    thawed_s = int(time.time())
    site.thaw_daemon()
    site.until(lambda: int(ami.action("Getvar", Variable="RATER_BEAT")["Value"]) >= thawed_s, 20, "a beat")
    (passed,) = phones.caller(1001, NUMBER, talk_ms=500).wait(15)
    assert passed.status == 200, "with the beat calls are decided again, not before"
    site.settled(20)
    cut, short = sorted(site.events(), key=lambda event: event.attempted_at)
    assert abs(cut.duration_s - call.talked_s) <= 1
    assert short.duration_s == 1
