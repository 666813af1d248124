"""The same users on a Redis Cluster of three masters and their replicas: the work is done, all else is refused, by
every node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis

from tests.security.guarded_cluster import GuardedCluster
from tests.security.site import Seen, play
from tests.security.test_redis_users import ASKED, COMPONENTS, OF_NOBODY, OF_OTHERS, refused
from tests.servers import needs_debians_redis

pytestmark = [needs_debians_redis, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, GuardedCluster]]:
    folder = tmp_path_factory.mktemp("cluster")
    cluster = GuardedCluster(folder / "nodes")
    try:
        cluster.start()
        yield asyncio.run(play(folder, cluster)), cluster
    finally:
        cluster.stop()


def test_every_component_does_all_its_work_on_a_cluster(site: tuple[Seen, GuardedCluster]) -> None:
    """Also after every node was stopped and started: nothing refused, nothing lost."""
    seen, _ = site
    assert all(seen.delivered.values()), seen.delivered
    assert {(entry["username"], entry["object"]) for entry in seen.refused} <= ASKED


@pytest.mark.parametrize("user", COMPONENTS)
def test_no_node_does_what_is_nobodys_work_or_that_of_others(site: tuple[Seen, GuardedCluster], user: str) -> None:
    for node in site[1].running():
        with node.client(user) as client:  # type: ignore[call-arg]
            refused(client, user, OF_NOBODY + OF_OTHERS.get(user, ()))


def test_no_node_lets_anybody_in_without_a_name(site: tuple[Seen, GuardedCluster]) -> None:
    for node in site[1].running():
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=node.port).ping()
