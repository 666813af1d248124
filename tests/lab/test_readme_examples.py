"""The examples on the gate's own page, as they stand there, on a real Asterisk without a daemon."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ami import Ami
from .asterisk import Asterisk

PAGE = Path(__file__).resolve().parents[2] / "deploy" / "asterisk" / "README.md"
NUMBER = "551133334444"


def dialplan() -> str:
    """The page's blocks; those without a context of their own get one."""
    gate, announcement, after, by_line, inbound, outside_again = re.findall(
        r"^```ini\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    outside_again = outside_again.replace("[from-trunk]", "[from-trunk-outside-again]")
    return (
        f"[general]\nstatic=yes\n{gate}[announcement]\n{announcement}[after]\n{after}[by-line]\n{by_line}{inbound}"
        f"{outside_again}"
    )


@pytest.fixture(scope="module")
def switch(lab_tree: Path, lab_folder: Path) -> Iterator[Asterisk]:
    asterisk = Asterisk(lab_tree, lab_folder / "examples")
    (asterisk.folder / "etc" / "extensions.conf").write_text(dialplan())
    asterisk.start()
    yield asterisk
    asterisk.stop()


def dialled(ami: Ami, context: str, account: str, number: str = NUMBER) -> bool:
    """Whether a call of that account gets as far as the trunk."""
    since = ami.mark()
    channel = f"Local/{number}@{context}/n"
    call = {"Channel": channel, "Account": account, "Application": "Wait", "Data": "1", "Async": "true"}
    ami.action("Originate", **call)
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        if any(event["DestChannel"].startswith("PJSIP/trunk") for event in ami.events("DialBegin", since)):
            for event in ami.events("Newchannel", since):
                ami.action("Hangup", Channel=event["Channel"])
            return True
        if any(event["Channel"].endswith(";2") for event in ami.events("Hangup", since)):
            return False
        time.sleep(0.02)
    raise AssertionError("the call neither ended nor was dialled")


def test_every_context_is_loaded_without_complaint(switch: Asterisk) -> None:
    with Ami(switch.ami_port) as ami:
        for context, extension in (
            ("from-lines", NUMBER), ("from-trunk", NUMBER), ("by-line", NUMBER),
            ("rater-denied", "insufficient_credit"), ("announcement", "insufficient_credit"),
            ("rater-emergency", "112"), ("after", NUMBER), ("after", "T"), ("rater-after", "s"),
            ("rater-cut", "credit"), ("rater-cut", "timer"), ("rater-warning", "60"), ("rater-warning", "5"),
        ):  # fmt: skip
            answer = ami.action("Getvar", Variable=f"DIALPLAN_EXISTS({context},{extension},1)")
            assert answer["Value"] == "1", context
        assert ami.action("Getvar", Variable="RATER_FAIL")["Value"] == "closed"
    complaints = [
        line for line in switch.log.read_text().splitlines() if re.search("(extensions|rater).conf", line)
    ]
    assert not complaints


def test_closed_without_daemon(switch: Asterisk) -> None:
    with Ami(switch.ami_port) as ami:
        assert not dialled(ami, "from-lines", "BRANCH")
        assert dialled(ami, "from-lines", "BRANCH", "112"), "an emergency number passes"


def test_open_for_one_account_only(switch: Asterisk) -> None:
    with Ami(switch.ami_port) as ami:
        assert not dialled(ami, "by-line", "BRANCH")
        assert dialled(ami, "by-line", "HEADOFFICE")
