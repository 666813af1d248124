"""What the dialplan asks in the gate. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import unquote

from rater_native import percent

Arguments = list[str]
WAITING = "agi:async"


def _look_closer(env: str) -> Arguments | None:
    return None


plain_arguments: Callable[[str], Arguments | None] = (
    _look_closer if os.environ.get("RATER_KERNEL") == "reference" else percent.plain_arguments
)
"""Those of a question that is plainly good; None when it wants a closer look."""


def gate_arguments(env: str) -> Arguments | None:
    """The arguments of ``AGI(agi:async,…)`` from an AsyncAGIStart's Env; None when they cannot be believed.

    They stand last, numbered from 1, behind ``agi_threadid``; before that stands what a caller may have chosen (its
    display name). A key that comes twice or a line without one means that a value held a line break.
    """
    arguments = plain_arguments(env)
    return arguments if arguments is not None else arguments_of(unquote(env))


def arguments_of(text: str) -> Arguments | None:
    """The same from what was encoded."""
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


def question_hash(stamp: str, env: str) -> int:
    """Tells a question that came twice from another of the same channel. There is a compiled twin."""
    return hash(stamp + env)


def is_ours(arguments: Arguments) -> bool:
    """``AGI(agi:async[,NUMBER[,out]])`` or ``AGI(agi:async,NUMBER,in,LINE)``; others use AsyncAGI too."""
    return len(arguments) < 2 or arguments[1] == "out" or (arguments[1] == "in" and len(arguments) > 2)


def is_inbound(arguments: Arguments) -> bool:
    return len(arguments) > 2 and arguments[1] == "in"
