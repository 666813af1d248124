"""See `rater.switch.ami_parse` for what the parser does; both are one."""

from collections.abc import Iterable, Mapping
from typing import Any, final

from rater_native.actionbytes import Sent

LINE_LIMIT: int
FRAME_LIMIT: int
TAMPERED: str
REPEATABLE: frozenset[str]

class Words:
    def __init__(self, words: Iterable[str]) -> None: ...

@final
class Wanted(Words):
    def __init__(self, headers: Iterable[str], event: str) -> None: ...

@final
class FrameParser:
    def __init__(
        self, selection: Mapping[str, Iterable[str]], sent: Sent | dict[str, Any] | None = None
    ) -> None: ...
    @property
    def banner(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def unknown(self) -> int: ...
    @property
    def garbage(self) -> int: ...
    @property
    def tampered(self) -> int: ...
    @property
    def oversized(self) -> int: ...
    @property
    def answers(self) -> int: ...
    @property
    def pending_bytes(self) -> int: ...
    def feed(self, data: bytes) -> list[Mapping[str, str]]: ...
