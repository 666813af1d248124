"""The published JSON Schemas are those of the records, and records are what the schemas say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

from events.support import CENT, PER_SECOND, T0, leg_facts
from rater.events.notices import denied_record, threshold_record
from rater.events.rated import rated_event
from rater.events.record import Record
from rater.events.schema import RECORDS, schema_of, schema_text
from rater.verdict import Reason

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
FACTS = msgpack.unpackb(leg_facts().pack())
SAMPLES: dict[str, Record] = {
    "rated-1": rated_event(
        FACTS,
        {
            "amount_micro": 5 * CENT, "pieces": [["local", 0, 5, 5], ["", 5, 10, 5 * CENT]], "duration_s": 10,
            "granted_s": 30, "balance_before_micro": 0, "balance_after_micro": -5 * CENT,
            "quote": PER_SECOND.to_wire(),
        },
    ),
    "denied-1": denied_record(
        FACTS, {"reason": int(Reason.LINE_LIMIT), "balance_micro": 0, "reserved_micro": 0}
    ),
    "threshold-1": threshold_record(
        {"id": "x:low", "account": "ACME", "threshold": "low", "kind": "money_below", "value": 1, "grant": "",
         "before": 2, "after": 0, "at_ms": T0}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_the_published_file_is_that_of_the_type(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == schema_text(RECORDS[name]), (
        "the record changed: within a version fields may only be added; then run "
        "python -m rater.events.schema docs/schema"
    )


def test_no_schema_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_exactly_the_fields_of_its_schema(name: str) -> None:
    schema = schema_of(RECORDS[name])
    check(json.loads(SAMPLES[name].to_json()), schema, schema.get("$defs", {}))


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_is_explained_in_the_documentation(name: str) -> None:
    page = (FOLDER.parent / "events.md").read_text()
    missing = [field for field in schema_of(RECORDS[name])["properties"] if f"`{field}`" not in page]
    assert not missing


TYPES: dict[str, Any] = {
    "string": str, "integer": int, "boolean": bool, "null": type(None), "array": list, "object": dict,
}  # fmt: skip


def check(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> None:
    """As much of JSON Schema as ours use; unknown words fail."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        assert any(isinstance(value, TYPES[option["type"]]) for option in schema["anyOf"])
        return
    if "const" in schema:
        assert value == schema["const"]
    if "enum" in schema:
        assert value in schema["enum"]
    assert isinstance(value, TYPES[schema["type"]])
    assert isinstance(value, bool) == (schema["type"] == "boolean")
    if schema["type"] == "array":
        for item in value:
            check(item, schema["items"], defs)
    if schema["type"] == "object":
        assert set(value) == set(schema["properties"])
        assert set(schema["required"]) <= set(value)
        for name, item in value.items():
            check(item, schema["properties"][name], defs)
