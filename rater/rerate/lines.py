"""One line of JSON to one record, checked: what is wrong with it is said in a user's words.

pydantic's parser, not Arrow's: it is as fast where only a part of each record is wanted, and Arrow's JSON reader
was seen to end the process on damaged lines (pyarrow 26.0.1).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rater.errors import InputError
from rater.rerate.columns import RATED_SCHEMA

HINT = "Each line must be one record as `rater events export` writes it; mend or remove the line."
_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Taken(TypedDict):
    from_s: _Int64
    to_s: _Int64
    seconds: _Int64


class _Paid(TypedDict):
    from_s: _Int64
    to_s: _Int64
    amount_micro: _Int64


_Rated = TypedDict(
    "_Rated",
    {
        "schema": Literal["rater.rated/1"],
        "id": str, "direction": str, "account": str, "line": str, "dialled": str, "number": str, "prefix": str,
        "class": str, "plan": str, "currency": str, "attempted_at": str, "rated_at": NotRequired[str | None],
        "ended_at": str | None, "emergency": bool, "duration_s": _Int64, "billed_s": _Int64,
        "amount_micro": _Int64, "allowance": list[_Taken], "money": list[_Paid],
    },
)  # fmt: skip


class _Other(TypedDict):
    schema: Literal["rater.denied/1", "rater.threshold/1"]


_validate = TypeAdapter[Any](Annotated[_Rated | _Other, Field(discriminator="schema")]).validator.validate_json


def record_of_line(line: bytes, place: str) -> dict[str, Any]:
    """What re-rating reads of a record, or only the schema of one of another kind. Raises InputError."""
    try:
        record: dict[str, Any] = _validate(line, strict=True)
    except ValidationError as error:
        raise InputError(f"{place}: {_words(error)}", hint=HINT) from error
    return record


def _words(error: ValidationError) -> str:
    """The first fault of a record."""
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first["input"]
    if kind == "json_invalid":
        return f"not JSON: {first['ctx']['error']}"
    if kind == "union_tag_not_found":
        return "a JSON object without a schema" if isinstance(value, dict) else "not a JSON object"
    if kind == "union_tag_invalid":
        return f"a record of schema {first['ctx']['tag']!r:.60}, not {RATED_SCHEMA}"
    if first["loc"] == ():
        return "not a JSON object"
    name, *inside = first["loc"][1:]
    where = f"{name}, entry {int(inside[0]) + 1}" if inside else f"{name}"
    if len(inside) > 1:
        where += f", {inside[1]}"
    if kind == "missing":
        return f"the event has no {where}"
    return f"{where} is {value!r:.60}: {first['msg'].lower()}"
