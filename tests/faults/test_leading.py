"""A leader alone, that could not renew its lease for a while: what it does when it can again."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from rater import leading
from rater.config import SwitchSettings
from rater.leading import SwitchLeader

SETTINGS = SwitchSettings(id="pbx1", secret={"env": "X"})


class Store:
    """Grants the leadership so many times, then to somebody else."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def lead(self, *asked: Any) -> int | None:
        self.left -= 1
        return 7 if self.left >= 0 else None


class Adapter:
    def __init__(self, until_s: float) -> None:
        self.acts_until_s = until_s
        self.beats = 0

    @property
    def may_act(self) -> bool:
        return time.monotonic() <= self.acts_until_s

    def leads_again(self) -> None:
        assert self.may_act, "a beat is a promise to decide"
        self.beats += 1


@pytest.mark.parametrize(("since_s", "beats"), [(-30.0, 1), (2.0, 0)])
def test_33_after_a_pause_the_dialplan_is_told_as_soon_as_it_leads_again(
    monkeypatch: pytest.MonkeyPatch, since_s: float, beats: int
) -> None:
    """The last beat is as old as the pause, and by it calls go by `fail`; the next one might be a second away. A
    leader that was not paused beats by the clock."""
    monkeypatch.setattr(leading, "LAPSED_S", 0.0)
    monkeypatch.setattr(leading, "LEASE_MS", 300)
    nothing: Any = SimpleNamespace()
    store: Any = Store(2)
    leader = SwitchLeader(SETTINGS, "", store, nothing, nothing, holder="me", is_ready=lambda: True)
    adapter: Any = Adapter(time.monotonic() + since_s)
    leader._led_with = 7
    asyncio.run(asyncio.wait_for(leader._keep_leading(adapter), 10))
    assert adapter.beats == beats
