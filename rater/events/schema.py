"""JSON Schemas of the public records, made from the types themselves. `docs/schema/` holds them as files;

    python -m rater.events.schema docs/schema

writes them anew, and a test fails when they differ from the types.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rater.events.notices import DeniedRecord, ThresholdRecord
from rater.events.rated import RatedEvent
from rater.events.record import Record

RECORDS: dict[str, type[Record]] = {
    "rated-1": RatedEvent,
    "denied-1": DeniedRecord,
    "threshold-1": ThresholdRecord,
}


def schema_of(record: type[Record]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the JSON that `to_json` writes. Consumers must pass over fields that they do
    not know: within a version fields may be added."""
    schema = record.model_json_schema(by_alias=True, mode="serialization")
    name = record.model_fields["schema_"].default
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{name.replace('/', ':')}",
            **_open(schema), "title": name}  # fmt: skip


def _open(schema: Any) -> Any:
    """The same, further fields allowed."""
    if isinstance(schema, dict):
        return {key: _open(value) for key, value in schema.items() if key != "additionalProperties"}
    return [_open(item) for item in schema] if isinstance(schema, list) else schema


def schema_text(record: type[Record]) -> str:
    return json.dumps(schema_of(record), indent=2) + "\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in RECORDS.items():
        (folder / f"{name}.json").write_text(schema_text(record))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
