"""Every node of a Redis Cluster, asked by itself: each master holds accounts, each replica may be a master soon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rater.doctor.findings import Finding, error, ok
from rater.doctor.redis import check_node
from rater.doctor.redis_probe import connect, probe_node


async def check_nodes(client: Redis, url: str, password: str | None) -> list[Finding]:
    """`client`: the cluster's; `url`: of any node, for how to log in. The findings' subject is the node."""
    nodes = sorted(await _nodes(client), key=lambda node: (not node[0], node[1]))
    found = await asyncio.gather(
        *(_check(_at(url, address), password, address, master=master) for master, address in nodes)
    )
    return [finding for findings in found for finding in findings]


async def _nodes(client: Any) -> list[tuple[bool, str]]:
    """Whether each is a master, and where. Those that the cluster gave up are told too."""
    try:
        told = await client.execute_command("CLUSTER NODES")
    except (RedisError, OSError):
        return [(node.server_type == "primary", f"{node.host}:{node.port}") for node in client.get_nodes()]
    known = [(set(node["flags"].split(",")), address) for address, node in told.items()]
    return [("master" in flags, address) for flags, address in known if not flags & {"handshake", "noaddr"}]


async def _check(url: str, password: str | None, name: str, *, master: bool) -> Sequence[Finding]:
    client = connect(url, password, cluster=False)
    try:
        facts = await probe_node(client)
    finally:
        await client.aclose()
    what = "a master" if master else "a replica"
    if facts.failed:
        mend = "Start it, or take it out of the cluster (redis-cli --cluster del-node)."
        return [error("redis.node", name, f"{what}: {facts.failed}", "it answers", mend)]
    judged = [replace(finding, subject=name) for finding in check_node(facts, master=master)]
    return [ok("redis.node", name, f"{what} that answers"), *judged]


def _at(url: str, address: str) -> str:
    """The same way in, to another node."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{address}"))
