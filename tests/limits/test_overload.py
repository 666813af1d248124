"""A call that waited too long for its turn is refused at once, so that the ones after it need not wait as long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rater.calls.commands import AnswerGate, HangUp
from rater.calls.signals import Attempted, Direction, Mode
from rater.ids import SwitchId
from rater.verdict import Reason
from tests.limits.site import POLICY, Site, make
from tests.limits.support import FRANCE, NOWHERE, attempt

LATE_MS = POLICY.shed_after_ms + 400
SHADOW = 'enforce = "shadow"'


def late(site: Site, wanted: Attempted, waited_ms: int = LATE_MS) -> Attempted:
    site.clock.advance(1)
    arrived_ns = site.clock.monotonic_ms() * 1_000_000
    site.clock.advance(waited_ms)
    return replace(wanted, arrived_ns=arrived_ns)


def asked(site: Site, number: str = FRANCE, *, waited_ms: int = LATE_MS, mode: Mode = Mode.GATE) -> Reason | None:
    """What the gate, or in watch mode the call, is told. None: nothing."""
    wanted = late(site, attempt(number, mode=mode, trunk=None), waited_ms)
    site.engine.on_signal(wanted)
    site.engine.flush()
    told = site.switch.touched("l1")
    for command in told:
        if isinstance(command, AnswerGate):
            return command.reason
        assert not isinstance(command, HangUp)
    return None


def test_it_is_refused_and_recorded(tmp_path: Path) -> None:
    site = make(tmp_path)
    assert asked(site) is Reason.OVERLOADED
    assert [record["reason"] for record in site.denials()] == [Reason.OVERLOADED]


@pytest.mark.parametrize(("waited_ms", "told"), [(50, Reason.ALLOWED), (150, Reason.OVERLOADED)])
def test_what_the_store_will_let_it_wait_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited_ms: int, told: Reason
) -> None:
    site, waits_ms = make(tmp_path), POLICY.shed_after_ms - 100
    monkeypatch.setattr(site.store, "expected_wait_s", lambda shard: waits_ms / 1000)
    assert asked(site, waited_ms=waited_ms) is told


def test_in_time_it_is_decided(tmp_path: Path) -> None:
    assert asked(make(tmp_path), waited_ms=POLICY.shed_after_ms // 2) is Reason.ALLOWED


def test_what_would_be_refused_anyway_keeps_its_reason(tmp_path: Path) -> None:
    assert asked(make(tmp_path), NOWHERE) is Reason.NO_RATE


def test_an_emergency_is_decided_however_long_it_waited(tmp_path: Path) -> None:
    assert asked(make(tmp_path), "112") is Reason.EMERGENCY


def test_in_shadow_nothing_is_refused(tmp_path: Path) -> None:
    assert asked(make(tmp_path, account=SHADOW)) is Reason.ALLOWED


def test_where_calls_go_on_by_themselves_it_is_followed(tmp_path: Path) -> None:
    site = make(tmp_path)
    site.engine.detach(SwitchId("pbx1"))
    site.engine.attach(SwitchId("pbx1"), site.switch, epoch=2, fails_open=True)
    assert asked(site) is Reason.ALLOWED


@pytest.mark.parametrize("direction", list(Direction))
def test_a_call_that_is_dialled_already_is_not_ended_for_it(tmp_path: Path, direction: Direction) -> None:
    site = make(tmp_path)
    site.call(late(site, attempt(direction=direction)), 5)
    site.run(10)
    assert site.over["l1"] == LATE_MS + 5001
    assert not site.denials()
