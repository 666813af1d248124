"""What the dialplan asks in the gate. Pure."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable

from rater_native import percent

_REFERENCE = os.environ.get("RATER_KERNEL") == "reference"
unquote: Callable[[str], str] = urllib.parse.unquote if _REFERENCE else percent.unquote
Arguments = list[str]
WAITING = "agi:async"


def gate_arguments(env: str) -> Arguments | None:
    """The arguments of ``AGI(agi:async,…)`` from an AsyncAGIStart's Env; None when they cannot be believed.

    They stand last, numbered from 1, behind ``agi_threadid``; before that stands what a caller may have chosen (its
    display name). A key that comes twice or a line without one means that a value held a line break.
    """
    text = unquote(env)
    if _REFERENCE or not text.isascii() or text.count("\n") >= percent.LINES:
        return arguments_of(text)
    return percent.arguments(text)


def arguments_of(text: str) -> Arguments | None:
    """The same from what was encoded; there is a compiled twin."""
    keys: set[str] = set()
    arguments: Arguments = []
    for line in text.split("\n"):
        if not line:
            continue
        key, colon, value = line.partition(":")
        if not colon or key in keys:
            return None
        keys.add(key)
        if key.startswith("agi_arg_"):
            if "agi_threadid" not in keys or key != f"agi_arg_{len(arguments) + 1}":
                return None
            arguments.append(value.removeprefix(" "))
    return arguments


def is_ours(arguments: Arguments) -> bool:
    """``AGI(agi:async[,NUMBER[,out]])`` or ``AGI(agi:async,NUMBER,in,LINE)``; others use AsyncAGI too."""
    return len(arguments) < 2 or arguments[1] == "out" or (arguments[1] == "in" and len(arguments) > 2)


def is_inbound(arguments: Arguments) -> bool:
    return len(arguments) > 2 and arguments[1] == "in"
