"""The doctor on a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.publish
import pytest
from events.support import Mosquitto

from .support import findings_of, one, silent_port, status

Start = Callable[[str | None], Mosquitto]
ALL = "topic readwrite #\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Mosquitto] = []

    def run(acl: str | None) -> Mosquitto:
        started.append(Mosquitto(tmp_path, acl))
        started[-1].start()
        return started[-1]

    yield run
    for broker in started:
        broker.stop()


def settings(broker: Mosquitto) -> dict[str, object]:
    return {"mqtt": {"host": "127.0.0.1", "port": broker.port, "prefix": "lab"}}


def say(broker: Mosquitto, payload: str) -> None:
    paho.mqtt.publish.single("lab/status", payload, qos=1, retain=True, port=broker.port)


def test_broker_that_takes_everything_and_a_publisher_that_is_there(start: Start) -> None:
    broker = start(ALL)
    say(broker, json.dumps({"status": "online", "at": "2026-01-01T00:00:00.000Z"}))
    findings = findings_of(**settings(broker))
    assert [status(findings, f"mqtt.{check}") for check in ("tls", "reach", "login", "publish", "status")] == [
        "ok"
    ] * 5
    (topic, cleared) = broker.taken("(lab/doctor/[^']*)")
    assert topic == cleared, "the probe is removed again"


@pytest.mark.parametrize(
    "payload", ["", '{"status": "offline", "reason": "lost"}', "not ours", '{"other": 1}', "[1]"]
)
def test_publisher_that_is_not_there(start: Start, payload: str) -> None:
    broker = start(ALL)
    if payload:
        say(broker, payload)
    assert status(findings_of(**settings(broker)), "mqtt.status") == "warning"


def test_broker_that_refuses_our_topics(start: Start) -> None:
    findings = findings_of(**settings(start("topic readwrite other/#\n")))
    assert status(findings, "mqtt.login") == "ok"
    refused = one(findings, "mqtt.publish")
    assert refused.status == "error"
    assert "Not authorized" in refused.seen
    assert "lab/#" in refused.mend


def test_user_that_may_only_write_as_docs_mqtt_md_has_it(start: Start) -> None:
    findings = findings_of(**settings(start("topic write lab/#\n")))
    assert status(findings, "mqtt.publish") == "ok"
    assert status(findings, "mqtt.status") == "not_checked"


def test_port_that_is_no_broker() -> None:
    with silent_port() as port:
        findings = findings_of(mqtt={"host": "127.0.0.1", "port": port})
    assert status(findings, "mqtt.reach") == "ok"
    assert status(findings, "mqtt.login") == "error"
