"""Runs the sessions: signals from the switches and replies from the store go in, requests and actions go out.

Nothing here awaits or reads a socket. Whoever feeds it calls `flush` when a batch of signals is done; then
everything collected goes out in one write to the store and one to each switch. What arrives from elsewhere (a
reply, a wake-up) asks for a flush through `on_dirty`.

Time: the engine estimates each switch's clock from the times on its signals and the monotonic clock, and hands
that estimate to the sessions; wake-ups are kept on the monotonic clock.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rater.admission import Admitted, Rejected, admit, is_free
from rater.calls.commands import (
    AnswerGate,
    ArmTimer,
    Command,
    ExtendSlice,
    Forget,
    HangUp,
    PersistAnswer,
    ReserveSlice,
    SettleLeg,
    SwitchCommand,
    WakeAt,
)
from rater.calls.session import Session, State, denial_cause
from rater.calls.signals import (
    Attempted,
    Direction,
    Due,
    Extended,
    Grade,
    HangupRequested,
    KnownLeg,
    Lost,
    Mode,
    MoneyArrived,
    Reserved,
    Settled,
    Signal,
)
from rater.catalog.model import Catalog, SwitchRules
from rater.charging.model import (
    Answer,
    Deny,
    Extend,
    Lease,
    LegState,
    Post,
    Reply,
    Request,
    Reserve,
    Settle,
    SlicePolicy,
    Status,
    Terms,
)
from rater.charging.store import ChargingStore
from rater.clock import Clock
from rater.events.rated import LegFacts
from rater.ids import AccountId, CallId, LegId, OpId, Shard, SwitchId
from rater.metrics import Metrics
from rater.money import Quote
from rater.verdict import Reason

CLOCK_SET_MS = 120_000
"""A signal this much older than the clock estimate was not delayed: the switch's clock was set."""


class SwitchPort(Protocol):
    """The way to one switch. `execute` collects, `flush` writes."""

    def execute(self, command: SwitchCommand) -> None: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """See `rater.config.ChargingSettings`."""

    slice: SlicePolicy = field(default_factory=SlicePolicy)
    extend_ahead_ms: int = 5000
    decision_timeout_ms: int = 1500


@dataclass(slots=True)
class _Switch:
    id: SwitchId
    port: SwitchPort
    rules: SwitchRules
    fails_open: bool
    epoch: int
    offset_ms: int | None = None
    """Switch time less our monotonic time, from the least delayed signal."""
    active: dict[str, int] = field(default_factory=lambda: {"out": 0, "in": 0})
    calls: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Leg:
    """A session with what charging needs to speak for it."""

    session: Session
    switch: _Switch
    account: AccountId
    shard: Shard
    quote: Quote
    terms: Terms
    leases: tuple[Lease, ...]
    exempt: bool
    free: bool
    next_op: int
    arrived_ns: int
    wake: int = 0
    """The number of its valid wake-up; older ones in the heap are void."""


