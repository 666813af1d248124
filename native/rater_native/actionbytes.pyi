"""See `rater.switch.frames.serialize`."""

LINE_LIMIT: int
HEADERS: int

def serialize(action: dict[str, str]) -> bytes | None: ...
