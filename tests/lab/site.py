"""One whole site around the lab's Asterisk: Redis, broker, catalogue, daemon, and what a test asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from rater.charging.keys import Keys
from rater.charging.records import AccountState, LegState
from rater.charging.redis_store import RedisStore
from rater.events.notices import DeniedRecord, ThresholdRecord, record_of
from rater.events.rated import RatedEvent
from rater.events.stream import decode_entry, outbox_key
from rater.ids import AccountId, Shard, SwitchId

from .ports import free_port
from .servers import RATER, SECRET_VARIABLE, Child, Subscriber, run_rater, scrape, start_broker, start_redis

CATALOG = Path(__file__).parent / "catalog"
SHARD = Shard(0)
SWITCH = SwitchId("lab")
LEASE_S = 3.0
"""How long a killed daemon keeps its switch."""


class Site:
    """`folder`: of this site. `ami_port`: the switch. `catalog`: a folder. Nothing runs before `open`."""

    def __init__(self, folder: Path, ami_port: int, catalog: Path = CATALOG) -> None:
        self.folder = folder
        self._catalog = catalog
        self.config = folder / "rater.toml"
        self.metrics_port = free_port()
        self._ami_port = ami_port
        self._children: list[Child] = []
        self._subscriber: Subscriber | None = None
        self._daemon: Child | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    def open(self, *, mode: str, fail: str, charging: dict[str, int], warn_before_s: Sequence[int] = ()) -> None:
        """Start Redis and the broker, write the settings, publish the catalogue."""
        user = "rater-warns" if warn_before_s else "rater"
        self.folder.mkdir()
        redis, self.redis_port = start_redis(self.folder / "redis")
        broker, broker_port = start_broker(self.folder / "broker")
        self._children += [redis, broker]
        self._subscriber = Subscriber(broker_port)
        slices = "\n".join(f"{key} = {value}" for key, value in charging.items())
        self.config.write_text(
            f'[redis]\nurl = "{self.redis_url}"\n'
            f'[[switch]]\nid = "{SWITCH}"\nport = {self._ami_port}\nuser = "{user}"\n'
            f'secret = {{ env = "{SECRET_VARIABLE}" }}\nmode = "{mode}"\nfail = "{fail}"\n'
            f"warn_before_s = {list(warn_before_s)}\n"
            f"[charging]\n{slices}\n"
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker_port}\nprefix = "lab"\n'
            f"[metrics]\nport = {self.metrics_port}\n"
            f'[log]\nlevel = "debug"\njson_lines = true\n'
        )
        shutil.copytree(self._catalog, self.folder / "catalog")
        self.rater("catalog", "load", str(self.folder / "catalog"))

    def close(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
        with contextlib.ExitStack() as stack:
            for child in self._children:
                stack.callback(child.stop)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    def start_daemon(self) -> None:
        """Start `rater serve` and wait until it decides."""
        daemon = Child("rater serve", [*RATER, "serve", "--config", str(self.config)], self.folder / "daemon.log")
        self._daemon = daemon
        self._children.append(daemon)
        daemon.until(lambda: self.metric("rater_ready") == 1, 20)

    def kill_daemon(self) -> None:
        """As a power cut would, children included."""
        assert self._daemon is not None
        self._daemon.kill_all()

    def stop_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.stop()

    def freeze_daemon(self) -> None:
        """It lives, and does nothing."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def tail(self) -> str:
        return "\n".join(child.tail() for child in self._children if child.name != "redis")

    # -- questions -------------------------------------------------------------------------------------------------

    def rater(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """One command against this site."""
        return run_rater(*arguments, "--config", str(self.config), expect=expect)

    def metric(self, name: str) -> float:
        """A sample of the daemon's metrics; 0 when it is not there (yet)."""
        with contextlib.suppress(OSError):
            return scrape(self.metrics_port).get(name, 0.0)
        return 0.0

    def records(self) -> list[RatedEvent | DeniedRecord | ThresholdRecord]:
        """Everything in the outbox, in order, as the public records."""
        with Redis(port=self.redis_port) as redis:
            entries = redis.xrange(outbox_key("rater", SHARD))
        return [record_of(decode_entry(SHARD, place, fields)) for place, fields in entries]

    def events(self) -> list[RatedEvent]:
        return [record for record in self.records() if isinstance(record, RatedEvent)]

    def denials(self) -> list[DeniedRecord]:
        return [record for record in self.records() if isinstance(record, DeniedRecord)]

    def thresholds(self) -> list[ThresholdRecord]:
        return [record for record in self.records() if isinstance(record, ThresholdRecord)]

    def messages(self, topic: str) -> list[dict[str, Any]]:
        assert self._subscriber is not None
        return self._subscriber.messages(topic)

    def account(self, name: str) -> AccountState:
        state = asyncio.run(self._ask(lambda store: store.account(SHARD, AccountId(name))))
        assert isinstance(state, AccountState), f"the account {name} is not in the store"
        return state

    def legs(self) -> list[LegState]:
        return list(asyncio.run(self._ask(lambda store: store.legs(SHARD))))

    def holders(self, scope: str) -> int:
        """How many legs hold a slot of a limit at present; `scope` as in ``account:rich``."""
        with Redis(port=self.redis_port) as redis:
            return int(redis.zcount(Keys("rater", SHARD).lease(scope), time.time() * 1000, "+inf"))  # type: ignore[arg-type]

    async def _ask(self, question: Callable[[RedisStore], Any]) -> Any:
        store = RedisStore(self.redis_url, prefix="rater", shards=1, timeout_ms=2000)
        await store.start()
        try:
            return await question(store)
        finally:
            await store.close()

    # -- waiting and checking --------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{what} did not happen within {timeout_s} s")
            time.sleep(0.05)

    def settled(self, timeout_s: float = 5.0) -> None:
        """Wait until no leg lives, then check the invariants: see `check_books`."""
        self.until(lambda: not self.legs(), timeout_s, "the settling of all legs")
        self.check_books()

    def check_books(self) -> None:
        """Without live legs: balances follow from the ledger's sums and the events, and nothing is held back."""
        charged: dict[str, int] = {}
        events = self.events()
        for event in events:
            owners = sum(fund.amount_micro for fund in event.funds if fund.shared)
            assert not owners or event.owner, "money of a group is its owner's"
            for account, amount_micro in (
                (event.account, event.amount_micro - owners),
                (event.owner or "", owners),
            ):
                charged[account] = charged.get(account, 0) + amount_micro
        assert len({event.id for event in events}) == len(events), "a leg has two events"
        for state in asyncio.run(self._ask(lambda store: store.accounts(SHARD))):
            moved = state.opening_micro + state.credits_micro - state.debits_micro - state.charges_micro
            assert state.balance_micro == moved, state
            assert state.charges_micro == charged.get(state.account, 0), state
            assert state.reserved_micro == 0, state
            assert all(grant.reserved_s == 0 for grant in state.grants), state
            floor = -3_000_000 if state.account == "postpaid" else 0
            assert state.balance_micro >= floor, state
