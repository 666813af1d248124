"""The broker: lets us in, takes messages under the prefix, shows the status.

The probe is one retained message on ``<prefix>/doctor/<random>``, removed again: retained, because balances and the
status are, and brokers may allow the one and not the other.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiomqtt

from rater.config import MqttSettings
from rater.doctor.findings import Finding, error, ok, warning
from rater.doctor.network import privacy, reach
from rater.notify.mqtt import REFUSAL, BatchClient, Message, make_client, reason_name
from rater.notify.topics import status_topic

ANSWER_S, STATUS_S = 4.0, 1.0


async def check_mqtt(settings: MqttSettings) -> list[Finding]:
    """Raises ConfigError for an unusable password or authority file."""
    assert settings.host is not None
    mend = "Give the broker a TLS listener (8883) and set tls = true, or keep both on one machine."
    tls = privacy("mqtt.tls", "", settings.host, tls=settings.tls, what="every rated event", mend=mend)
    reached = await reach("mqtt.reach", "", settings.host, settings.port, "the broker")
    found = [tls, reached]
    if reached.status != "ok":
        return found
    name = f"{settings.client_id}-doctor-{uuid.uuid4().hex[:8]}"
    client = make_client(settings, settings.password.read(), identifier=name, timeout=ANSWER_S)
    logged_in = False
    try:
        async with asyncio.timeout(3 * ANSWER_S), client:
            logged_in = True
            found.append(ok("mqtt.login", "", f"as {settings.user or 'anybody'}"))
            found.append(await _status(client, settings))
            found.append(await _publish(client, settings))  # last: some brokers end the connection on a refusal
    except (aiomqtt.MqttError, TimeoutError) as problem:
        seen = str(problem) or f"no answer within {3 * ANSWER_S:g} s"
        if not logged_in:
            mend = "Compare user and password with the broker's, tls with its listener; it must speak MQTT 5."
            found.append(error("mqtt.login", "", seen, "the broker lets us in", mend))
        elif found[-1].check != "mqtt.publish":
            found.append(error("mqtt.publish", "", seen, "the connection lasts", "Look at the broker's log."))
    finally:
        if client.gone.done() and not client.gone.cancelled():
            client.gone.exception()  # it was seen
    return found


async def _publish(client: BatchClient, settings: MqttSettings) -> Finding:
    check, expected = "mqtt.publish", f"messages under {settings.prefix}/ are taken"
    topic = f"{settings.prefix}/doctor/{uuid.uuid4().hex[:8]}"
    (code,) = await client.publish_batch([Message(topic, "{}", retain=True)])
    if 0 <= code < REFUSAL:
        await client.publish_batch([Message(topic, "", retain=True)])
        return ok(check, "", f"{topic} was taken, and removed again", expected)
    mend = f"Allow the user to write {settings.prefix}/#, also retained: docs/mqtt.md."
    seen = f"{topic}: {reason_name(code)}" if code >= 0 else f"{topic}: no acknowledgement"
    return error(check, "", seen, expected, mend)


async def _status(client: BatchClient, settings: MqttSettings) -> Finding:
    """The retained word of the publisher, or of the broker about it."""
    check, topic = "mqtt.status", status_topic(settings.prefix)
    expected = "online"
    codes: Any = await client.subscribe(topic, qos=1)
    code = getattr(codes[0], "value", codes[0])
    if code >= REFUSAL:
        mend = f"Allow the user to read {topic}, for this check only: rater itself reads nothing."
        return warning(check, "", f"{topic} may not be read: {reason_name(code)}", expected, mend)
    mend = "Start rater publish; rater serve runs it when MQTT is set."
    try:
        async with asyncio.timeout(STATUS_S):
            payload = (await anext(aiter(client.messages))).payload
    except TimeoutError:
        return warning(check, "", f"nothing is retained on {topic}: no publisher was ever here", expected, mend)
    try:
        said = json.loads(payload)
        state = str(said["status"])
    except (TypeError, ValueError, KeyError):
        mend = "Something else writes there: choose another prefix, or forbid it."
        return warning(check, "", f"{topic} holds what rater does not write", expected, mend)
    if state != "online":
        return warning(check, "", f"{state} ({said.get('reason') or 'no reason'})", expected, mend)
    return ok(check, "", f"online since {said.get('at')}", expected)
