"""The product's clocks: whatever module of `rater` a world has loaded, the clock that it reads is the world's.

A module that is loaded is found by itself; nobody need name it. What cannot be replaced from outside (a clock kept
in a default argument, one of `datetime`, an import within a function) is found in the source; a test looks for it.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from unittest import mock

from .virtual import VirtualTime

READS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_NAMES = {getattr(time, name): name for name in READS}
_OF_DATES = {"now", "utcnow", "today"}


def loaded() -> list[ModuleType]:
    """The modules of the product that there are in this process."""
    return [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "rater"]


def clocks_of(module: ModuleType) -> dict[str, str]:
    """Every real clock by its name in the module: "" is the whole of `time`, else which function of it."""
    found = {}
    for name, value in vars(module).items():
        if value is time:
            found[name] = ""
        elif callable(value) and getattr(value, "__module__", None) == "time" and value in _NAMES:
            found[name] = _NAMES[value]
    return found


@contextmanager
def replaced(clock: VirtualTime) -> Iterator[None]:
    """Meanwhile every loaded module reads `clock`. AssertionError when one came that reads a real one."""
    with ExitStack() as stack:
        for module in loaded():
            for name, which in clocks_of(module).items():
                stack.enter_context(mock.patch.object(module, name, getattr(clock, which) if which else clock))
        yield
        late = [module.__name__ for module in loaded() if clocks_of(module)]
        assert not late, f"loaded while the world went on, and on real time: {late}"


def escapes(source: str) -> list[str]:
    """Where a module reads a clock that `replaced` does not reach, in words with the line."""
    tree = ast.parse(source)
    bodies = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for each in bodies for statement in each.body for node in ast.walk(statement)}
    clocks, whole = set[str](), set[str]()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            names = [alias.asname or alias.name for alias in node.names if alias.name in READS]
            clocks.update(names)
        elif isinstance(node, ast.Import):
            names = [alias.asname or alias.name for alias in node.names if alias.name == "time"]
            whole.update(names)
        else:
            continue
        if names and id(node) in inside:
            found.append(f"line {node.lineno}: imported within a function")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _OF_DATES:
            of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if of in ("datetime", "date"):
                found.append(f"line {node.lineno}: {of}.{node.attr}")
        named = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in clocks
        read = isinstance(node, ast.Attribute) and node.attr in READS and getattr(node.value, "id", "") in whole
        if (named or read) and id(node) not in inside:
            found.append(f"line {node.lineno}: kept when the module is loaded")
    return found
