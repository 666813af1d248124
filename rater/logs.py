"""How every process of the product logs: structured, to standard error, personal data masked.

Masked are telephone numbers and mail addresses wherever they stand, in values, messages and tracebacks, and names
of people. The ids of legs and calls stay whole: they lead from a log line to a record, and hold no number. Control
characters are written out, so that no value can pretend to be a line of its own or steer a terminal. What other
libraries log, and a traceback that nobody caught, go the same way.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

_DIGITS = re.compile(r"\d{7,}")
_NUMBER = re.compile(r"\+\d[\d ().-]{5,}\d|(?<![\w.])\d{7,}(?![\w]|\.\d)|(?<=[A-Za-z_])\d{9,}(?![\w]|\.\d)")
"""With a plus, however it is written; else digits alone, but not parts of a channel's unique id or of a leg's."""
_ADDRESS = re.compile(r"([\w.+%!#$&'*=?^`{|}~-])[\w.+%!#$&'*=?^`{|}~-]*@(?=[\w-])")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NUMBER_KEYS = frozenset({"number", "dialled", "caller", "called"})
_NAME_KEYS = frozenset({"name", "caller_name"})
_OPEN_KEYS = frozenset({"leg", "call", "op", "boot", "timestamp", "level"})
_LINES_KEYS = frozenset({"exception", "stack"})


def mask_number(number: str) -> str:
    """All but the first four and last two digits hidden: enough to tell a route, too little to call back."""
    return number if len(number) <= 6 else f"{number[:4]}{'x' * (len(number) - 6)}{number[-2:]}"


def mask_text(text: str) -> str:
    """Telephone numbers and mail addresses in it hidden."""
    hidden = _NUMBER.sub(lambda found: mask_number(found.group()), text)
    return _ADDRESS.sub(r"\1xx@", hidden)


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event.keys() - _OPEN_KEYS:
        event[key] = _masked(key, event[key])
    return event


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if key in _NUMBER_KEYS:
            return _DIGITS.sub(lambda found: mask_number(found.group()), value)
        return "xx" if key in _NAME_KEYS and value else mask_text(value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), one) for inner, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, one) for one in value]
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and key not in _NUMBER_KEYS):
        return value
    return _masked(key, str(value))


def _write_out(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and key not in _LINES_KEYS and not value.isprintable():
            event[key] = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), value)
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


class _Masking(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(mask_text("".join(traceback.format_exception(kind, error, trace))))


def set_up_logs(level: str, *, json_lines: bool, show_personal_data: bool = False) -> None:
    """Once per process, before the first line is logged."""
    render: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty()
    )  # fmt: skip
    stream = cast(TextIO, Shedding(sys.stderr))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([] if show_personal_data else [_mask]),
            *([] if json_lines else [_write_out]),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    text = "%(asctime)s [%(levelname)s] %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(text) if show_personal_data else _Masking(text))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    sys.excepthook = sys.__excepthook__ if show_personal_data else _uncaught