class Engine:
    """`on_stale` is told of a switch for which a newer leader writes; `on_dirty` that a flush is due."""

    def __init__(self, store: ChargingStore, clock: Clock, metrics: Metrics, policy: EnginePolicy) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._catalog: Catalog | None = None
        self._switches: dict[SwitchId, _Switch] = {}
        self._legs: dict[LegId, _Leg] = {}
        self._by_account: dict[AccountId, set[LegId]] = defaultdict(set)
        self._wakes: list[tuple[int, int, LegId]] = []
        self._wake_count = 0
        self._dirty = False
        self.on_dirty: Callable[[], None] = lambda: None
        self.on_stale: Callable[[SwitchId], None] = lambda switch: None

    # -- set up --------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog | None:
        return self._catalog

    def set_catalog(self, catalog: Catalog) -> None:
        """From now on new legs are rated by this version; live ones keep their quote."""
        self._catalog = catalog
        for switch in self._switches.values():
            switch.rules = catalog.switches.get(switch.id, switch.rules)

    def attach(self, switch: SwitchId, port: SwitchPort, *, epoch: int, fails_open: bool) -> None:
        """Lead a switch. `epoch`: the fencing token under which its legs are charged."""
        known = self._catalog.switches.get(switch) if self._catalog is not None else None
        self._switches[switch] = _Switch(switch, port, known or SwitchRules(switch), fails_open, epoch)

    def detach(self, switch: SwitchId) -> None:
        """Stop leading it; its legs are left to the switch's timers and the next leader."""
        self._switches.pop(switch, None)
        for leg in [record for record in self._legs.values() if record.switch.id == switch]:
            self._drop(leg)

    def adopt(self, switch: SwitchId, stored: Sequence[LegState]) -> None:
        """Take up the live legs of a switch as the store has them; a resync must follow."""
        for state in stored:
            if state.leg not in self._legs:
                self._resume(self._switches[switch], state)

    def _resume(self, switch: _Switch, state: LegState) -> None:
        facts = LegFacts.unpack(state.facts)
        session = self._session(facts, Mode(facts.mode), state.quote, switch)
        session.resume(
            granted_s=state.granted_s,
            final=state.final,
            answered_at_ms=state.answered_at_ms,
            seen_at_ms=state.seen_at_ms,
        )
        self._add(
            _Leg(
                session=session,
                switch=switch,
                account=state.account,
                shard=state.shard,
                quote=state.quote,
                terms=self._terms(state.account, facts.destination_class, Terms()),
                leases=(),
                exempt=state.exempt,
                free=is_free(state.quote),
                next_op=state.next_op,
                arrived_ns=0,
            )
        )

    def known_legs(self, switch: SwitchId) -> list[KnownLeg]:
        """What a resync has to compare with the switch's own list."""
        known = []
        for record in self._legs.values():
            session, facts = record.session, record.session.facts
            if record.switch.id == switch and session.state < State.SETTLING:
                known.append(
                    KnownLeg(
                        leg=session.leg,
                        call=CallId(facts.call),
                        channel_id=facts.channel_id,
                        caller_channel_id=facts.caller_channel_id,
                        answered=session.answered_at_ms is not None,
                        direction=Direction(facts.direction),
                        seen_at_ms=session.seen_at_ms,
                    )
                )
        return known

    # -- signals -------------------------------------------------------------------------------------------------

    def on_signal(self, signal: Signal) -> None:
        """One signal of a switch. Without effect until `flush`."""
        at_ms = getattr(signal, "at_ms", 0)
        if isinstance(signal, Attempted):
            switch = self._switches.get(signal.switch)
            if switch is not None:
                self._note_time(switch, at_ms)
                self._attempt(switch, signal)
            return
        record = self._legs.get(signal.leg)
        if record is None:
            return
        if at_ms and getattr(signal, "grade", None) is not Grade.ESTIMATED:
            self._note_time(record.switch, at_ms)
        self._handle(record, signal)

    def hang_up(self, leg: LegId) -> bool:
        """An operator ends a leg; False when it does not live here."""
        record = self._legs.get(leg)
        if record is None or record.session.state >= State.SETTLING:
            return False
        self._handle(record, HangupRequested(leg))
        return True

    def money_arrived(self, account: AccountId) -> None:
        """Its running legs may have more now."""
        for leg in list(self._by_account.get(account, ())):
            self._handle(self._legs[leg], MoneyArrived(leg))

    def tick(self) -> None:
        """Send the wake-ups that are due."""
        now_ms = self._clock.monotonic_ms()
        while self._wakes and self._wakes[0][0] <= now_ms:
            _, number, leg = heapq.heappop(self._wakes)
            record = self._legs.get(leg)
            if record is not None and record.wake == number:
                self._handle(record, Due(leg))

    def next_wake_ms(self) -> int | None:
        """When `tick` has something to do, on the monotonic clock."""
        return self._wakes[0][0] if self._wakes else None

    def flush(self) -> None:
        """Everything collected goes out."""
        self._dirty = False
        self._store.flush()
        for switch in self._switches.values():
            switch.port.flush()

    def live_accounts(self) -> dict[tuple[Shard, AccountId], str]:
        """The accounts that have live legs, with their currency."""
        return {(record.shard, record.account): record.quote.currency for record in self._legs.values()}

    # -- attempts ------------------------------------------------------------------------------------------------

    def _attempt(self, switch: _Switch, attempt: Attempted) -> None:
        if attempt.leg in self._legs:
            return None
        catalog = self._catalog
        if catalog is None:
            return self._refuse(switch, attempt, Reason.NOT_READY)
        decision = admit(catalog, attempt, switch.rules, wall_ms=self._clock.wall_ms())
        if isinstance(decision, Rejected):
            if not decision.reason.allows:
                self._record_denial(decision)
            return self._refuse(switch, attempt, decision.reason)
        self._begin(switch, attempt, decision)
        return None

    def _begin(self, switch: _Switch, attempt: Attempted, decision: Admitted) -> None:
        decision.facts.caller_channel_id = attempt.caller_channel_id
        record = _Leg(
            session=self._session(decision.facts, attempt.mode, decision.quote, switch),
            switch=switch,
            account=decision.account.id,
            shard=decision.account.shard,
            quote=decision.quote,
            terms=decision.terms,
            leases=decision.leases,
            exempt=decision.exempt,
            free=decision.free,
            next_op=1,
            arrived_ns=attempt.arrived_ns,
        )
        self._add(record)
        self._run(record, record.session.begin(self._now_ms(switch)))

    def _session(self, facts: LegFacts, mode: Mode, quote: Quote, switch: _Switch) -> Session:
        return Session(
            facts,
            mode=mode,
            horizon_s=quote.horizon_s,
            fails_open=switch.fails_open,
            decide_by_ms=self._policy.decision_timeout_ms,
            extend_ahead_ms=self._policy.extend_ahead_ms,
        )

    def _refuse(self, switch: _Switch, attempt: Attempted, reason: Reason) -> None:
        """Answer an attempt for which there is no session."""
        self._metrics.verdict(attempt.mode.value, reason.code)
        if attempt.mode is Mode.GATE:
            switch.port.execute(AnswerGate(attempt.leg, reason, 0))
        elif not reason.allows:
            switch.port.execute(HangUp(attempt.leg, denial_cause(reason)))
        switch.port.execute(Forget(attempt.leg))
        if attempt.arrived_ns:
            self._metrics.decided((time.monotonic_ns() - attempt.arrived_ns) / 1e9)
        self._mark_dirty()

    def _record_denial(self, decision: Rejected) -> None:
        shard = decision.account.shard if decision.account is not None else Shard(0)
        facts = decision.facts
        op = OpId(f"{facts.id}:denied")
        self._submit(Deny(op, shard, self._clock.wall_ms(), facts.pack()))

    # -- commands ------------------------------------------------------------------------------------------------

    def _handle(self, record: _Leg, signal: Signal) -> None:
        self._run(record, record.session.handle(signal, self._now_ms(record.switch)))

    def _run(self, record: _Leg, commands: list[Command]) -> None:
        if commands:
            self._mark_dirty()
        for command in commands:
            match command:
                case WakeAt():
                    self._set_wake(record, command.at_ms)
                case ReserveSlice() | PersistAnswer() | ExtendSlice() | SettleLeg():
                    self._submit(self._request(record, command))
                case Forget():
                    record.switch.port.execute(command)
                    self._drop(record)
                case AnswerGate() | ArmTimer() | HangUp():
                    record.switch.port.execute(command)
                    self._note_action(record, command)

    def _request(
        self, record: _Leg, command: ReserveSlice | PersistAnswer | ExtendSlice | SettleLeg
    ) -> Reserve | Answer | Extend | Settle:
        session = record.session
        op = OpId(f"{session.leg}:{record.next_op}")
        record.next_op += 1
        wall_ms = self._clock.wall_ms()
        facts = session.facts
        head = (op, record.shard, record.account, session.leg, record.switch.id, record.switch.epoch, wall_ms)
        match command:
            case ReserveSlice():
                return Reserve(*head, record.quote, record.terms, record.leases,
                               self._slices(record), record.exempt, facts.pack())  # fmt: skip
            case PersistAnswer():
                return Answer(*head, command.answered_at_ms, facts.pack())
            case ExtendSlice():
                record.terms = self._terms(record.account, facts.destination_class, record.terms)
                slices = SlicePolicy(1, 1, 1) if command.renew_only else self._slices(record)
                return Extend(*head, command.elapsed_s, record.terms, slices)
            case SettleLeg():
                record.terms = self._terms(record.account, facts.destination_class, record.terms)
                return Settle(*head, command.duration_s, record.terms, command.emit, facts.pack())

    def _slices(self, record: _Leg) -> SlicePolicy:
        """A leg that costs nothing gets its whole length at once: no timer of ours may end it."""
        if record.free or record.exempt:
            horizon_s = record.quote.horizon_s
            return SlicePolicy(horizon_s, horizon_s, horizon_s)
        return self._policy.slice

    def _terms(self, account: AccountId, destination_class: str, otherwise: Terms) -> Terms:
        """As the catalogue has them now; an account that is no longer in it keeps what it had."""
        if self._catalog is None or account not in self._catalog.accounts:
            return otherwise
        return self._catalog.terms(account, destination_class, self._clock.wall_ms())

    def _note_action(self, record: _Leg, command: AnswerGate | ArmTimer | HangUp) -> None:
        if isinstance(command, HangUp) and record.session.facts.cut:
            self._metrics.cut(record.session.facts.cut)
        if record.arrived_ns:
            self._metrics.decided((time.monotonic_ns() - record.arrived_ns) / 1e9)
            record.arrived_ns = 0

    # -- replies -------------------------------------------------------------------------------------------------

    def _submit(self, request: Request) -> None:
        self._store.submit(request, self._replied)

    def _replied(self, request: Request, reply: Reply) -> None:
        if isinstance(request, Deny | Post):
            return
        record = self._legs.get(request.leg)
        if record is not None:
            signal = self._as_signal(record, request, reply)
            if signal is not None:
                self._handle(record, signal)
        if reply.status is Status.STALE:
            self.on_stale(request.switch)

    def _as_signal(
        self, record: _Leg, request: Reserve | Answer | Extend | Settle, reply: Reply
    ) -> Reserved | Extended | Settled | Lost | None:
        leg = request.leg
        if isinstance(request, Reserve):
            reason = Reason.STALE_LEADER if reply.status is Status.STALE else reply.reason
            if reply.status is Status.OK and request.exempt:
                reason = Reason.EMERGENCY
            self._metrics.verdict(record.session.mode.value, reason.code)
            return Reserved(leg, reason, reply.granted_s, reply.final)
        if reply.status is not Status.OK:
            # What was still under way when the leg was settled finds nothing any more, and need not.
            overtaken = isinstance(request, Answer | Extend) and record.session.state is State.SETTLING
            return None if overtaken and reply.status is Status.GONE else Lost(leg)
        if isinstance(request, Extend):
            return Extended(leg, reply.granted_s, reply.final)
        if isinstance(request, Settle):
            self._note_settled(record, reply)
            return Settled(leg, reply.amount_micro)
        return None

    def _note_settled(self, record: _Leg, reply: Reply) -> None:
        facts = record.session.facts
        self._metrics.ended(facts.disposition, facts.grade)
        if record.quote.currency:
            self._metrics.charged(record.quote.currency, reply.amount_micro)

    # -- book-keeping --------------------------------------------------------------------------------------------

    def _add(self, record: _Leg) -> None:
        session, switch = record.session, record.switch
        self._legs[session.leg] = record
        self._by_account[record.account].add(session.leg)
        switch.active[session.facts.direction] += 1
        call = session.facts.call
        switch.calls[call] = switch.calls.get(call, 0) + 1
        self._report(switch)

    def _drop(self, record: _Leg) -> None:
        session, switch = record.session, record.switch
        if self._legs.pop(session.leg, None) is None:
            return
        legs = self._by_account[record.account]
        legs.discard(session.leg)
        if not legs:
            del self._by_account[record.account]
        switch.active[session.facts.direction] -= 1
        call = session.facts.call
        switch.calls[call] -= 1
        if not switch.calls[call]:
            del switch.calls[call]
        self._report(switch)

    def _report(self, switch: _Switch) -> None:
        for direction, count in switch.active.items():
            self._metrics.legs(switch.id, direction, count)
        self._metrics.calls(switch.id, len(switch.calls))

    def _set_wake(self, record: _Leg, at_ms: int) -> None:
        self._wake_count += 1
        record.wake = self._wake_count
        heapq.heappush(self._wakes, (at_ms - self._offset_ms(record.switch), self._wake_count, record.session.leg))

    def _note_time(self, switch: _Switch, at_ms: int) -> None:
        """Delays only make a signal look older: the largest difference is the truest, until the clock is set."""
        sample_ms = at_ms - self._clock.monotonic_ms()
        if switch.offset_ms is None or not 0 <= switch.offset_ms - sample_ms < CLOCK_SET_MS:
            switch.offset_ms = sample_ms

    def _now_ms(self, switch: _Switch) -> int:
        return self._clock.monotonic_ms() + self._offset_ms(switch)

    def _offset_ms(self, switch: _Switch) -> int:
        """Until the switch has said its time, ours stands for it."""
        if switch.offset_ms is None:
            return self._clock.wall_ms() - self._clock.monotonic_ms()
        return switch.offset_ms

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.on_dirty()
