"""docs/mqtt.md: its examples are what the code makes, on the topics that the code uses; its rules work."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from events.support import CENT, Desk, Mosquitto, leg_facts, until

from rater.charging.embedded import EmbeddedRedis
from rater.clock import SystemClock
from rater.config import MqttSettings, Settings
from rater.events.notices import DeniedRecord, ThresholdRecord
from rater.events.rated import RatedEvent
from rater.metrics import Metrics
from rater.notify.balance import BalanceRecord
from rater.notify.mqtt import MqttSender
from rater.notify.topics import balance_topic, status_topic, topic_of

from .support import Publisher, listening, settings_for

PAGE = (Path(__file__).parents[2] / "docs/mqtt.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^`(rater/[^`]+)`\n```json\n([^`]+)```", re.M)
EXAMPLES = {topic: json.loads(text) for topic, text in EXAMPLE.findall(PAGE)}
RECORDS = {"rater.rated/1": RatedEvent, "rater.denied/1": DeniedRecord, "rater.threshold/1": ThresholdRecord}


def test_there_is_an_example_of_each() -> None:
    kinds = {"event", "denied", "threshold", "balance", "status"}
    assert {topic.split("/")[1] for topic in EXAMPLES} == kinds
    assert set(re.findall(r"^\| `<prefix>/(\w+)", PAGE, re.M)) == kinds


@pytest.mark.parametrize(("topic", "example"), EXAMPLES.items(), ids=EXAMPLES)
def test_the_examples_are_whole_records_on_their_topics(topic: str, example: dict[str, Any]) -> None:
    schema = example["schema"]
    if schema in RECORDS:
        kind: Any = RECORDS[schema]
        names = {field.alias or name: name for name, field in kind.model_fields.items()}
        assert example.keys() <= names.keys(), "within a version fields are added, none goes away"
        record = kind.model_construct(**{names[key]: value for key, value in example.items()})
        assert topic == topic_of("rater", record)
    elif schema == "rater.balance/1":
        assert json.loads(BalanceRecord.model_validate(example).to_json()) == example
        assert topic == balance_topic("rater", example["account"])
    else:
        sender = MqttSender(MqttSettings(host="127.0.0.1"), SystemClock(), Metrics())
        made = json.loads(sender._status("online", ""))
        assert made.keys() == example.keys()
        assert (topic, made | {"at": ""}) == (status_topic("rater"), example | {"at": ""})


def test_the_pages_access_rules_suffice_and_no_more(
    server: EmbeddedRedis,
    tmp_path: Path,
    publisher: Callable[[Settings], Publisher],
    open_desk: Callable[[], AbstractAsyncContextManager[Desk]],
    prefix: str,
) -> None:
    """The publisher gets everything out, the subscriber of ACME hears of ACME alone."""
    (rules,) = re.findall(r"```\n(user rater\n.+?)```", PAGE, re.S)
    everyone = re.sub(r"user \w+\n", "", rules.replace("rater/", "t/r/"))  # the test's users have no names
    broker = Mosquitto(tmp_path, acl=everyone)
    broker.start()

    async def run() -> None:
        async with open_desk() as desk, listening(broker, "t/r/#") as seen:
            publisher(settings_for(server.url, prefix, broker=broker))
            await desk.credit(100 * CENT)
            await desk.credit(100 * CENT, account="OTHER")
            await desk.call(30, leg_facts("mine", line="1001"))
            await desk.deny(leg_facts("denied", account="ACME", reason="line_limit"))
            await until(lambda: seen.on("t/r/event/ACME/1001") and seen.on("t/r/denied/ACME"))
            await until(lambda: seen.on("t/r/balance/ACME"))
            await until(lambda: broker.taken("t/r/balance/(OTHER)"))
            assert {str(message.topic).split("/")[3] for message in seen.messages} == {"ACME"}

    try:
        asyncio.run(run())
    finally:
        broker.stop()
