"""Rated events made by the product's own rating and by `rated_event`, which checks them against their quote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from rater.catalog.files import read_catalog
from rater.catalog.model import Rated
from rater.catalog.snapshot import Snapshot
from rater.events.exporters import arrow_schema
from rater.events.rated import LegFacts, RatedEvent, rated_event
from rater.ids import LineId, PlanId
from rater.money import Quote, Segment, cumulative_micro
from rater.rerate.model import Numbers, Outcome, Rerated
from rater.rerate.pricing import Rerater
from rater.rerate.source import Source, as_columns

CONFIG = Path(__file__).resolve().parents[2] / "config"
FRANCE = read_catalog(CONFIG / "catalog")
BRAZIL = read_catalog(CONFIG / "catalog-brazil")
T0 = 1_790_000_000_000
"""2026-09-21T14:13:20Z, a Monday."""
ALWAYS = (0, 4_102_444_799_000)


def event(
    catalog: Snapshot = FRANCE,
    plan: str = "seconde",
    dialled: str = "0612345678",
    seconds: int = 60,
    *,
    at_ms: int = T0,
    line: str = "",
    allowances: Sequence[tuple[int, int]] = (),
    leg: str = "pbx1.b.1",
    account: str = "acme",
    direction: str = "out",
    **changes: Any,
) -> RatedEvent:
    """The event of a leg as the daemon leaves it. `allowances`: stretches that a grant paid, in order; money paid
    the rest."""
    area = catalog.lines[LineId(line)].area if line else ""
    rated = catalog.rate(PlanId(plan), dialled, area=area, at_ms=at_ms)
    assert isinstance(rated, Rated), rated
    free = rated.emergency or direction == "in"
    quote = Quote((Segment(0, 1, 0, 1),), "", rated.destination_class) if free else rated.quote
    facts = LegFacts(
        id=leg, call=leg, switch="pbx1", mode="gate", direction=direction, account=account, line=line, trunk="t",
        caller="", dialled=dialled, number=rated.number, prefix=rated.prefix, destination=rated.destination,
        destination_class="inbound" if direction == "in" else rated.destination_class, plan=plan,
        catalog_version=catalog.version, steps=list(rated.steps), emergency=rated.emergency,
        attempted_at_ms=at_ms - 40, rated_at_ms=at_ms, dialled_at_ms=at_ms + 5, disposition="answered",
        answered_at_ms=at_ms + 3000, ended_at_ms=at_ms + 3000 + seconds * 1000, grade="observed",
    )  # fmt: skip
    for name, value in changes.items():
        setattr(facts, name, value)
    pieces = list(_pieces(quote, seconds, allowances))
    amount_micro = sum(amount for grant, _, _, amount in pieces if not grant)
    return rated_event(
        {name: getattr(facts, name) for name in LegFacts.__dataclass_fields__},
        {
            "quote": quote.to_wire(), "pieces": pieces, "amount_micro": amount_micro, "duration_s": seconds,
            "granted_s": seconds, "balance_before_micro": 0, "balance_after_micro": -amount_micro,
        },
    )  # fmt: skip


def _pieces(quote: Quote, seconds: int, allowances: Sequence[tuple[int, int]]) -> Iterable[list[Any]]:
    at_s = 0
    for from_s, to_s in [*allowances, (seconds, seconds)]:
        if at_s < from_s:
            yield ["", at_s, from_s, cumulative_micro(quote, from_s) - cumulative_micro(quote, at_s)]
        if from_s < to_s:
            yield ["minutes", from_s, to_s, to_s - from_s]
        at_s = to_s


def rerate(
    events: Iterable[RatedEvent],
    catalog: Snapshot = FRANCE,
    plans: dict[str, str] | None = None,
    numbers: Numbers = Numbers.DIALLED,
) -> Rerated:
    columns = [as_columns(one.to_dict()) for one in events]
    return Rerater(catalog, plans, numbers).rerate(Source(*ALWAYS).records(columns, str))


def outcomes(rerated: Rerated) -> list[str]:
    return [list(Outcome)[place].value for place in rerated.outcome]


def write_jsonl(path: Path, events: Iterable[RatedEvent | dict[str, Any] | str]) -> Path:
    """Lines of a file: events, records, or any text."""
    lines = [
        one if isinstance(one, str) else json.dumps(one) if isinstance(one, dict) else one.to_json()
        for one in events
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_parquet(path: Path, events: Iterable[RatedEvent]) -> Path:
    table = pa.Table.from_pylist([one.to_dict() for one in events], schema=arrow_schema(RatedEvent))
    pyarrow.parquet.write_table(table, path)
    return path
