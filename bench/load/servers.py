"""The servers of a run: one Redis, or the masters of a cluster, each a process of its own on 127.0.0.1."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis

from rater.charging.cluster import slot_of
from rater.charging.embedded import server_binary

START_S = 60.0
STOP_S = 60.0
SLOTS = 16384
DEBIAN = Path("/usr/bin/redis-server")
SLOW_DISK_MS = 10
"""A write-through that takes longer is counted as one that held everything up."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def redis_binary() -> Path:
    """Debian's where it is installed, else the one that is embedded."""
    return DEBIAN if DEBIAN.exists() else server_binary()


@dataclass
class Redis:
    """A redis-server with an append-only file that is written through before every answer."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    cluster_bus: int | None = None
    """The port on which it meets others, when it is a cluster's."""
    rewrites: bool = False
    """Its append-only file, when it has doubled, as servers do that run for long and start again; a benchmark of
    minutes would measure that instead."""

    @property
    def binary(self) -> Path:
        return redis_binary()

    @property
    def url(self) -> str:
        """By its socket, as the embedded one is reached; a cluster's have none but ports."""
        if self.cluster_bus is None:
            return f"unix://{self.folder.resolve()}/redis.sock"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid]

    def held_up_s(self, since_at_s: float) -> float:
        """For how long at least its disk held it up since then (Unix time): of each second the longest wait, when
        that was more than `SLOW_DISK_MS`, of the last 160 such seconds; Redis keeps no more."""
        with self.client() as client:
            seen = client.execute_command("LATENCY", "HISTORY", "aof-fsync-always")
        return sum(wait_ms for at_s, wait_ms in seen if at_s >= since_at_s) / 1000

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "appendonly": "yes",
            "appendfsync": "always", "save": "", "daemonize": "no", "latency-tracking": "yes",
            "latency-monitor-threshold": str(SLOW_DISK_MS), "slowlog-log-slower-than": "5000",
            "auto-aof-rewrite-min-size": "64mb" if self.rewrites else "8gb",
        }  # fmt: skip
        if self.cluster_bus is None:
            settings["unixsocket"] = (
                "redis.sock"  # in its folder; a whole path may be longer than a socket's can be
            )
        else:
            settings |= {"cluster-enabled": "yes", "cluster-port": str(self.cluster_bus)}
        words = [str(self.binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.exceptions.RedisError:
                if time.monotonic() > deadline_s or self.process.poll() is not None:
                    raise RuntimeError(f"Redis did not start; see {self.folder}/redis.log") from None
                time.sleep(0.05)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def kill(self) -> None:
        """As a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class RedisCluster:
    """So many masters, without replicas; the shards 0 to masters - 1 are one on each."""

    folder: Path
    masters: int
    nodes: list[Redis] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def pids(self) -> list[int]:
        return [pid for node in self.nodes for pid in node.pids]

    def held_up_s(self, since_at_s: float) -> float:
        """On average of the masters; see `Redis.held_up_s`."""
        return sum(node.held_up_s(since_at_s) for node in self.nodes) / len(self.nodes)

    def start(self) -> None:
        for number in range(self.masters):
            self.nodes.append(Redis(self.folder / str(number), cluster_bus=free_port()))
            self.nodes[-1].start()
        own = sorted((slot_of(shard), shard) for shard in range(self.masters))
        ends = [(one + other) // 2 for (one, _), (other, _) in pairwise(own)]
        for (_, shard), first, end in zip(own, [0, *ends], [*ends, SLOTS], strict=True):
            self._of(shard).execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            self._of(shard).execute_command("CLUSTER SET-CONFIG-EPOCH", shard + 1)
        for node in self.nodes[1:]:
            self._of(0).execute_command("CLUSTER MEET", "127.0.0.1", node.port, node.cluster_bus)
        deadline_s = time.monotonic() + START_S
        while not all(self._is_whole(shard) for shard in range(self.masters)):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"the cluster did not come together; see {self.folder}")
            time.sleep(0.1)

    def _of(self, shard: int) -> redis.Redis:
        return self.nodes[shard].client()

    def _is_whole(self, shard: int) -> bool:
        info = self._of(shard).execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == self.masters

    def client(self) -> redis.RedisCluster:
        return redis.RedisCluster(host="127.0.0.1", port=self.nodes[0].port)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
