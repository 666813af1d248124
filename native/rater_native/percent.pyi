def unquote(text: str) -> str:
    """As `urllib.parse.unquote`, for text that came in as UTF-8."""
