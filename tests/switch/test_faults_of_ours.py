"""A fault of ours while a switch's channels are compared is told, and everything is compared anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rater.config import SwitchSettings
from rater.metrics import Metrics
from rater.switch.adapter import SwitchAdapter


def _made(monkeypatch: pytest.MonkeyPatch, breaks: str) -> tuple[SwitchAdapter, list[str]]:
    """An adapter of which one part has a fault, and why its connection was dropped, each time."""
    settings = SwitchSettings.model_validate({"id": "pbx1", "secret": {"file": "x"}})
    engine: Any = None
    adapter, dropped = SwitchAdapter(settings, "secret", engine, Metrics(), resync_every_s=0.01), []

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(adapter, breaks, broken)
    monkeypatch.setattr(adapter.connection, "abort", dropped.append)
    return adapter, dropped


def test_while_a_later_list_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, dropped = _made(monkeypatch, "_resync")
    adapter.synced = True

    async def main() -> None:
        looking = asyncio.create_task(adapter._look_again())
        await asyncio.sleep(0.5)
        assert not looking.done(), "the next connection is looked after, too"
        looking.cancel()

    asyncio.run(main())
    assert len(dropped) > 1
    assert set(dropped) == {"a fault in comparing its channels"}


def test_while_it_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, dropped = _made(monkeypatch, "_begin_life")

    async def status(*_: Any, **__: Any) -> dict[str, str]:
        return {"CoreStartupDate": "2026-01-01", "CoreStartupTime": "00:00:00"}

    monkeypatch.setattr(adapter.connection, "request", status)
    asyncio.run(adapter._come_up())
    assert dropped == ["a fault in taking it up"]
