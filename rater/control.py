"""Asking a running daemon to do something, through Redis: any command, on any machine, reaches the leader.

A request is published on ``<prefix>:control`` as JSON, ``{"do": "hangup", "leg": LEG, "reply": KEY}``. The daemon
that leads the leg pushes its answer to the list KEY, which expires by itself; the others keep silent, so that no
answer within the deadline means that nobody has that leg.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.asyncio import Redis

REPLY_KEPT_S = 30
REQUEST_MOST_BYTES = 4096
log = structlog.get_logger(__name__)


def control_channel(prefix: str) -> str:
    return f"{prefix}:control"


async def ask(
    redis: Redis, prefix: str, request: dict[str, Any], *, timeout_s: float = 3.0
) -> dict[str, Any] | None:
    """The answer of the daemon concerned; None when none answered in time."""
    reply_key = f"{prefix}:reply:{uuid.uuid4().hex}"
    heard = await redis.publish(control_channel(prefix), json.dumps({**request, "reply": reply_key}))
    if not heard and not isinstance(redis, RedisCluster):  # a node of a cluster counts its own listeners only
        return None
    answer = await redis.blpop([reply_key], timeout=timeout_s)
    if answer is None:
        return None
    value: dict[str, Any] = json.loads(answer[1])
    return value


async def listen(
    redis: Redis,
    prefix: str,
    channels: dict[str, Callable[[bytes], None]],
    answer: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> None:
    """Serve requests, and hand messages on further `channels` to their handlers, until cancelled.

    `answer` returns None for what is another daemon's business. Lost connections are taken up again; what was
    published meanwhile is lost, so nothing may depend on it alone.
    """
    control = control_channel(prefix)
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(control, *channels)
                async for message in pubsub.listen():
                    channel = message["channel"].decode()
                    if channel == control:
                        await _serve(redis, prefix, message["data"], answer)
                    else:
                        channels[channel](message["data"])
        except (OSError, RedisError) as error:
            log.warning("control connection lost", error=str(error))
        await asyncio.sleep(0.5)


def parse_request(data: bytes, prefix: str) -> dict[str, Any] | None:
    """The request in a message; None for what is none. No answer is pushed to a key that is not for answers."""
    if len(data) > REQUEST_MOST_BYTES:
        return None
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict) or not isinstance(request.get("reply"), str):
        return None
    return request if request["reply"].startswith(f"{prefix}:reply:") else None


async def _serve(
    redis: Redis, prefix: str, data: bytes, answer: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> None:
    request = parse_request(data, prefix)
    if request is None:
        log.warning("control request not understood", size=len(data))
        return
    reply = answer(request)
    if reply is not None:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.rpush(request["reply"], json.dumps(reply))
            pipe.expire(request["reply"], REPLY_KEPT_S)
            await pipe.execute()
