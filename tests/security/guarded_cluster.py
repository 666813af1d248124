"""A Redis Cluster with the users of deploy/redis-users.acl on every node, and nobody without a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.cluster import Cluster
from tests.security.site import GuardedRedis, make_users
from tests.servers import DEBIAN


@dataclass
class GuardedCluster(Cluster):
    """Stands where a `GuardedRedis` stands: `port` is that of any node."""

    secrets: Path = field(default_factory=Path)
    is_cluster = True

    @property
    def port(self) -> int:
        return self.running()[0].port

    def client(self, user: str = "admin") -> Any:
        return redis.RedisCluster(
            host="127.0.0.1", port=self.port, username=f"rater-{user}", password=self.secret(user)
        )

    def secret(self, user: str) -> str:
        return (self.secrets / f"rater-{user}").read_text()

    def start(self) -> GuardedCluster:
        """A cluster that was stopped goes on with its data."""
        if not self.nodes:
            self.secrets = self.folder / "users"
            make_users(self.secrets)
            super().start()
        else:
            for node in self.nodes:
                node.start()
            self.wait_until_whole()
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def acl_log(self) -> list[dict[str, Any]]:
        """What any node refused."""
        found: list[dict[str, Any]] = []
        for node in self.running():
            with node.client() as client:
                found += client.acl_log()
        return found

    def _node(self, number: int) -> GuardedRedis:
        # A replica comes to its master like anybody else: by a name.
        options = self._options() | {
            "aclfile": str(self.secrets / "users.acl"),
            "masteruser": "rater-admin",
            "masterauth": self.secret("admin"),
            "appendfsync": "always",
        }
        node = GuardedRedis(DEBIAN, self.folder / str(number), options=options, secrets=self.secrets)
        node.start()
        return node
