"""The facts that the daemon knows of a leg, and the public record made of them. Schema ``rater.rated/1``.

`LegFacts` travels as a msgpack map with the leg in the store, so that a restarted daemon can go on with it, and
into the outbox at the end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import msgpack


@dataclass(slots=True)
class LegFacts:
    """Times are switch times, milliseconds since the epoch; empty text or None where not (yet) known."""

    id: str
    """The leg's id; the event's idempotency key."""
    call: str
    switch: str
    mode: str
    direction: str
    account: str
    line: str
    trunk: str
    caller: str
    dialled: str
    number: str
    prefix: str
    destination: str
    destination_class: str
    plan: str
    catalog_version: int
    steps: list[str]
    """The normalisation rules applied, in order."""
    emergency: bool
    attempted_at_ms: int
    channel_id: str = ""
    """The leg's own channel, as the switch calls it (uniqueid)."""
    caller_channel_id: str = ""
    dialled_at_ms: int | None = None
    answered_at_ms: int | None = None
    ended_at_ms: int | None = None
    disposition: str = ""
    cause: int = 0
    grade: str = ""
    answer_grade: str = ""
    cut: str = ""
    """Why the leg was ended by us: ``credit``, ``operator``, ``max_length``; empty when the parties ended it."""
    reason: str = ""
    detail: str = ""

    def pack(self) -> bytes:
        return bytes(msgpack.packb(asdict(self)))

    @classmethod
    def unpack(cls, data: bytes) -> LegFacts:
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = msgpack.unpackb(data)
        return cls(**{name: value for name, value in values.items() if name in known})
