"""How every process of the product logs: structured, to standard error, numbers masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

_LONG_NUMBER = re.compile(r"\d{7,}")
_NUMBER_KEYS = frozenset({"number", "dialled", "caller", "called"})


def mask_number(number: str) -> str:
    """All but the first four and last two digits hidden: enough to tell a route, too little to call back."""
    return number if len(number) <= 6 else f"{number[:4]}{'x' * (len(number) - 6)}{number[-2:]}"


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in _NUMBER_KEYS & event.keys():
        event[key] = _LONG_NUMBER.sub(lambda found: mask_number(found.group()), str(event[key]))
    return event


class Shedding:
    """A text stream whose failures to write harm nobody: a full disk or a reader that left costs log lines, never a
    call. When it can be written again, the first line says how many were lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.shed = 0

    def write(self, text: str) -> int:
        try:
            if self.shed and text.strip():
                self._stream.write(f"{self.shed} log lines were lost: they could not be written\n")
                self._stream.flush()
                self.shed = 0
            self._stream.write(text)
        except (OSError, ValueError):
            self._lost(text)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._lost("\n")

    def _lost(self, text: str) -> None:
        self.shed += text.count("\n")


def set_up_logs(level: str, *, json_lines: bool) -> None:
    """Once per process, before the first line is logged."""
    render: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty()
    )  # fmt: skip
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Shedding(sys.stderr))),
        cache_logger_on_first_use=False,
    )
