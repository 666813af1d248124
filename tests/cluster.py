"""A real Redis Cluster for tests: three masters, each with a replica, on free ports of 127.0.0.1."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from rater.charging.cluster import slot_of
from tests.servers import DEBIAN, START_S, RedisServer, free_port

MASTERS, SLOTS = 3, 16384
NODE_TIMEOUT_MS = 2000
"""A master silent for that long is replaced."""


def wait_until(what: Callable[[], bool], why: str) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            if what():
                return
        except redis.exceptions.RedisError:
            pass
        assert time.monotonic() < deadline_s, f"it did not come about that {why}"
        time.sleep(0.05)


@dataclass
class Cluster:
    """`nodes`: the masters as they were first, then the replicas in the same order."""

    folder: Path
    nodes: list[RedisServer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the first node that runs."""
        return next(node.url for node in self.nodes if node.process is not None)

    def start(self) -> Cluster:
        for number in range(2 * MASTERS):
            self.nodes.append(self._node(number))
        self.nodes[0].client().execute_command("CLUSTER SET-CONFIG-EPOCH", 1)
        for number, node in enumerate(self.nodes[:MASTERS]):
            first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
            if number:
                node.client().execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.client().execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for node in self.nodes[1:]:
            bus = int(node.options["cluster-port"])
            self.nodes[0].client().execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        wait_until(lambda: all(self.knows(node) == len(self.nodes) for node in self.nodes), "all nodes met")
        for master, replica in zip(self.nodes[:MASTERS], self.nodes[MASTERS:], strict=True):
            name = master.client().execute_command("CLUSTER MYID")
            replica.client().execute_command("CLUSTER REPLICATE", name)
            wait_until(lambda master=master: self.replica_of(master).port > 0, "it has a replica")  # type: ignore[misc]
        self.wait_until_whole()
        return self

    def _node(self, number: int) -> RedisServer:
        return RedisServer(DEBIAN, self.folder / str(number), options=self._options()).start()

    def _options(self) -> dict[str, str]:
        # The bus would take the port plus 10000, which may be beyond 65535.
        return {
            "cluster-enabled": "yes",
            "cluster-port": str(free_port()),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-config-file": "nodes.conf",
            "cluster-replica-validity-factor": "0",
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "appendfsync": "no",
        }

    @staticmethod
    def knows(node: RedisServer) -> int:
        return int(node.client().execute_command("CLUSTER INFO")["cluster_known_nodes"])

    def running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.process is not None]

    def wait_until_whole(self) -> None:
        """Every slot is served, every replica up to date, and all agree on who serves what."""

        def whole() -> bool:
            views = set()
            for node in self.running():
                if node.client().execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                state = node.client().info("replication")
                if state["role"] == "slave" and state["master_link_status"] != "up":
                    return False
                views.add(frozenset((first, last, int(master[1])) for first, last, master, *_ in self._slots(node)))
            return len(views) == 1

        wait_until(whole, "the cluster is whole")

    def master_of(self, shard: int, asked: RedisServer | None = None) -> RedisServer:
        """Who serves the shard, as that node has it."""
        slot = slot_of(shard)
        asked = asked or self.running()[0]
        for first, last, master, *_ in self._slots(asked):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == int(master[1]))
        raise AssertionError(f"nobody serves shard {shard}")

    @staticmethod
    def _slots(asked: RedisServer) -> list[list[Any]]:
        return list(asked.client().execute_command("CLUSTER SLOTS", NEVER_DECODE=True))  # type: ignore[arg-type]

    def replica_of(self, master: RedisServer) -> RedisServer:
        """One that runs."""
        for node in self.running():
            state = node.client().info("replication")
            if state["role"] == "slave" and state["master_port"] == master.port:
                return node
        raise AssertionError("it has no replica")

    def kill(self, master: RedisServer) -> None:
        """As a crash does."""
        master.stop(signal.SIGKILL)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop(signal.SIGKILL)
