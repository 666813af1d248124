"""One switch, led by this process: the lease, the attachment, the hand-over. Used by the daemon and the simulation.

The leadership (a lease in the store, with a fencing token) comes before the connection: take it, adopt the stored
live legs, connect, resynchronise, and from then on decide. When it is lost the connection is dropped and the legs
are left to the switch's timers and the new leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from rater.calls.signals import Mode
from rater.charging.records import LegState
from rater.charging.store import ChargingStore
from rater.config import SwitchSettings
from rater.engine import Engine
from rater.errors import StoreError
from rater.ids import SwitchId
from rater.metrics import Metrics
from rater.switch.adapter import SwitchAdapter

LEASE_MS = 3_000
"""How long a dead leader keeps its switches; a live one renews three times in that span."""
LAPSED_S = 0.25
"""How often it is asked for again once it may have run out: until then the switch is left alone."""
HAND_OVER_S = 1.0
AWAY = (StoreError, RedisError, OSError, TimeoutError)
log = structlog.get_logger(__name__)


class LeadingStore(ChargingStore, Protocol):
    async def legs_of(self, switch: SwitchId) -> Sequence[LegState]:
        """All live legs of a switch, in whatever shards, each once."""
        ...

    async def release(self, switch: SwitchId, holder: str) -> None:
        """Give the leadership up at once; no effect when another holds it."""
        ...


class SwitchLeader:
    """`adapter`: the attachment, while the switch is led. `lost` makes the leader give up at once: a newer one
    writes for the switch. `holder` names this process."""

    def __init__(
        self,
        settings: SwitchSettings,
        secret: str,
        store: LeadingStore,
        engine: Engine,
        metrics: Metrics,
        *,
        holder: str,
        is_ready: Callable[[], bool],
    ) -> None:
        self.switch = SwitchId(settings.id)
        self.adapter: SwitchAdapter | None = None
        self.lost = asyncio.Event()
        self._settings = settings
        self._secret = secret
        self._store = store
        self._engine = engine
        self._metrics = metrics
        self._holder = holder
        self._is_ready = is_ready
        self._led_with = 0
        """The last epoch. Each attachment has its own: what the one before asked for and was not answered, and may
        be carried out late, must find itself out of date."""

    @property
    def synced(self) -> bool:
        """Whether the switch is surely led, connected, and every leg compared with it."""
        adapter = self.adapter
        return adapter is not None and adapter.synced and adapter.may_act

    async def run(self) -> None:
        """Lead whenever it can be had, until cancelled."""
        while True:
            asked_s = time.monotonic()
            epoch = await self._try_to_lead()
            if epoch is None:
                await asyncio.sleep(LEASE_MS / 3000)
                continue
            self._led_with = epoch
            log.info("leading", switch=self.switch, epoch=epoch)
            self._metrics.leading(self.switch, True)
            try:
                await self._attached(epoch, asked_s + LEASE_MS / 1000)
            finally:
                self._engine.detach(self.switch)
                self.adapter = None
                self._metrics.no_switch(self.switch)
                await self._hand_over()
            log.warning("leadership lost", switch=self.switch)

    async def _attached(self, epoch: int, until_s: float) -> None:
        """Charge the switch's calls until the leadership is lost."""
        self.lost.clear()
        adapter = SwitchAdapter(
            self._settings, self._secret, self._engine, self._metrics, is_ready=self._is_ready,
            mode=Mode.SHADOW if self._settings.mode == "shadow" else Mode.WATCH,
        )  # fmt: skip
        self.adapter = adapter
        adapter.acts_until_s = until_s
        fails_open, warn_s = self._settings.fail == "open", self._settings.warn_before_s
        self._engine.attach(self.switch, adapter, epoch=epoch, fails_open=fails_open, warn_s=warn_s)
        tasks = [
            asyncio.create_task(self._attach(adapter)),
            asyncio.create_task(self._keep_leading(adapter)),
            asyncio.create_task(self.lost.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _attach(self, adapter: SwitchAdapter) -> None:
        while True:
            try:
                stored = await self._store.legs_of(self.switch)
                break
            except AWAY as error:
                log.warning("cannot read the live legs", switch=self.switch, error=str(error))
                await asyncio.sleep(LEASE_MS / 3000)
        self._engine.adopt(self.switch, stored)
        await adapter.run()

    async def _hand_over(self) -> None:
        """So that a standby need not wait until the lease runs out."""
        with contextlib.suppress(*AWAY):
            await asyncio.wait_for(self._store.release(self.switch, self._holder), HAND_OVER_S)

    async def _try_to_lead(self) -> int | None:
        try:
            return await self._store.lead(self.switch, self._holder, LEASE_MS, self._led_with)
        except AWAY as error:
            log.warning("cannot ask for the leadership", switch=self.switch, error=str(error))
            return None

    async def _keep_leading(self, adapter: SwitchAdapter) -> None:
        """Ends when another has it, or had it meanwhile. While the store cannot be reached, only from here perhaps,
        go on listening, so that each leg's end is known when it is back; but when the lease may have run out leave
        the switch alone."""
        while True:
            await asyncio.sleep(LEASE_MS / 3000 if adapter.may_act else LAPSED_S)
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(LEASE_MS / 3000):
                    epoch = await self._store.lead(self.switch, self._holder, LEASE_MS, self._led_with - 1)
                if epoch != self._led_with:
                    return
                acted, adapter.acts_until_s = adapter.may_act, asked_s + LEASE_MS / 1000
                if not acted:
                    adapter.leads_again()  # after a pause (SIGSTOP, a machine that slept), or with Redis back
            except AWAY as error:
                log.warning("cannot renew the leadership", switch=self.switch, error=str(error))
