"""`rater doctor` on a real Asterisk, well and badly kept."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rater.config import SwitchSettings
from rater.doctor.findings import Finding
from rater.doctor.rights import ACTIONS, GATE_ACTIONS, WARNING_ACTIONS
from rater.doctor.switch import check_switch
from rater.doctor.switch_probe import probe

from .ami import Ami
from .asterisk import RATER_SECRET, Asterisk
from .ports import free_port
from .sipp import Telephony
from .site import Site

QUIET = 0.2


def examine(
    port: int, user: str = "rater", secret: str = RATER_SECRET, *, provoke: bool = False, led: bool | None = None,
    listen_s: float = QUIET, **changes: object,
) -> list[Finding]:  # fmt: skip
    """What the doctor finds with one switch."""
    settings = SwitchSettings(id="lab", port=port, user=user, **changes)  # type: ignore[arg-type]
    facts = asyncio.run(probe(settings, secret, listen_s=listen_s, provoke=provoke))
    return check_switch(facts, settings, led=led)


def states(findings: list[Finding]) -> dict[str, str]:
    """The worst status of each check."""
    order = ["ok", "not_checked", "warning", "error"]
    worst: dict[str, str] = {}
    for finding in findings:
        name = finding.check.removeprefix("switch.")
        worst[name] = max(worst.get(name, "ok"), finding.status.value, key=order.index)
    return worst


def seen(findings: list[Finding], check: str) -> str:
    return " ".join(finding.seen + finding.mend for finding in findings if finding.check == f"switch.{check}")


def make_certificate(path: Path) -> None:
    """A key and its certificate, signed by itself, in one file that Asterisk's user may read."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_name(f"{path.name}.crt").read_text())
    path.chmod(0o644)


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def badly_kept(lab_tree: Path, lab_folder: Path, tls_port: int) -> Iterator[Asterisk]:
    """Without the gate's dialplan, times on events or res_agi, and with live_dangerously. It also speaks TLS."""
    asterisk = Asterisk(lab_tree, lab_folder / "bad")
    tls = f"tlsenable=yes\ntlsbindaddr=127.0.0.1:{tls_port}\ntlscertfile=/etc/asterisk/ami.pem"
    make_certificate(asterisk.folder / "etc" / "ami.pem")
    page = (Path(__file__).resolve().parents[2] / "docs" / "asterisk.md").read_text()
    filters = "\n".join(re.findall(r"^eventfilter=.*$", page, re.MULTILINE))
    assert filters
    with (asterisk.folder / "etc" / "manager.conf").open("a") as settings:
        settings.write(f"\n[filtered]\nsecret=lab\nread=call,agi,system\nwrite=call\n{filters}\n")
    for name, old, new in (
        ("asterisk.conf", "live_dangerously=no", "live_dangerously=yes"),
        ("manager.conf", "timestampevents=yes", f"timestampevents=no\n{tls}"),
        ("extensions.conf", '#include "rater.conf"', ""),
        ("modules.conf", "autoload=yes", "autoload=yes\nnoload => res_agi.so"),
    ):
        path = asterisk.folder / "etc" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    asterisk.start()
    yield asterisk
    asterisk.stop()


def test_whole_site_is_found_good(site: Site) -> None:
    """The sample's user, the shipped dialplan, a daemon that leads: nothing is found wrong."""
    answer = site.rater("doctor")
    assert answer["ok"] is True
    bad = {f["check"] for f in answer["findings"] if f["status"] in ("warning", "error")}
    assert bad <= {"machine.clock", "redis.version"}, answer
    good = {f["check"] for f in answer["findings"] if f["status"] == "ok"}
    assert good >= {
        "switch.login", "switch.write", "switch.excess", "switch.dialplan", "switch.async_agi", "switch.heartbeat",
        "switch.fail", "switch.dangerously", "switch.version", "switch.clock", "catalog.trunks", "leader.present",
        "leader.fence", "metrics.port", "mqtt.publish", "mqtt.status", "redis.append_only",
    }  # fmt: skip


def test_provoked_event_settles_what_a_quiet_switch_hides(asterisk: Asterisk) -> None:
    quiet = states(examine(asterisk.ami_port))
    assert (quiet["timestamps"], quiet["read"]) == ("not_checked", "not_checked")
    provoked = states(examine(asterisk.ami_port, provoke=True))
    assert provoked["timestamps"] == "ok"
    watching = states(examine(asterisk.ami_port, provoke=True, mode="watch"))
    assert watching["read"] == "ok"


def test_call_through_the_gate_shows_every_class(
    asterisk: Asterisk, ami: Ami, phones: Telephony, beat: Callable[[], None]
) -> None:
    beat()
    phones.caller(1001, ["551133334444"] * 20, talk_ms=100)
    found = states(examine(asterisk.ami_port, listen_s=4))
    assert (found["read"], found["timestamps"]) == ("ok", "ok")


