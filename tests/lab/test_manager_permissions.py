"""The user of manager.conf.sample may do all that the daemon does, and would not with any class less."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .ami import Ami
from .asterisk import RATER_SECRET, Asterisk
from .sipp import Telephony

NEEDED_TO_READ = {"call": "Newchannel", "agi": "AsyncAGIStart", "system": "FullyBooted"}
NEEDED_TO_WRITE = {
    "call": ("Setvar", "AbsoluteTimeout", "Hangup", "Getvar"),
    "agi": ("AGI",),
    "reporting": ("CoreShowChannels", "CoreStatus", "CoreSettings"),
}


def act(ami: Ami, name: str, channel: str) -> str:
    """The response to an action with harmless arguments."""
    arguments = {
        "Setvar": {"Channel": channel, "Variable": "RATER_REASON", "Value": "tried"},
        "Getvar": {"Channel": channel, "Variable": "RATER_REASON"},
        "AbsoluteTimeout": {"Channel": channel, "Timeout": "60"},
        "AGI": {"Channel": channel, "Command": "NOOP"},
        "Hangup": {"Channel": channel, "Cause": "16"},
    }
    reply = ami.action(name, **arguments.get(name, {}))
    return "denied" if reply.get("Message") == "Permission denied" else reply["Response"]


@pytest.fixture
def waiting(ami: Ami, phones: Telephony, beat: Callable[[], None]) -> str:
    """A channel that waits in the gate."""
    beat()
    phones.caller(1001, "551133334444")
    return ami.question().channel


def test_sample_user_may_do_what_the_daemon_does(asterisk: Asterisk, ami: Ami, waiting: str) -> None:
    with Ami(asterisk.ami_port, "rater", RATER_SECRET) as rater:
        for name in (n for names in NEEDED_TO_WRITE.values() for n in sorted(names, key=lambda n: n == "Hangup")):
            if name != "Hangup":
                assert act(rater, name, waiting) == "Success", name
        assert rater.action("Setvar", Variable="RATER_BEAT", Value=0)["Response"] == "Success"
        assert rater.action("Ping")["Timestamp"], "the pong tells the switch's time"
        assert act(rater, "Hangup", waiting) == "Success"


def test_sample_user_may_do_no_more(asterisk: Asterisk) -> None:
    with Ami(asterisk.ami_port, "rater", RATER_SECRET) as rater:
        for name, arguments in {
            "Command": {"Command": "core show version"},
            "Originate": {"Channel": "Local/1@from-lines", "Application": "NoOp"},
            "UpdateConfig": {"SrcFilename": "manager.conf", "DstFilename": "manager.conf"},
            "Reload": {},
            "QueueStatus": {},
        }.items():
            reply = rater.action(name, **arguments)
            if name == "QueueStatus":
                continue  # needs no class at all
            assert reply.get("Message") == "Permission denied", name


@pytest.mark.parametrize("left_out", sorted(NEEDED_TO_WRITE))
def test_no_write_class_can_be_spared(asterisk: Asterisk, ami: Ami, waiting: str, left_out: str) -> None:
    with Ami(asterisk.ami_port, f"without-write-{left_out}", "lab") as poorer:
        for name in NEEDED_TO_WRITE[left_out]:
            if (left_out, name) == ("call", "Getvar"):
                continue  # reporting allows it too
            assert act(poorer, name, waiting) == "denied", name


@pytest.mark.parametrize("left_out", sorted(NEEDED_TO_READ))
def test_no_read_class_can_be_spared(
    asterisk: Asterisk, ami: Ami, phones: Telephony, beat: Callable[[], None], left_out: str
) -> None:
    with (
        Ami(asterisk.ami_port, "rater", RATER_SECRET) as rater,
        Ami(asterisk.ami_port, f"without-read-{left_out}", "lab") as poorer,
    ):
        beat()
        phones.caller(1001, "551133334444")
        for readable, name in NEEDED_TO_READ.items():
            rater.wait(name)
            if readable != left_out:
                poorer.wait(name)
        time.sleep(0.2)
        assert not poorer.events(NEEDED_TO_READ[left_out])


def test_sample_settings_are_in_force(asterisk: Asterisk, ami: Ami, phones: Telephony) -> None:
    """Events carry the switch's time and the inherited variable of the payer."""
    with Ami(asterisk.ami_port, "rater", RATER_SECRET) as rater:
        trunk = phones.trunk()
        caller = phones.caller(1007, "w551133334444", talk_ms=300)
        begin = rater.wait("DialBegin")
        caller.wait(5)
        assert "RATER_ACCOUNT=A1007" in begin["ChanVariable"]
        assert "RATER_ACCOUNT=A1007" in begin["DestChanVariable"]
        (leg,) = trunk.calls()
        assert begin.switch_s == pytest.approx(leg.invited_s, abs=0.1)
