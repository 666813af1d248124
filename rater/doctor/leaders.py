"""Who leads each switch, and whether an older leader is kept out everywhere."""

from __future__ import annotations

from typing import Any

from rater.charging.keys import Keys, leadership_key
from rater.doctor.findings import Finding, error, ok, warning
from rater.ids import Shard, SwitchId


async def check_leader(redis: Any, prefix: str, shards: int, switch: SwitchId) -> list[Finding]:
    """Raises RedisError."""
    lead = await redis.hgetall(leadership_key(prefix, switch))
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    left_ms = int(lead.get(b"until_ms", 0)) - now_ms
    epoch = int(lead.get(b"epoch", 0))
    leads = left_ms > 0
    found = [_leader(switch, lead.get(b"holder", b"").decode(), epoch, leads=leads)]
    written = [int(await redis.get(Keys(prefix, Shard(shard)).epoch(switch)) or 0) for shard in range(shards)]
    return [*found, _fence(switch, epoch, written, leads=leads)]


async def is_led(redis: Any, prefix: str, switch: SwitchId) -> bool:
    """Whether a daemon leads the switch now. Raises RedisError."""
    until_ms = int(await redis.hget(leadership_key(prefix, switch), "until_ms") or 0)
    seconds, micros = await redis.time()
    return until_ms > int(seconds) * 1000 + int(micros) // 1000


def _leader(switch: SwitchId, holder: str, epoch: int, *, leads: bool) -> Finding:
    check, expected = "leader.present", "a daemon leads it"
    if leads:
        return ok(check, switch, f"{holder}, epoch {epoch}", expected)
    mend = "Start rater serve. A daemon that runs and leads nothing says why in its log."
    return warning(check, switch, "no daemon leads it: nothing is charged now", expected, mend)


def _fence(switch: SwitchId, epoch: int, written: list[int], *, leads: bool) -> Finding:
    """Every shard refuses what carries an epoch older than the one written there."""
    check, expected = "leader.fence", "each shard knows the newest epoch and refuses older ones"
    low = [shard for shard, there in enumerate(written) if there < epoch]
    high = [shard for shard, there in enumerate(written) if there > epoch]
    if high:
        mend = (
            "The leadership was lost, perhaps by a restart without it; the daemon mends it as it renews its lease."
        )
        seen = f"shards {high} know epoch {max(written)}, the leadership {epoch}"
        return (error if leads else warning)(check, switch, seen, expected, mend)
    if low and leads:
        mend = "Restart the daemon that leads: an older one could still charge in those shards."
        return error(check, switch, f"shards {low} do not know epoch {epoch}", expected, mend)
    return ok(check, switch, f"epoch {epoch} in {len(written) - len(low)} of {len(written)} shards", expected)
