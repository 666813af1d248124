"""Picks the frame parser, and writes actions.

``RATER_KERNEL`` chooses ``compiled`` (the default) or ``reference``. A compiled module that is missing is an error
at start: nothing falls back to the slow twin unseen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from rater_native import actionbytes

from rater.errors import ConfigError
from rater.switch import ami_parse
from rater.switch.ami_parse import SELECTION, EventFrame, Frame
from rater.switch.sent import Sent

ACTION_LINE_LIMIT = 1024
"""A line this long, CR and LF included, Asterisk cuts in two."""
ACTION_HEADER_LIMIT = 128
"""As many headers as Asterisk reads of one action; it ignores the rest."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What no header may hold: all control characters, and what some read as the end of a line."""

Action = Mapping[str, str]


def _look_closer(action: Action) -> bytes | None:
    return None


def _look_closer_at_all(actions: Sequence[Action]) -> bytes | None:
    return None


_REFERENCE = os.environ.get("RATER_KERNEL") == "reference"
_plain: Callable[[Action], bytes | None] = _look_closer if _REFERENCE else actionbytes.serialize
serialize_all: Callable[[Sequence[Action]], bytes | None] = (
    _look_closer_at_all if _REFERENCE else actionbytes.serialize_all
)
"""As `serialize` writes them one by one, when each is plainly good; None when one wants a closer look."""


class Parser(Protocol):
    """See `rater.switch.ami_parse.FrameParser`. The counters only grow."""

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
    def feed(self, data: bytes) -> list[Frame]: ...


def _implementation(name: str) -> Callable[[Mapping[str, Iterable[str]], Any], Parser]:
    if name == "reference":
        return ami_parse.FrameParser
    if name != "compiled":
        raise ConfigError(f"RATER_KERNEL is {name!r}", hint="Set it to compiled or reference, or leave it out.")
    try:
        from rater_native.amiframe import FrameParser
    except ImportError as error:
        raise ConfigError(
            f"the compiled frame parser cannot be loaded: {error}",
            hint="Build it (pip install . or cythonize -i native/rater_native/amiframe.pyx), or set "
            "RATER_KERNEL=reference to run the slow one knowingly.",
        ) from error
    return FrameParser


def sent_actions() -> Sent:
    """An empty one."""
    return Sent() if _REFERENCE else cast(Sent, actionbytes.Sent())


def frame_parser(selection: Mapping[str, Iterable[str]] = SELECTION, sent: Sent | None = None) -> Parser:
    """A new parser, for one connection. `sent`: actions whose success nobody wants to hear of. Raises
    ConfigError when the chosen one is not there."""
    return _implementation(os.environ.get("RATER_KERNEL", "compiled"))(selection, sent)


def event_frame(headers: Mapping[str, str]) -> EventFrame:
    """An event of these headers, as the parser makes them."""
    if os.environ.get("RATER_KERNEL") == "reference":
        return EventFrame(headers)
    from rater_native import amievent

    return cast(EventFrame, amievent.EventFrame(headers))


def serialize(action: Action) -> bytes:
    """The action as Asterisk reads it: the one way by which anything reaches a switch. Raises ValueError for what
    could become more than one header or be cut. What is plainly good is written by a compiled module.

    A key or value with CR, LF or NUL would start another header or action, other control characters are no part of
    anything that a switch is told; a line of `ACTION_LINE_LIMIT` bytes or more would be split; keys are plain
    names.
    """
    plain = _plain(action)
    return _checked(action) if plain is None else plain


def _checked(action: Action) -> bytes:
    if not 0 < len(action) <= ACTION_HEADER_LIMIT:
        raise ValueError(f"an action has 1 to {ACTION_HEADER_LIMIT} headers, not {len(action)}")
    text = ""
    for key, value in action.items():
        if not key.isalnum() or not key.isascii():
            raise ValueError(f"a header name of {_name(action)} is no plain word")
        if not value.isprintable() and _CONTROL.search(value):  # the first is quick, and refuses more
            raise ValueError(f"a header of {_name(action)} holds a CR, LF, NUL or other control character")
        text += f"{key}: {value}\r\n"
    data = f"{text}\r\n".encode()  # half of a surrogate pair raises a ValueError too
    if len(data) >= ACTION_LINE_LIMIT and any(len(line) + 2 >= ACTION_LINE_LIMIT for line in data.split(b"\r\n")):
        raise ValueError(f"a header of {_name(action)} is longer than {ACTION_LINE_LIMIT} bytes")
    return data


def _name(action: Action) -> str:
    """For messages, which are logged: nothing that was refused."""
    name = action.get("Action", "")
    return name if name.isalnum() and name.isascii() else "an action"
