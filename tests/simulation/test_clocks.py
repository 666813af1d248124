"""No module of the product that a world runs reads a real clock, whether anybody thought of it or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .clocks import clocks_of, escapes, replaced
from .virtual import VirtualLoop, VirtualTime

ROOT = Path(__file__).parents[2]
LIST_WHAT_A_WORLD_LOADS = """
from tests.simulation.clocks import clocks_of, loaded
import tests.simulation.play
for module in loaded():
    print(module.__name__, ",".join(clocks_of(module)) or "-", flush=True)
"""
KEPT_ON_PURPOSE = {
    "rater.charging.newest": "of the real store, which a world has not; where a world uses it, it says which clock"
}
PLANTED = """
import time
import time as t
from time import monotonic
from time import perf_counter_ns as p, sleep

def now():
    return time.time_ns(), t.monotonic_ns(), monotonic(), p()
"""


def loaded_by_a_world() -> dict[str, set[str]]:
    """The product's modules in a fresh process, and the names that each has clocks under."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_WHAT_A_WORLD_LOADS], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: set(clocks.split(",")) - {"-"} for name, clocks in lines}


def test_every_clock_of_what_a_world_loads_can_be_replaced() -> None:
    """Also in compiled modules, where a name may be no name of the module's."""
    modules = loaded_by_a_world()
    assert {"rater.tally", "rater.switch.port", "rater.switch.ami", "rater.leading"} <= modules.keys()
    assert modules["rater.tally"] == {"time"}
    for name, clocks in modules.items():
        path = ROOT.joinpath(*name.split("."))
        source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        text = source.read_text()
        found = escapes(text)
        assert not found or name in KEPT_ON_PURPOSE, f"{name}: {found}"
        imports = {line for line in text.splitlines() if line in ("import time", "from time import monotonic")}
        assert len(imports) <= len(clocks), f"{name} has clocks that are not seen: {imports}, only {clocks}"
    assert modules.keys() >= KEPT_ON_PURPOSE.keys(), "kept on purpose, and no longer there"


def test_a_module_that_nobody_has_named_reads_the_worlds_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("rater.planted")
    exec(PLANTED, vars(module))
    monkeypatch.setitem(sys.modules, "rater.planted", module)
    assert clocks_of(module) == {"time": "", "t": "", "monotonic": "monotonic", "p": "perf_counter_ns"}
    loop = VirtualLoop()
    try:
        with replaced(VirtualTime(loop, 1_790_000_000)):
            assert module.now() == (1_790_000_000_000_000_000, 0, 0.0, 0)
        assert min(module.now()) > 0
    finally:
        loop.close()


def test_a_module_that_is_loaded_later_with_a_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("rater.late")
    exec("import time", vars(module))
    loop = VirtualLoop()
    try:
        with pytest.raises(AssertionError, match=r"rater\.late"), replaced(VirtualTime(loop, 1_790_000_000)):
            monkeypatch.setitem(sys.modules, "rater.late", module)
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ndef f():\n    return time.monotonic()", []),
        ("import time\ndef f(now=time.monotonic):\n    pass", ["line 2: kept when the module is loaded"]),
        ("from time import time as t\nclass C:\n    now = t", ["line 3: kept when the module is loaded"]),
        ("def f():\n    import time\n    return time.time()", ["line 2: imported within a function"]),
        ("def f():\n    from time import sleep", []),
        ("import datetime\ndef f():\n    return datetime.datetime.now()", ["line 3: datetime.now"]),
        ("from datetime import date\ndef f():\n    return date.today()", ["line 3: date.today"]),
    ],
)
def test_clocks_that_cannot_be_replaced_are_found(source: str, found: list[str]) -> None:
    assert escapes(source) == found
