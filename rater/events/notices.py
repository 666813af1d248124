"""The other public records: a denied attempt, schema ``rater.denied/1``, and a crossed threshold, schema
``rater.threshold/1``. `record_of` makes the record of any outbox entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from rater.events.rated import LegFacts, RatedEvent, rated_event, shared_fields
from rater.events.record import BROKEN, Record, amount_fields, iso_ms, unreadable
from rater.events.stream import Entry
from rater.money import format_amount
from rater.verdict import Reason


class DeniedRecord(Record):
    """An attempt that was not allowed. `reason` is the verdict's code; no balance is given where none was asked.

    `shadow`: it was allowed all the same; `reason` is what would have denied it, or would have ended it after
    `shadow_at_s` seconds of talk.
    """

    schema_: Literal["rater.denied/1"] = Field(default="rater.denied/1", alias="schema")
    id: str
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
    class_: str = Field(alias="class")
    plan: str
    catalog_version: int
    emergency: bool
    attempted_at: str
    reason: str
    detail: str
    balance: str | None
    balance_micro: int | None
    reserved: str | None
    reserved_micro: int | None
    steps: tuple[str, ...]
    reseller: str = ""
    shadow: bool = False
    shadow_at_s: int | None = None


class ThresholdRecord(Record):
    """One crossing. The ``_raw`` numbers are micro-units, and their texts decimal amounts, of the balance
    (``money_below``, ``money_above``) or of what was charged in the clock hour, day or cycle (``spend_…``); for
    ``allowance_percent`` the value is in percent, before and after are the seconds of the grant that were used."""

    schema_: Literal["rater.threshold/1"] = Field(default="rater.threshold/1", alias="schema")
    id: str
    account: str
    threshold: str
    kind: Literal["money_below", "allowance_percent", "money_above", "spend_hour", "spend_day", "spend_cycle"]
    grant: str | None
    value: str
    value_raw: int
    before: str
    before_raw: int
    after: str
    after_raw: int
    at: str


PublicRecord = RatedEvent | DeniedRecord | ThresholdRecord


def record_of(entry: Entry) -> PublicRecord:
    """The public record of an outbox entry. Raises UnreadableEntry."""
    if entry.kind == "rated":
        return rated_event(entry.facts, entry.result)
    if entry.kind == "denied":
        return denied_record(entry.facts, entry.result)
    return threshold_record(entry.result)


def denied_record(facts_map: Mapping[str, Any], result: Mapping[str, Any]) -> DeniedRecord:
    """Raises UnreadableEntry."""
    try:
        facts = LegFacts.from_map(facts_map)
        shared = shared_fields(facts)
        reason = Reason(int(result["reason"]))
        shared["reason"] = reason.code
        amounts: dict[str, Any] = dict.fromkeys(("balance", "balance_micro", "reserved", "reserved_micro"))
        shared["shadow"] = bool(facts.shadow)
        if not facts.shadow and Reason.LINE_LIMIT <= reason < Reason.STORE_UNAVAILABLE:  # the account was looked at
            amounts = amount_fields(result, "balance", "reserved")
        return DeniedRecord(**shared, **amounts)
    except BROKEN as error:
        raise unreadable("denied", error) from error


def threshold_record(result: Mapping[str, Any]) -> ThresholdRecord:
    """Raises UnreadableEntry."""
    try:
        render = str if result["kind"] == "allowance_percent" else format_amount
        raw = {name: int(result[name]) for name in ("value", "before", "after")}
        return ThresholdRecord(
            id=result["id"],
            account=result["account"],
            threshold=result["threshold"],
            kind=result["kind"],
            grant=result.get("grant") or None,
            at=iso_ms(int(result["at_ms"])),
            **{name: render(value) for name, value in raw.items()},  # type: ignore[arg-type]  # texts, by name
            **{f"{name}_raw": value for name, value in raw.items()},  # type: ignore[arg-type]  # integers, by name
        )
    except BROKEN as error:
        raise unreadable("threshold", error) from error
