"""The outbox: one Redis stream per shard, appended by the charging scripts in the call that moves the money.

Key ``<prefix>:{<shard>}:outbox``. An entry has the fields

- ``k``: its kind, ``rated`` | ``denied`` | ``threshold``
- ``f``: facts, a msgpack map written by the daemon (see `rater.events.rated`)
- ``r``: result, a msgpack map written by the script: what only the store knows
- ``to``: on a dead letter that is delivered again, the one group that it is for; others pass over it

An entry means the union of both maps. Consumers read with groups and absorb repeats by the entry's ``id`` fact
(the leg for a rated event), so publishing at least once is publishing once.

Result maps (integers; amounts in micro-units):

- rated: ``amount_micro``, ``pieces`` [[grant or "", from_s, to_s, amount], …] as charged, ``duration_s`` (charged,
  0 unanswered), ``granted_s``, ``balance_before_micro``, ``balance_after_micro``, ``quote`` (Quote.to_wire);
  ``owner`` when the leg drew on a sharing group; ``funds`` [[grant or "" for the balance, shared (0, 1), amount],
  …] when not all money came from the account's balance
- denied: ``reason`` (Reason value), ``balance_micro``, ``reserved_micro``
- threshold: ``threshold``, ``kind`` (ThresholdKind), ``value``, ``grant``, ``before``, ``after``, ``account``,
  ``at_ms``, ``id`` (unique)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from rater.errors import RaterError

RATED = b"rated"
DENIED = b"denied"
THRESHOLD = b"threshold"
TO = b"to"
"""The only group that an entry is for: one delivered again after its target had refused it."""


def outbox_key(prefix: str, shard: int) -> str:
    return f"{prefix}:{{{shard}}}:outbox"


def dead_key(prefix: str, shard: int) -> str:
    """The stream beside the outbox for entries that nobody could read: the entry's own fields, and ``reason``,
    ``entry`` (its id in the outbox) and ``group`` (whose consumer gave up on it)."""
    return f"{prefix}:{{{shard}}}:dead"


class UnreadableEntry(RaterError):
    """An outbox entry that breaks its own rules. It goes to the dead-letter stream; the outbox goes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One outbox entry, decoded. `stream_id` is its place in the shard's stream, ``<milliseconds>-<n>``."""

    shard: int
    stream_id: str
    kind: str
    facts: Mapping[str, Any]
    result: Mapping[str, Any]
    raw: Mapping[bytes, bytes] = field(default_factory=dict, repr=False, compare=False)


def decode_entry(shard: int, stream_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """The entry behind a stream's raw fields. Raises UnreadableEntry."""
    kind = fields.get(b"k", b"")
    if kind not in (RATED, DENIED, THRESHOLD):
        raise UnreadableEntry(f"unknown kind {kind[:40]!r}")
    return Entry(shard, stream_id.decode(), kind.decode(), _map(fields, b"f"), _map(fields, b"r"), fields)


def _map(fields: Mapping[bytes, bytes], name: bytes) -> Mapping[str, Any]:
    data = fields.get(name)
    if not data:
        return {}
    try:
        value = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise UnreadableEntry(f"field {name.decode()} is no msgpack: {error}") from error
    if value == []:  # how Lua packs an empty table
        return {}
    if not isinstance(value, dict):
        raise UnreadableEntry(f"field {name.decode()} holds no map")
    return value