def test_wrong_secret(asterisk: Asterisk) -> None:
    findings = examine(asterisk.ami_port, secret="not the one")
    assert states(findings)["login"] == "error"
    assert "manager.conf" in seen(findings, "login")
    assert "not the one" not in str(findings)


@pytest.mark.parametrize("login", ["md5", "plain"])
def test_both_ways_to_log_in(asterisk: Asterisk, login: str) -> None:
    assert states(examine(asterisk.ami_port, login=login))["login"] == "ok"


@pytest.mark.parametrize("left_out", ["call", "agi", "reporting"])
def test_missing_write_class_is_named(asterisk: Asterisk, left_out: str) -> None:
    findings = examine(asterisk.ami_port, f"without-write-{left_out}", "lab")
    assert states(findings)["write"] == "error"
    assert f"Add {left_out} to write=" in seen(findings, "write")


@pytest.mark.parametrize("left_out", ["call", "system"])
def test_missing_read_class_is_named(asterisk: Asterisk, left_out: str) -> None:
    findings = examine(asterisk.ami_port, f"without-read-{left_out}", "lab", provoke=True)
    assert states(findings)["read"] == "error"
    assert f"Add {left_out} to read=" in seen(findings, "read")


def test_watch_mode_needs_no_gate(asterisk: Asterisk) -> None:
    found = states(examine(asterisk.ami_port, "without-write-agi", "lab", mode="watch"))
    assert found["write"] == "ok"
    assert not found.keys() & {"dialplan", "async_agi", "heartbeat", "fail"}


def test_user_that_may_do_everything(asterisk: Asterisk) -> None:
    findings = examine(asterisk.ami_port, "lab", "lab")
    found = states(findings)
    assert (found["write"], found["excess"], found["read_excess"]) == ("ok", "warning", "warning")
    for name in ("write=all", "command", "originate", "system", "config"):
        assert name in seen(findings, "excess")


def test_badly_kept_switch(badly_kept: Asterisk) -> None:
    findings = examine(badly_kept.ami_port, provoke=True)
    found = states(findings)
    assert found["timestamps"] == "error"
    assert found["dangerously"] == "warning"
    assert found["dialplan"] == "error"
    assert found["async_agi"] == "error"
    assert "res_agi" in seen(findings, "write")
    assert "timestampevents=yes" in seen(findings, "timestamps")


def test_tls(badly_kept: Asterisk, tls_port: int) -> None:
    authority = badly_kept.folder / "etc" / "ami.pem"
    assert {"login": "ok", "tls": "ok"}.items() <= states(examine(tls_port, tls=True, tls_ca=authority)).items()
    findings = examine(tls_port, tls=True)
    assert states(findings)["login"] == "error"
    assert "tls_ca" in seen(findings, "login")
    assert "no file" in seen(examine(tls_port, tls=True, tls_ca="/nonexistent.pem"), "login")
    for port, tls in ((tls_port, False), (badly_kept.ami_port, True)):
        assert "does tls agree" in seen(examine(port, tls=tls), "login")


def test_heartbeat_by_who_leads(asterisk: Asterisk, ami: Ami, beat: Callable[[], None]) -> None:
    for led, expected in ((True, "error"), (False, "warning"), (None, "warning")):
        assert states(examine(asterisk.ami_port, led=led))["heartbeat"] == expected
    beat()
    found = states(examine(asterisk.ami_port, led=True))
    assert (found["heartbeat"], found["fail"]) == ("ok", "warning")
    ami.action("Setvar", Variable="RATER_FAIL", Value="open")
    beat()
    assert states(examine(asterisk.ami_port, led=True, fail="open"))["fail"] == "ok"
    beat()
    assert states(examine(asterisk.ami_port, led=True, fail="closed"))["fail"] == "warning"


def test_filters_that_the_docs_recommend_leave_what_is_needed(badly_kept: Asterisk) -> None:
    with Ami(badly_kept.ami_port) as everything, Ami(badly_kept.ami_port, "filtered", "lab") as filtered:
        everything.action("Setvar", Variable="DEVICE_STATE(Custom:doctor-test)", Value="BUSY")
        call = {"Channel": "Local/none@from-lines", "Application": "NoOp", "CallerID": "7", "Async": "true"}
        everything.action("Originate", **call)
        everything.wait("NewCallerid")
        filtered.wait("Newchannel")
        filtered.wait("DeviceStateChange")
        everything.wait("Hangup")
        filtered.wait("Hangup")
        assert not filtered.events("NewCallerid")


def test_needs_are_those_of_the_code() -> None:
    """Every action that the daemon sends stands in the doctor's list."""
    root = Path(__file__).resolve().parents[2] / "rater" / "switch"
    text = "".join((root / name).read_text() for name in ("adapter.py", "actions.py"))
    sent = set(re.findall(r'(?:(?:request|request_list|shape)\(\s*|"Action": )"([A-Za-z]+)"', text))
    assert sent - {"Events"} == set(ACTIONS | GATE_ACTIONS | WARNING_ACTIONS)
