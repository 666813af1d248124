"""The doctor on real Redis servers, well and badly kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, wait_until
from servers import DEBIAN, RedisServer, binaries, needs_debians_redis

from rater.charging.embedded import EmbeddedRedis
from rater.charging.keys import leadership_key
from rater.charging.scripts import library
from rater.config import RedisSettings
from rater.doctor.redis import check_redis
from rater.doctor.redis_probe import RedisFacts, connect, probe_node
from rater.events.stream import dead_key, outbox_key
from rater.ids import SwitchId

from .support import black_hole, findings_of, one, silent_port, status

Start = Callable[..., RedisServer]
SWITCH = {"id": "pbx1", "port": 9, "mode": "gate"}


@pytest.fixture(params=sorted(binaries()))
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    started: list[RedisServer] = []

    def run(**options: str) -> RedisServer:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        server = RedisServer(binaries()[request.param], tmp_path / f"redis{len(started)}", options=named)
        started.append(server)
        return server.start()

    yield run
    for server in reversed(started):  # a replica before its master, which would wait for it
        server.destroy()


def test_well_kept_server_has_no_faults(start: Start) -> None:
    findings = findings_of(redis={"url": start(appendfsync="everysec").url})
    bad = [f for f in findings if f.check.startswith("redis.") and f.status == "error"]
    assert not bad
    for check in ("login", "role", "append_only", "fsync", "eviction", "files", "write", "clock", "user", "room"):
        assert status(findings, f"redis.{check}") == "ok", check


@pytest.mark.parametrize(
    ("options", "check", "expected"),
    [
        ({"appendonly": "no"}, "redis.append_only", "error"),
        ({"appendfsync": "no"}, "redis.fsync", "error"),
        ({"appendfsync": "always"}, "redis.fsync", "ok"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "100mb"}, "redis.eviction", "error"),
        ({"maxmemory_policy": "volatile-ttl", "maxmemory": "100mb"}, "redis.eviction", "error"),
        ({"maxmemory": "1"}, "redis.write", "error"),
        ({"min_replicas_to_write": "1"}, "redis.write", "error"),
    ],
)
def test_setting_that_loses_money_or_calls(
    start: Start, options: dict[str, str], check: str, expected: str
) -> None:
    finding = one(findings_of(redis={"url": start(**options).url}), check)
    assert finding.status == expected
    assert expected == "ok" or (finding.mend and finding.expected)


def test_embedded_server_of_a_running_daemon(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    try:
        findings = findings_of(redis={"data_dir": tmp_path / "redis"})
    finally:
        server.stop()
    # How fast it answers and writes is the machine's affair, which may have other work.
    looked_at = [f for f in findings if f.check.split(".")[0] in ("redis", "embedded") and f.check != "redis.ping"]
    assert not [f for f in looked_at if f.status != "ok" and f.check != "redis.disk"]
    assert status(findings, "redis.disk") != "not_checked"


def test_replica_is_not_to_be_charged_on(start: Start) -> None:
    master = start()
    replica = start(appendonly="no")  # else it refuses to stop while it writes its first file after the sync
    with replica.client() as client:
        client.replicaof("127.0.0.1", master.port)
    findings = findings_of(redis={"url": replica.url})
    assert status(findings, "redis.role") == "error"
    assert "master" in one(findings, "redis.write").mend


def test_wrong_password_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_TEST_SECRET", "wrong")
    server = start()
    with server.client() as client:
        client.config_set("requirepass", "right")
    findings = findings_of(redis={"url": server.url, "password": {"env": "DOCTOR_TEST_SECRET"}})
    assert status(findings, "redis.login") == "error"
    assert "wrong" not in str(findings), "no secret may be shown"


def test_user_without_rights_under_the_prefix(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()
    monkeypatch.setenv("DOCTOR_TEST_SECRET", "x")
    with server.client() as client:
        client.acl_setuser("narrow", enabled=True, nopass=True, keys=["other:*"], commands=["+@all", "-config"])
    redis = {"url": server.url.replace("//", "//narrow@"), "password": {"env": "DOCTOR_TEST_SECRET"}}
    findings = findings_of(redis=redis)
    assert "~PREFIX" in one(findings, "redis.write").mend
    assert status(findings, "redis.fsync") == "not_checked"
    assert status(findings, "redis.user") == "ok"


def test_switch_that_nobody_leads_and_a_fence_that_is_down(start: Start) -> None:
    server = start()
    findings = findings_of(redis={"url": server.url}, switch=[SWITCH])
    assert status(findings, "leader.present") == "warning"
    with server.client() as client:
        seconds, _ = client.time()
        lead = {"holder": "here:1", "epoch": 7, "until_ms": (seconds + 60) * 1000}
        client.hset(leadership_key("rater", SwitchId("pbx1")), mapping=lead)
    findings = findings_of(redis={"url": server.url}, switch=[SWITCH])
    assert one(findings, "leader.present").seen == "here:1, epoch 7"
    assert status(findings, "leader.fence") == "error", "no shard refuses an older leader"
    with server.client() as client:
        client.set("rater:{0}:epoch:pbx1", 7)
    assert status(findings_of(redis={"url": server.url}, switch=[SWITCH]), "leader.fence") == "ok"


def test_outbox_that_nobody_empties(start: Start) -> None:
    server = start()
    with server.client() as client:
        seconds, _ = client.time()
        client.xadd(outbox_key("rater", 0), {"k": "rated"}, id=f"{(seconds - 7200) * 1000}-1")
        client.xadd(dead_key("rater", 0), {"reason": "of the test"})
    settings: dict[str, Any] = {"redis": {"url": server.url}, "publish": {"files": "/nonexistent"}}
    findings = findings_of(**settings)
    backlog = one(findings, "outbox.backlog", "shard 0, files")
    assert backlog.status == "error"
    assert "1 entries wait" in backlog.seen
    assert status(findings, "outbox.dead") == "warning"
    with server.client() as client:
        client.xgroup_create(outbox_key("rater", 0), "files", id="$")
    assert status(findings_of(**settings), "outbox.backlog") == "ok"


def test_redis_that_is_not_there_hides_no_other_finding() -> None:
    findings = findings_of(redis={"url": "redis://127.0.0.1:9/0"}, switch=[SWITCH])
    assert "refuses" in one(findings, "redis.reach").seen
    assert status(findings, "switch.reach", "pbx1") == "error"
    assert one(findings, "machine.files")


def test_server_that_never_answers_is_given_up() -> None:
    with silent_port() as port:
        findings = findings_of(redis={"url": f"redis://127.0.0.1:{port}/0"}, switch=[{**SWITCH, "port": port}])
    assert (status(findings, "redis.reach"), status(findings, "redis.answers")) == ("ok", "error")
    assert "no greeting" in one(findings, "switch.login").seen


def test_black_hole_is_given_up() -> None:
    with black_hole() as port:
        findings = findings_of(
            redis={"url": f"redis://127.0.0.1:{port}/0"},
            switch=[{**SWITCH, "port": port}],
            mqtt={"host": "127.0.0.1", "port": port},
        )
    for check in ("redis.reach", "switch.reach", "mqtt.reach"):
        assert "does not answer" in one(findings, check).seen


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.0.16", "error"), ("6.2.19", "warning"), ("6.2.20", "warning"), ("7.0.11", "warning"), ("7.0.15", "ok"),
     ("7.2.10", "warning"), ("7.4.6", "ok"), ("8.0.4", "ok"), ("9.1.0", "ok"), ("", "not_checked")],
)  # fmt: skip
def test_versions(version: str, expected: str) -> None:
    facts = RedisFacts(info={"redis_version": version, "role": "master"})
    found = check_redis(facts, RedisSettings(url="redis://127.0.0.1/0"), "127.0.0.1", tls=False)
    assert status(found, "redis.version") == expected


@pytest.mark.parametrize(
    ("threshold", "waits_ms", "expected"),
    [("10", {}, "ok"), ("10", {"aof-fsync-always": 100, "command": 900}, "ok"),
     ("10", {"aof-fsync-always": 101, "aof-write": 30}, "warning"), ("0", {}, "not_checked"),
     ("10", None, "not_checked"), ("", {"aof-fsync-always": 101}, "not_checked")],
)  # fmt: skip
def test_disk_that_holds_the_server_up(threshold: str, waits_ms: dict[str, int] | None, expected: str) -> None:
    config = {"latency-monitor-threshold": threshold} if threshold else {}
    facts = RedisFacts(info={"redis_version": "7.0.15", "role": "master"}, config=config, waits_ms=waits_ms)
    found = check_redis(facts, RedisSettings(url="redis://127.0.0.1/0"), "127.0.0.1", tls=False)
    assert status(found, "redis.disk") == expected


def test_waits_are_read_from_the_servers_own_monitor(start: Start) -> None:
    server = start(latency_monitor_threshold="1")

    async def waits_ms() -> Mapping[str, int] | None:
        async with connect(server.url, None, cluster=False) as client:
            await client.eval("local n = 0 for i = 1, 3000000 do n = n + i end return n", 0)
            return (await probe_node(client)).waits_ms

    assert (asyncio.run(waits_ms()) or {}).get("command", 0) >= 1


def test_server_across_the_network_wants_tls_and_a_user_of_its_own() -> None:
    facts = RedisFacts(info={"redis_version": "7.0.15"}, config={"appendfsync": "always"}, user="default")
    found = check_redis(facts, RedisSettings(url="redis://10.0.0.5/0"), "10.0.0.5", tls=False)
    assert (status(found, "redis.tls"), status(found, "redis.user")) == ("warning", "warning")
    facts = RedisFacts(info={"redis_version": "7.0.15"}, user="rater")
    found = check_redis(facts, RedisSettings(url="rediss://10.0.0.5/0"), "10.0.0.5", tls=True)
    assert (status(found, "redis.tls"), status(found, "redis.user")) == ("ok", "ok")


@needs_debians_redis
def test_every_node_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.start()
        for node in cluster.nodes:
            node.client().config_set("appendfsync", "everysec")
        careless, evicting, dead = cluster.nodes[1], cluster.nodes[3], cluster.nodes[5]
        careless.client().config_set("appendfsync", "no")
        evicting.client().config_set("maxmemory-policy", "allkeys-lru")
        # Whoever is asked has heard of all replicas.
        wait_until(
            lambda: str(cluster.nodes[0].client().execute_command("CLUSTER NODES")).count("slave") == 3, "heard"
        )
        cluster.kill(dead)
        found = findings_of(redis={"url": cluster.url, "cluster": True, "shards": 4})
    finally:
        cluster.stop()
    errors = [f for f in found if f.check.startswith("redis.") and f.status == "error"]
    wrong = {(f.check, f.subject.rpartition(":")[2]) for f in errors}
    assert wrong == {
        ("redis.fsync", str(careless.port)), ("redis.eviction", str(evicting.port)), ("redis.node", str(dead.port))
    }  # fmt: skip
    assert len([f for f in found if f.check == "redis.append_only" and f.status == "ok"]) == 5
    assert len([f for f in found if f.check == "redis.replicas"]) == 3


@needs_debians_redis
def test_library_of_another_version_is_named(tmp_path: Path) -> None:
    server = RedisServer(DEBIAN, tmp_path).start()
    try:
        name, source = library()
        with server.client() as client:
            client.execute_command("FUNCTION", "LOAD", source)
            assert status(findings_of(redis={"url": server.url}), "redis.functions") == "ok"
            client.execute_command("FUNCTION", "LOAD", source.replace(name.encode(), b"rater_000000000000"))
        finding = one(findings_of(redis={"url": server.url}), "redis.functions")
        assert finding.status == "warning"
        assert "FUNCTION DELETE rater_000000000000" in finding.mend
    finally:
        server.destroy()
