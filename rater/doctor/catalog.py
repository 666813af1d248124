"""The catalogue in force: there, sound, and of the same switches as the settings."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from rater.catalog.model import Catalog
from rater.catalog.snapshot import Snapshot
from rater.catalog.stored import current_key, read_version
from rater.config import SwitchSettings
from rater.doctor.findings import Finding, error, ok, warning
from rater.errors import CatalogError
from rater.ids import SwitchId

_LOAD = "Publish one: rater catalog load DIR --config FILE."


async def read_in_force(client: Redis, prefix: str) -> Snapshot | Finding:
    """The catalogue that is in force, or why there is none. Raises RedisError."""
    redis: Any = client
    current = await redis.get(current_key(prefix))
    check, expected = "catalog.published", "a version is in force"
    if not current:
        return error(check, "", "none is published: every call is refused or passed unseen", expected, _LOAD)
    if not current.isdigit():
        return error(check, "", f"the key {current_key(prefix)} holds {current[:40]!r}", "a number", _LOAD)
    version = int(current)
    try:
        snapshot = await read_version(redis, prefix, version)
    except CatalogError as problem:
        seen = f"version {version} cannot be read: {problem.message}"
        return error("catalog.sound", "", seen, "readable by this version of rater", _LOAD)
    if snapshot is None:
        return error(check, "", f"version {version} is in force, and is missing", expected, _LOAD)
    return snapshot


def check_catalog(catalog: Catalog, switches: list[SwitchSettings]) -> list[Finding]:
    found = [
        ok("catalog.published", "", f"version {catalog.version}", "a version is in force"),
        _sound(catalog),
        *(_trunks(catalog, SwitchId(switch.id)) for switch in switches),
    ]
    configured = {switch.id for switch in switches}
    named = set(catalog.switches) | {trunk.switch for trunk in catalog.trunks.values() if trunk.switch}
    found += [_stray(name) for name in sorted(named - configured)]
    return found


def _sound(catalog: Catalog) -> Finding:
    counts = {"plans": len(catalog.plans), "accounts": len(catalog.accounts), "lines": len(catalog.lines)}
    seen = ", ".join(f"{count} {name}" for name, count in counts.items())
    empty = [name for name, count in counts.items() if not count]
    if empty:
        mend = f"Write down your {' and '.join(empty)}, then: rater catalog load DIR."
        return error("catalog.sound", "", seen, "plans, accounts and lines", mend)
    return ok("catalog.sound", "", seen)


def _trunks(catalog: Catalog, switch: SwitchId) -> Finding:
    patterns = [trunk.pattern for trunk in catalog.trunks.values() if trunk.switch in (None, switch)]
    expected = "the channels of one trunk at least are known by a pattern"
    if patterns:
        return ok("catalog.trunks", switch, ", ".join(sorted(patterns)), expected)
    mend = f'Name its trunks in the catalogue, such as switch = "{switch}", pattern = "PJSIP/carrier-*".'
    return error("catalog.trunks", switch, "no trunk: no leg is ever seen, nothing is charged", expected, mend)


def _stray(name: str) -> Finding:
    mend = "Add it to the settings as a [[switch]], or mend its name in the catalogue."
    seen = f"the catalogue speaks of the switch {name}, which the settings do not have"
    return warning("catalog.switches", name, seen, "the same names in both", mend)
