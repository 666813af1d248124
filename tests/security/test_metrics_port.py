"""The metrics port: this machine's alone, or for who brings the token."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from rater.config import MetricsSettings, load_settings
from rater.doctor.machine import check_metrics
from rater.errors import ConfigError
from rater.metrics import Metrics
from tests.servers import free_port

TOKEN = "0123456789abcdef0123456789abcdef"
COMMAND = [sys.executable, "-c", "from rater.cli import main; main()"]


def write(folder: Path, metrics: str) -> Path:
    path = folder / "rater.toml"
    path.write_text(f"[redis]\ndata_dir = 'data'\n[metrics]\n{metrics}")
    return path


def token_file(folder: Path, text: str = TOKEN) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(0o600)
    return path


def ask(port: int, path: str = "/metrics", given: str | None = None, tls: ssl.SSLContext | None = None) -> int:
    """The status of one request."""
    kind = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    if tls is not None:
        kind = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
    try:
        kind.request("GET", path, headers={"Authorization": given} if given is not None else {})
        return kind.getresponse().status
    finally:
        kind.close()


def test_by_default_it_is_this_machines() -> None:
    assert MetricsSettings().host == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "example.com", "127.0.0.1.example.com"])
def test_beyond_the_machine_it_wants_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="token is needed") as refused:
        load_settings(write(tmp_path, f"host = '{host}'\n"))
    assert refused.value.exit_code == 2
    load_settings(write(tmp_path, f"host = '{host}'\ntoken = {{ env = 'X' }}\n"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_on_the_machine_it_wants_none(tmp_path: Path, host: str) -> None:
    load_settings(write(tmp_path, f"host = '{host}'\n"))


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("host = '0.0.0.0'\n", "token is needed"),
        ("host = '0.0.0.0'\ntoken = { file = 'token' }\n", "too short"),
        ("host = '0.0.0.0'\ntoken = { file = 'none' }\n", "cannot read the secret"),
        ("certificate = 'x.pem'\n", "belong together"),
    ],
)
def test_the_daemon_does_not_start_and_says_why(tmp_path: Path, metrics: str, said: str) -> None:
    token_file(tmp_path, "short")
    config = write(tmp_path, f"port = {free_port()}\n{metrics}")
    ended = subprocess.run([*COMMAND, "serve", "--config", str(config)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "short\n" not in ended.stderr.replace("too short", "")


def test_only_who_brings_the_token_is_told() -> None:
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0, token=TOKEN)
    try:
        for given in (None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN,
                      f"Basic {TOKEN}", f"bearer {TOKEN}", "Bearer \xe9"):  # fmt: skip
            assert ask(port, given=given) == 401, given
            assert ask(port, "/", given=given) == 401
        assert ask(port, given=f"Bearer {TOKEN}") == 200
        assert ask(port, "/healthz") == 200
        assert ask(port, "/readyz") == 503
    finally:
        metrics.stop()


def test_over_tls_with_its_own_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0, token=TOKEN, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    try:
        assert ask(port, given=f"Bearer {TOKEN}", tls=trusting) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, given=f"Bearer {TOKEN}", tls=ssl.create_default_context())
        config = write(
            tmp_path, f"port = {port}\ntoken = {{ file = 'token' }}\ncertificate = 'cert.pem'\nkey = 'key.pem'\n"
        )
        found = asyncio.run(check_metrics(load_settings(config)))
        assert "rater serves" in found[0].seen
    finally:
        metrics.stop()


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="cannot serve metrics"):
        Metrics().serve("127.0.0.1", 0, certificate=tmp_path / "cert.pem", key=tmp_path / "cert.pem")
