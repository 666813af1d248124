"""See `rater.attributes_reference`."""

from typing import Any

class Attribute:
    def __init__(self, owner: type, name: str) -> None: ...
    def of(self, record: object) -> Any: ...
