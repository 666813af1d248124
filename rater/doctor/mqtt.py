"""The broker: lets us in, takes messages under the prefix, shows the status.

The probe is one retained message on ``<prefix>/doctor/<random>``, removed again: retained, because balances and the
status are, and brokers may allow the one and not the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid

import aiomqtt

from rater.config import MqttSettings
from rater.doctor.findings import Finding, error, not_checked, ok, warning
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
            found += await _talk(client, settings)
    except (aiomqtt.MqttError, TimeoutError) as problem:
        seen = str(problem) or f"no answer within {3 * ANSWER_S:g} s"
        if not logged_in:
            mend = "Compare user and password with the broker's, tls with its listener; it must speak MQTT 5."
            found.append(error("mqtt.login", "", seen, "the broker lets us in", mend))
        elif found[-1].check == "mqtt.login":
            found.append(error("mqtt.publish", "", seen, "the connection lasts", "Look at the broker's log."))
    finally:
        if client.gone.done() and not client.gone.cancelled():
            client.gone.exception()  # it was seen
    return found


async def _talk(client: BatchClient, settings: MqttSettings) -> list[Finding]:
    """Also listens to its own probe: who hears that may read, and then silence on the status topic tells."""
    status, probe = status_topic(settings.prefix), f"{settings.prefix}/doctor/{uuid.uuid4().hex[:8]}"
    heard: dict[str, bytes] = {}
    for topic in (status, probe):
        await client.subscribe(topic, qos=1)
    (code,) = await client.publish_batch([Message(probe, "{}", retain=True)])
    with contextlib.suppress(TimeoutError, aiomqtt.MqttError):
        async with asyncio.timeout(STATUS_S):
            async for message in client.messages:
                heard.setdefault(message.topic.value, bytes(message.payload))
                if len(heard) == 2:
                    break
    if 0 <= code < REFUSAL:
        await client.publish_batch([Message(probe, "", retain=True)])
    return [_publish(code, probe, settings), _status(heard.get(status), status, may_read=probe in heard)]


def _publish(code: int, topic: str, settings: MqttSettings) -> Finding:
    check, expected = "mqtt.publish", f"messages under {settings.prefix}/ are taken"
    if 0 <= code < REFUSAL:
        return ok(check, "", f"{topic} was taken, and removed again", expected)
    mend = f"Allow the user to write {settings.prefix}/#, also retained: docs/mqtt.md."
    seen = f"{topic}: {reason_name(code)}" if code >= 0 else f"{topic}: no acknowledgement"
    return error(check, "", seen, expected, mend)


def _status(payload: bytes | None, topic: str, *, may_read: bool) -> Finding:
    """The retained word of the publisher, or of the broker about it."""
    check, expected = "mqtt.status", "online"
    mend = "Start rater publish; rater serve runs it when MQTT is set."
    if payload is None:
        if may_read:
            return warning(check, "", f"nothing is on {topic}: no publisher was ever here", expected, mend)
        why = f"nothing came from {topic}; the user need not be allowed to read, and seems not to be"
        return not_checked(check, "", why, f"Allow it to read {topic}, for this check, or look with another user.")
    try:
        said = json.loads(payload)
        state = str(said["status"])
    except (TypeError, ValueError, KeyError):
        mend = "Something else writes there: choose another prefix, or forbid it."
        return warning(check, "", f"{topic} holds what rater does not write", expected, mend)
    if state != "online":
        return warning(check, "", f"{state} ({said.get('reason') or 'no reason'})", expected, mend)
    return ok(check, "", f"online since {said.get('at')}", expected)
