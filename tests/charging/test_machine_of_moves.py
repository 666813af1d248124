"""Everything that can be done, while accounts move between shards and movers die after any step."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from rater.charging.model import ExpireGrant, Post, PostGrant, Reply, Request, Status
from rater.charging.moves import Move, finish_moves, move_account
from rater.charging.records import LegState
from rater.charging.redis_store import RedisStore
from rater.ids import AccountId, Shard
from tests.charging.test_machine import FLOORS, SCOPE, Machine, play
from tests.contract.desk import SHARD, Driver, MemoryDriver, RedisDriver
from tests.servers import RedisServer

SHARDS = (SHARD, Shard(1), Shard(2))


class Direct(MemoryDriver):
    """Its store never waits: no loop is needed, which is most of the time."""

    def run(self, work: Any) -> Any:
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("the reference store waited")


class MovingMachine(Machine):
    """Whoever asks believes in the first shard for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: dict[str, int] = dict.fromkeys(FLOORS, 0)
        self.moves_at: list[int] = []
        self.stale: list[Move] = []

    @property
    def run(self) -> Any:
        return self.driver.run

    def ask(self, request: Request) -> Reply:
        self.note_day()
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        self.note(request, reply)
        if reply.status is not Status.MOVED:
            self.done.append((request, reply))
            self.moves_at.append(self.moved[getattr(request, "account", "SOLO")])
        return reply

    def stored(self) -> list[LegState]:
        return [leg for shard in SHARDS for leg in self.run(self.driver.store.legs(shard))]

    def new_event(self) -> dict[str, Any]:
        events = [{**known, **result} for kind, known, result in self.driver.outbox(*SHARDS) if kind == "rated"]
        assert len(events) == self.events + 1
        self.events += 1
        settled = self.done[-1:]  # the streams of several shards have no common order: find the new one by its leg
        fresh = [event for event in events if event["id"] not in self.auditor.settled]
        assert len(fresh) == 1, settled
        return fresh[0]

    # -- moves ---------------------------------------------------------------------------------------------------

    def where(self, account: str) -> Shard | Move:
        found: Shard | Move = self.run(self.driver.store.find(SHARD, AccountId(account)))
        return found

    @rule(account=st.sampled_from(list(FLOORS)), to=st.sampled_from(SHARDS))
    def move(self, account: str, to: Shard) -> None:
        self.moved[account] += 1
        refusal = self.run(move_account(self.driver.store, SHARD, AccountId(account), to))
        assert refusal is not None or self.where(account) == to

    @rule(account=st.sampled_from(list(FLOORS)), to=st.sampled_from(SHARDS), steps=st.integers(1, 3))
    def begin_to_move_and_die(self, account: str, to: Shard, steps: int) -> None:
        """After so many steps."""
        found, store = self.where(account), self.driver.store
        if isinstance(found, Move) or found == to:
            return
        self.moved[account] += 1
        begun = self.run(store.begin_move(found, AccountId(account), to))
        assert isinstance(begun, Move)
        self.stale.append(begun)
        if steps > 1 and self.run(store.take_out(begun)) is None and steps > 2:
            self.run(store.bring_in(begun))

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), steps=st.sampled_from(["take_out", "bring_in", "bring_in end_move"]))
    def a_mover_wakes_up_late(self, data: st.DataObject, steps: str) -> None:
        """It goes on with a move that others may have finished long ago, and ends none that it did not bring in."""
        move = data.draw(st.sampled_from(self.stale))
        for step in steps.split():
            self.run(getattr(self.driver.store, step)(move))

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A posting at any later time; a leg's operation until its account moves, since what is unanswered is
        repeated where it was sent."""
        at = data.draw(st.integers(0, len(self.done) - 1))
        request, first = self.done[at]
        of_account = isinstance(request, Post | PostGrant | ExpireGrant)
        if not of_account and self.moves_at[at] != self.moved[getattr(request, "account", "SOLO")]:
            return
        reply: Reply = self.driver.run(self.driver.store.ask(request))
        if of_account and first.status in (Status.OK, Status.DENIED):
            assert reply == replace(first, repeated=True)
        elif first.status is Status.OK:
            assert reply.repeated or reply.status is Status.GONE

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        store = self.driver.store
        states = {shard: self.run(store.accounts(shard)) for shard in SHARDS}
        names = [state.account for found in states.values() for state in found]
        assert len(names) == len(set(names)), "nobody is in two shards"
        self.ledgers_agree(states)
        if any(self.has_left(account) for account in FLOORS):
            return  # what is on its way cannot be seen; the rest is looked at when it has arrived
        self.may_lapse &= bool(self.live)
        legs = self.stored()
        ledgers = [self.driver.ledger(shard) for shard in SHARDS]
        self.auditor.look(
            [state for found in states.values() for state in found],
            legs,
            [entry for ledger in ledgers for entry in ledger] if self.is_redis else ledgers[0],
            [result for kind, _, result in self.driver.outbox(*SHARDS) if kind == "threshold"],
            sum(self.driver.leases(SCOPE, 0, shard) for shard in SHARDS),
            may_lapse=self.may_lapse,
        )
        assert sorted(leg.leg for leg in legs) == sorted(self.live)

    @property
    def is_redis(self) -> bool:
        return isinstance(self.driver.store, RedisStore)

    def has_left(self, account: str) -> bool:
        found = self.where(account)
        if not isinstance(found, Move):
            return False
        return account not in {state.account for state in self.run(self.driver.store.accounts(found.shard))}

    def ledgers_agree(self, states: dict[Shard, Any]) -> None:
        """In each shard by itself, whatever is on its way."""
        for shard in SHARDS if self.is_redis else ():
            sums: dict[str, int] = {}
            for entry in self.driver.ledger(shard):
                for line in entry.lines:
                    if not line.resource:
                        sums[entry.account] = sums.get(entry.account, 0) + line.after - line.before
            balances = {state.account: state.balance_micro for state in states[shard]}
            for account in {*sums, *balances}:
                assert sums.get(account, 0) == balances.get(account, 0), (shard, account)

    def teardown(self) -> None:
        for shard in SHARDS:
            self.run(finish_moves(self.driver.store, shard))
        self.everything_agrees()
        super().teardown()


def test_over_the_reference_store() -> None:
    play(Direct, examples=80, steps=40, machine=MovingMachine)


def test_over_redis(server: RedisServer) -> None:
    prefixes = count(1)
    with asyncio.Runner() as runner:

        def make() -> Driver:
            store = RedisStore(server.url, prefix=f"v{next(prefixes)}", shards=len(SHARDS))
            runner.get_loop().run_until_complete(store.start())
            return RedisDriver(runner.get_loop(), store)

        play(make, examples=12, steps=30, machine=MovingMachine)
