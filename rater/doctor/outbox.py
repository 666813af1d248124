"""The outbox: what waits in it, for how long, and what nobody could read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from rater.config import Settings
from rater.doctor.findings import Finding, error, ok, warning
from rater.events.backlog import Backlog, outbox_backlog
from rater.events.stream import dead_key, outbox_key

AGE_GOOD_S, AGE_MOST_S = 60.0, 3600.0


async def check_outbox(client: Redis, settings: Settings) -> list[Finding]:
    """Raises RedisError."""
    redis: Any = client
    prefix = settings.redis.prefix
    found = []
    for shard in range(settings.redis.shards):
        key, subject = outbox_key(prefix, shard), f"shard {shard}"
        present = (
            {info["name"].decode() for info in await redis.xinfo_groups(key)} if await redis.exists(key) else set()
        )
        groups = present | set(wanted_groups(settings))
        for group in sorted(groups):
            backlog = await outbox_backlog(client, prefix=prefix, shard=shard, group=group)
            found.append(_backlog(f"{subject}, {group}", backlog, known=group in present))
        if not groups:
            found.append(ok("outbox.backlog", subject, f"{await redis.xlen(key)} entries, published to nobody"))
        found.append(_dead(subject, await redis.xlen(dead_key(prefix, shard))))
    return found


def wanted_groups(settings: Settings) -> Sequence[str]:
    """The targets that the settings name, each a consumer group."""
    names = [
        ("mqtt", settings.mqtt.host is not None),
        ("files", settings.publish.files is not None),
        ("mail", settings.smtp.host is not None),
    ]
    return [*(name for name, wanted in names if wanted), *(f"webhook:{hook.name}" for hook in settings.webhook)]


def _backlog(subject: str, backlog: Backlog, *, known: bool) -> Finding:
    check, expected = "outbox.backlog", f"acknowledged within {AGE_GOOD_S:.0f} s"
    if not backlog.entries:
        return ok(check, subject, "nothing waits", expected)
    seen = f"{backlog.entries} entries wait, the oldest for {backlog.age_s:.0f} s"
    if not known:
        seen += "; the publisher has never run"
    mend = "Is rater publish running (rater serve runs it), and does its target answer? See its log."
    if backlog.age_s > AGE_MOST_S:
        return error(check, subject, seen, expected, mend)
    if backlog.age_s > AGE_GOOD_S:
        return warning(check, subject, seen, expected, mend)
    return ok(check, subject, seen, expected)


def _dead(subject: str, count: int) -> Finding:
    check, expected = "outbox.dead", "none"
    if not count:
        return ok(check, subject, "no dead letters", expected)
    mend = "rater events dead lists them and says why; deliver them again with --retry, or --drop them."
    seen = f"{count} entries were set aside: their target refused them, or nobody could read them"
    return warning(check, subject, seen, expected, mend)
