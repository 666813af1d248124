"""The outbox: one Redis stream per shard, appended by the charging scripts in the call that moves the money.

Key ``<prefix>:{<shard>}:outbox``. An entry has the fields

- ``k``: its kind, ``rated`` | ``denied`` | ``threshold``
- ``f``: facts, a msgpack map written by the daemon (see `rater.events.rated`)
- ``r``: result, a msgpack map written by the script: what only the store knows

An entry means the union of both maps. Consumers read with groups and absorb repeats by the entry's ``id`` fact
(the leg for a rated event), so publishing at least once is publishing once.

Result maps (integers; amounts in micro-units):

- rated: ``amount_micro``, ``pieces`` [[grant or "", from_s, to_s, amount], …] as charged, ``duration_s`` (charged,
  0 unanswered), ``granted_s``, ``balance_before_micro``, ``balance_after_micro``, ``quote`` (Quote.to_wire)
- denied: ``reason`` (Reason value), ``balance_micro``, ``reserved_micro``
- threshold: ``threshold``, ``kind`` (ThresholdKind), ``value``, ``grant``, ``before``, ``after``, ``account``,
  ``at_ms``, ``id`` (unique)
"""

from __future__ import annotations

RATED = b"rated"
DENIED = b"denied"
THRESHOLD = b"threshold"


def outbox_key(prefix: str, shard: int) -> str:
    return f"{prefix}:{{{shard}}}:outbox"
