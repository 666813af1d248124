LINES: int

def unquote(text: str) -> str:
    """As `urllib.parse.unquote`, for text that came in as UTF-8."""

def arguments(text: str) -> list[str] | None:
    """See `rater.switch.gate.arguments_of`, for ASCII text of fewer than `LINES` line breaks."""
