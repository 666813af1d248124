"""A leg's whole life in the session machine, eight signals: compiled, and from the same source."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rater.calls import commands, session, signals
from rater.compiled import ROOT, slow_modules
from rater.events.rated import LegFacts
from rater.ids import LegId
from rater.verdict import Reason

NAMES = ("rater.calls.signals", "rater.calls.commands", "rater.calls.session")
T0 = 1_790_000_000_000


def from_source() -> list[ModuleType]:
    """The modules again, run from their sources beside the compiled ones."""
    kept = {name: sys.modules[name] for name in NAMES}
    try:
        for name in NAMES:
            path = ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py")
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return [sys.modules[name] for name in NAMES]
    finally:
        sys.modules.update(kept)


def facts() -> LegFacts:
    return LegFacts(
        id="pbx1.t0.1", call="pbx1.t0.1", switch="pbx1", mode="gate", direction="out", account="a", line="1",
        trunk="", caller="1", dialled="1", number="33", prefix="33", destination="F", destination_class="fixed",
        plan="p", catalog_version=1, steps=[], emergency=False, attempted_at_ms=T0,
    )  # fmt: skip


def life(said: ModuleType, machine: ModuleType) -> int:
    leg = LegId("pbx1.t0.1")
    one = machine.Session(facts(), mode=said.Mode.GATE, horizon_s=14_400)
    asked = len(one.begin(T0))
    for signal, after_ms in (
        (said.Reserved(leg, Reason.ALLOWED, 30, False), 1),
        (said.Dialled(leg, "trunk", "1790000000.2", T0 + 2), 2),
        (said.Answered(leg, T0 + 3000), 3000),
        (said.Due(leg), 28_000),
        (said.Extended(leg, 90, False), 28_001),
        (said.Ended(leg, T0 + 43_000, 16, said.Disposition.ANSWERED), 43_000),
        (said.Settled(leg, 8000), 43_001),
    ):
        asked += len(one.handle(signal, T0 + after_ms))
    return asked


@pytest.mark.parametrize("way", ["compiled", "source"])
def test_life(benchmark: BenchmarkFixture, way: str) -> None:
    said, _, machine = from_source() if way == "source" else (signals, commands, session)
    if way == "compiled" and slow_modules():
        pytest.skip(f"not compiled from what stands there: {', '.join(slow_modules())}")
    assert benchmark(life, said, machine) == 14, "commands in all"
