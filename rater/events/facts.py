"""The facts that the daemon knows of a leg. They travel as a msgpack map with the leg in the store, so that a
restarted daemon can go on with it, and into the outbox at the end, where a rated event is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import msgpack

from rater.packing import Packed, named


@dataclass
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
    steps: Iterable[str]
    """The normalisation rules applied, in order. Of a leg that lives they are kept as they travel."""
    emergency: bool
    attempted_at_ms: int
    rated_at_ms: int | None = None
    """The moment that second 0 of the quote stands for, by rater's own clock: it picks versions and bands."""
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
    unanswered_at_ms: int | None = None
    """When the leg was last known not to be answered, if the answer itself was not observed."""
    cut: str = ""
    """Why the leg was ended by us: ``credit``, ``spend_limit``, ``operator``, ``max_length``; empty when the
    parties ended it."""
    reason: str = ""
    detail: str = ""
    reseller: str = ""
    shadow: str = ""
    """What would have denied or ended the leg, were it not in shadow; empty when nothing."""
    shadow_at_s: int | None = None
    """After how many seconds of talk it would have ended; None: it would not have begun."""
    longest_s: int = 0
    """In shadow: how long the leg could have lasted; 0: as long as its quote says."""

    def pack(self) -> bytes:
        """As it travels: a msgpack map."""
        if not isinstance(self.steps, Packed):
            self.steps = Packed(self.steps)
        return named(_HEAD, _KEYS, (
            self.id, self.call, self.switch, self.mode, self.direction, self.account, self.line, self.trunk,
            self.caller, self.dialled, self.number, self.prefix, self.destination, self.destination_class,
            self.plan, self.catalog_version, self.steps, self.emergency, self.attempted_at_ms, self.rated_at_ms,
            self.channel_id, self.caller_channel_id, self.dialled_at_ms, self.answered_at_ms, self.ended_at_ms,
            self.disposition, self.cause, self.grade, self.answer_grade, self.unanswered_at_ms, self.cut,
            self.reason, self.detail, self.reseller, self.shadow, self.shadow_at_s, self.longest_s,
        ))  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> LegFacts:
        return cls.from_map(msgpack.unpackb(data))

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> LegFacts:
        """From an unpacked map; fields of a newer version are passed over. Raises TypeError when one is missing."""
        missing = [name for name in _REQUIRED if name not in values]
        if missing:
            raise TypeError(f"facts without {', '.join(missing)}")
        return cls(**{name: value for name, value in values.items() if name in _FACTS})


_NAMES = tuple(f.name for f in fields(LegFacts))
_FACTS = frozenset(_NAMES)
_REQUIRED = tuple(f.name for f in fields(LegFacts) if f.default is MISSING)
_HEAD: bytes = msgpack.packb(dict.fromkeys(_NAMES))[:3]
_KEYS: tuple[bytes, ...] = tuple(msgpack.packb(name) for name in _NAMES)
_REASON: bytes = msgpack.packb("reason")


def reason_of(data: bytes) -> str:
    """The reason in packed facts; empty when they name none."""
    at = data.find(_REASON)
    if data.startswith(_HEAD) and at >= 0 and data.find(_REASON, at + 1) < 0:  # so that it stands in no other text
        begin = at + len(_REASON) + 1
        size = data[begin - 1] - 0xA0
        if 0 <= size < 32:
            return data[begin : begin + size].decode()
    return str(msgpack.unpackb(data).get("reason", ""))
