"""See `rater.switch.frames.serialize`."""

from collections.abc import Mapping, Sequence

LINE_LIMIT: int
HEADERS: int

def serialize(action: dict[str, str]) -> bytes | None: ...
def serialize_all(actions: Sequence[Mapping[str, str]]) -> bytes | None: ...
