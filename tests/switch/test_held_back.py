"""A verdict that falls while another might lead is held back, and made good when nobody else did."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rater.calls.commands import AnswerGate, Forget, HangUp, SwitchCommand
from rater.calls.signals import Direction
from rater.catalog.model import SwitchRules
from rater.config import SwitchSettings
from rater.ids import LegId, SwitchId
from rater.metrics import Metrics
from rater.switch.actions import Actions
from rater.switch.adapter import SwitchAdapter
from rater.switch.legs import LegChannels
from rater.switch.tracker import Tracker
from rater.verdict import Reason

SWITCH, LEG = SwitchId("pbx1"), LegId("pbx1.b.7")


class OneLeg(Tracker):
    """Knows one leg. `asking`: its channel still waits at the gate."""

    def __init__(self, *, asking: bool) -> None:
        super().__init__(SWITCH, "b", SwitchRules(SWITCH), [])
        self.asking = asking

    def channels_of(self, leg: LegId) -> LegChannels | None:
        assert leg == LEG
        return LegChannels(None, "PJSIP/1001-1", self.asking, False, Direction.OUT) if self.asking else None

    def forget(self, leg: LegId) -> None:
        pass


class Said(Actions):
    """What would be sent, in words."""

    def of(self, command: SwitchCommand, tracker: Tracker) -> list[Any]:
        return [command]


def made(*, asking: bool) -> SwitchAdapter:
    settings = SwitchSettings.model_validate({"id": "pbx1", "secret": {"file": "x"}})
    engine: Any = None
    adapter = SwitchAdapter(settings, "secret", engine, Metrics())
    adapter.tracker, adapter._actions = OneLeg(asking=asking), Said("test")
    return adapter


@pytest.mark.parametrize("asking", [True, False])
def test_a_verdict_held_back_is_told_if_the_channel_still_waits(asking: bool) -> None:
    adapter = made(asking=asking)
    adapter.acts_until_s = -math.inf
    verdict = AnswerGate(LEG, Reason.LINE_LIMIT, 0)
    adapter.execute(verdict)
    assert not adapter._outgoing, "another may lead"
    adapter.acts_until_s = math.inf
    adapter.leads_again()
    assert adapter._look.is_set(), "the switch is to be looked at"
    list(adapter._look_at_lost())
    assert adapter._outgoing == ([verdict] if asking else [])


def test_what_is_over_is_not_made_good() -> None:
    adapter = made(asking=True)
    adapter.acts_until_s = -math.inf
    adapter.execute(AnswerGate(LEG, Reason.LINE_LIMIT, 0))
    adapter.execute(HangUp(LEG, 34))
    adapter.execute(Forget(LEG))
    adapter.acts_until_s = math.inf
    list(adapter._look_at_lost())
    assert not adapter._outgoing
