"""The command as a user has it; the machine, the secrets, the catalogue."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from catalog.support import FILES, PLANS, catalog, run_json, write
from servers import RedisServer, binaries, free_port

from rater.catalog.stored import version_key
from rater.config import Settings, SwitchSettings, is_loopback
from rater.doctor import machine
from rater.doctor.catalog import check_catalog
from rater.doctor.outbox import wanted_groups
from rater.metrics import Metrics

from .support import findings_of, one, status

RATER = [sys.executable, "-c", "from rater.cli import main; main()"]


def doctor(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RATER, "doctor", "--config", str(config), *options], capture_output=True, text=True, timeout=60
    )


def write_settings(folder: Path, text: str) -> Path:
    path = folder / "rater.toml"
    path.write_text(text)
    return path


def test_exit_codes_and_json(tmp_path: Path) -> None:
    done = doctor(write_settings(tmp_path, f'[redis]\nurl = "redis://127.0.0.1:{free_port()}/0"\n'), "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["ok"] is False
    errors = [f for f in answer["findings"] if f["status"] == "error"]
    assert {f["check"] for f in errors} >= {"redis.reach", "switch.configured"}
    assert answer["error"] == len(errors)
    assert all(f["seen"] and (f["status"] == "ok" or f["mend"]) for f in errors)


def test_unusable_settings_end_with_2(tmp_path: Path) -> None:
    done = doctor(write_settings(tmp_path, "[redis]\nurll = 1\n"))
    assert done.returncode == 2
    assert "redis.urll" in done.stderr


def test_table_says_what_was_seen_and_how_to_mend_it(tmp_path: Path) -> None:
    done = doctor(write_settings(tmp_path, '[redis]\nurl = "redis://127.0.0.1:9/0"\n'))
    assert "ERROR" in done.stdout
    assert "→" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


# -- secrets, ports, folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [(0o600, "s", "ok"), (0o640, "s", "error"), (0o604, "s", "error"), (0o600, "", "error")],
)
def test_secret_files(tmp_path: Path, mode: int, text: str, expected: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(mode)
    findings = findings_of(switch=[{"id": "pbx1", "port": 9, "secret": {"file": file}}])
    assert status(findings, "machine.secrets", "pbx1 secret") == expected


def test_secret_that_is_missing_is_said_once_and_the_switch_is_still_looked_for(tmp_path: Path) -> None:
    findings = findings_of(switch=[{"id": "pbx1", "port": 9, "secret": {"file": tmp_path / "no"}}])
    assert status(findings, "machine.secrets") == "error"
    assert status(findings, "switch.reach", "pbx1") == "error"


def test_metrics_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        finding = one(findings_of(metrics={"port": other.getsockname()[1]}), "metrics.port", "serve")
        assert finding.status == "error"


def test_metrics_port_that_rater_serves() -> None:
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0)
    try:
        finding = one(findings_of(metrics={"port": port}), "metrics.port", "serve")
    finally:
        metrics.stop()
    assert (finding.status, "rater serves" in finding.seen) == ("ok", True)


def test_folder_of_the_embedded_server(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    assert status(findings_of(redis={"data_dir": folder}), "embedded.owner") == "ok"
    folder.mkdir(mode=0o755)
    findings = findings_of(redis={"data_dir": folder})
    assert status(findings, "embedded.mode") == "error"
    assert status(findings, "redis.reach") == "warning"
    folder.chmod(0o700)
    assert status(findings_of(redis={"data_dir": folder}), "embedded.mode") == "ok"


def test_clock_of_this_machine_is_read_from_the_kernel() -> None:
    finding = machine.check_clock()
    assert finding.status in ("ok", "warning", "not_checked")
    assert finding.check == "machine.clock"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("pbx", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# -- the catalogue -------------------------------------------------------------------------------------------------


def test_no_catalogue_is_an_error(tmp_path: Path) -> None:
    server = RedisServer(next(iter(binaries().values())), tmp_path / "redis").start()
    try:
        findings = findings_of(redis={"url": server.url})
        assert status(findings, "catalog.published") == "error"
        with server.client() as client:
            client.set("rater:catalog:current", 3)
            client.set("rater:catalog:v:3", b"rubbish")
        findings = findings_of(redis={"url": server.url})
        assert status(findings, "catalog.sound") == "error"
        assert status(findings, "grants.hours") == "not_checked"
    finally:
        server.destroy()


@pytest.mark.parametrize(("of", "expected"), [("", "ok"), ('switch = "pbx1"', "ok"), ('switch = "pbx2"', "error")])
def test_switch_without_a_trunk_would_charge_nothing(tmp_path: Path, of: str, expected: str) -> None:
    trunks = f'[trunk.carrier]\n{of}\npattern = "PJSIP/trunk-*"\n'
    switches = "[switch.pbx1]\n[switch.pbx2]\n" if "pbx2" in of else "[switch.pbx1]\n"
    findings = check_catalog(catalog(tmp_path, trunks=trunks, switches=switches), [SwitchSettings(id="pbx1")])
    assert status(findings, "catalog.trunks", "pbx1") == expected
    assert ("pbx2" in [f.subject for f in findings if f.check == "catalog.switches"]) is (expected == "error")


def test_every_target_of_the_settings_is_a_group() -> None:
    hook = {"name": "crm", "url": "https://crm.example/", "secret": {"env": "X"}}
    settings = Settings(mqtt={"host": "h"}, publish={"files": "/f"}, webhook=[hook])  # type: ignore[arg-type,list-item]
    assert wanted_groups(settings) == ["mqtt", "files", "webhook:crm"]


PLANS_OF_DAYS = PLANS.replace('name = "peak"', 'name = "day"')


def test_grant_for_hours_that_the_plan_has_not_is_named(tmp_path: Path) -> None:
    server = RedisServer(next(iter(binaries().values())), tmp_path / "redis").start()
    settings = write_settings(tmp_path, f'[redis]\nurl = "{server.url}"\n[[switch]]\nid = "pbx1"\nport = 9\n')
    try:
        folder = write(tmp_path / "catalog", FILES)
        run_json("catalog", "load", str(folder), "--config", str(settings))
        for account, hours in (("ann", ["--hours", "peak"]), ("bob", []), ("cid", ["--class", "fixed"])):
            words = ["account", "grant", account, "600s", "--op-id", f"g-{account}", "--config", str(settings)]
            assert run_json(*words, *hours)[0] == 0
        looked = one(findings_of(redis={"url": server.url}), "grants.hours")
        assert (looked.status, looked.seen) == ("ok", "4 accounts looked at")

        write(folder, {"plans.toml": PLANS_OF_DAYS})
        assert run_json("catalog", "load", str(folder), "--config", str(settings))[0] == 0
        found = one(findings_of(redis={"url": server.url}), "grants.hours")
        assert found.status == "warning"
        assert found.seen.startswith("1 grants that are never open: ann: ")
        assert "(hours peak; plan basic)" in found.seen
    finally:
        server.destroy()


def test_the_catalogue_is_read_once_for_all_who_look_at_it(tmp_path: Path) -> None:
    server = RedisServer(next(iter(binaries().values())), tmp_path / "redis").start()
    settings = write_settings(tmp_path, f'[redis]\nurl = "{server.url}"\n[[switch]]\nid = "pbx1"\nport = 9\n')
    try:
        folder = write(tmp_path / "catalog", FILES)
        assert run_json("catalog", "load", str(folder), "--config", str(settings))[0] == 0
        with server.client() as client:
            pieces = client.llen(version_key("rater", 1))
            client.config_resetstat()
            findings = findings_of(redis={"url": server.url})
            commands = client.info("commandstats")
        assert (status(findings, "catalog.published"), status(findings, "grants.hours")) == ("ok", "ok")
        assert commands["cmdstat_lindex"]["calls"] == pieces
        assert commands["cmdstat_llen"]["calls"] == 1
    finally:
        server.destroy()
