"""The fields of a rated event that re-rating reads, as Arrow columns."""

from __future__ import annotations

import pyarrow as pa

RATED_SCHEMA = "rater.rated/1"
_PIECE = [pa.field("from_s", pa.int64()), pa.field("to_s", pa.int64())]
COLUMNS = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in ("schema", "id", "direction", "account", "line", "dialled", "number", "prefix", "class",
                         "plan", "currency", "attempted_at", "rated_at", "ended_at")
        ),
        pa.field("emergency", pa.bool_()),
        *(pa.field(name, pa.int64()) for name in ("duration_s", "billed_s", "amount_micro")),
        pa.field("allowance", pa.list_(pa.struct([*_PIECE, pa.field("seconds", pa.int64())]))),
        pa.field("money", pa.list_(pa.struct([*_PIECE, pa.field("amount_micro", pa.int64())]))),
    ]
)  # fmt: skip
"""Types as in the JSON; ``rated_at`` and ``ended_at`` may be null, and older events have no ``rated_at``."""
MAY_BE_NULL = ("rated_at", "ended_at")
TEXTS = ("account", "line", "dialled", "number", "prefix", "class", "plan", "currency", "direction")
