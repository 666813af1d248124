"""Runs the sessions: signals from the switches and replies from the store go in, requests and actions go out.

Nothing here awaits or reads a socket. Whoever feeds it calls `flush` when a batch of signals is done; then
everything collected goes out in one write to the store and one to each switch. What arrives from elsewhere (a
reply, a wake-up) asks for a flush through `on_dirty`.

Time: the engine estimates each switch's clock from the times on its signals and the monotonic clock, and hands
that estimate to the sessions; wake-ups are kept on the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

from rater.admission import Admitted, Rejected, admit, first, reseller_leases
from rater.calls.commands import (
    AnswerGate,
    ArmTimer,
    ChargeCommand,
    Command,
    ExtendSlice,
    Forget,
    HangUp,
    Party,
    PersistAnswer,
    ReserveSlice,
    SettleLeg,
    SwitchCommand,
    WakeAt,
)
from rater.calls.session import Session, State, denial_cause
from rater.calls.signals import (
    Answered,
    Attempted,
    Dialled,
    Direction,
    Due,
    Ended,
    Extended,
    Grade,
    HangupRequested,
    KnownLeg,
    Lost,
    Mode,
    MoneyArrived,
    Reserved,
    Seen,
    Settled,
    Signal,
)
from rater.catalog.model import Catalog, SwitchRules, Trunk
from rater.charging.model import Answer, Deny, Extend, OfLeg, Reply, Request, Reserve, Settle, Status
from rater.charging.records import LegState
from rater.charging.store import ChargingStore
from rater.charging.terms import SlicePolicy
from rater.clock import Clock
from rater.events.facts import LegFacts
from rater.ids import AccountId, LegId, OpId, ResellerId, Shard, SwitchId, TrunkId
from rater.leg_terms import in_mode, renew, with_owner
from rater.legs import LiveLegs, Wakes
from rater.live import LiveLeg, LiveSwitch, SwitchPort, known_leg, resumed
from rater.metrics import Metrics
from rater.money import Quote
from rater.outside import OutsideLeases
from rater.requests import request_of
from rater.sent_on import limit, sent_on
from rater.shadow import report, soften
from rater.tally import Tally
from rater.verdict import Reason

# Members looked up once; see `rater.calls.session`.
_GATE, _ESTIMATED, _CALLER = Mode.GATE, Grade.ESTIMATED, Party.CALLER
_RESERVING, _HELD, _RINGING, _SETTLING, _DENIED = (
    State.RESERVING, State.HELD, State.RINGING, State.SETTLING, State.DENIED
)  # fmt: skip
_ALLOWED, _TRUNK_LIMIT = Reason.ALLOWED, Reason.TRUNK_LIMIT
_OK, _GONE, _STALE = Status.OK, Status.GONE, Status.STALE
_ZERO = Shard(0)


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """See `rater.config.ChargingSettings`."""

    slice: SlicePolicy = field(default_factory=SlicePolicy)
    extend_ahead_ms: int = 5000
    decision_timeout_ms: int = 1500
    shed_after_ms: int = 500


class Engine:
    """`on_stale` is told of a switch for which a newer leader writes; `on_dirty` that a flush is due."""

    def __init__(self, store: ChargingStore, clock: Clock, metrics: Metrics, policy: EnginePolicy) -> None:
        self._store = store
        self._clock = clock
        self._tally = Tally(metrics)
        self._policy = policy
        self._slice = policy.slice
        self._first_s = policy.slice.first_s
        self._catalog: Catalog | None = None
        self._switches: dict[SwitchId, LiveSwitch] = {}
        self._legs = LiveLegs()
        self._wakes = Wakes()
        self._told_switches: list[LiveSwitch] = []
        """Those whose ports have something to write."""
        metrics.on_look = self.live_counts
        self._outside = OutsideLeases(store)
        self._dirty = False
        self._told = self._replied
        self.on_dirty: Callable[[], None] = lambda: None
        self.on_stale: Callable[[SwitchId], None] = lambda switch: None

    # -- set up --------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog | None:
        return self._catalog

    def set_catalog(self, catalog: Catalog) -> None:
        """From now on new legs are rated by this version; live ones keep their quote. Those that could get no more
        ask again: they may be in a group now, or have a higher limit."""
        self._catalog = catalog
        for switch in self._switches.values():
            switch.rules = catalog.switches.get(switch.id, switch.rules)
        self._tell_of_money(self._legs.waiting())

    def attach(
        self, switch: SwitchId, port: SwitchPort, *, epoch: int, fails_open: bool, warn_s: Sequence[int] = ()
    ) -> None:
        """Lead a switch. `epoch`: the fencing token for its legs. `warn_s`: see the settings."""
        known = self._catalog.switches.get(switch) if self._catalog is not None else None
        self._switches[switch] = LiveSwitch(
            switch, port, known or SwitchRules(switch), fails_open, epoch, tuple(warn_s)
        )

    def detach(self, switch: SwitchId) -> None:
        """Stop leading it; its legs are left to the switch's timers and the next leader."""
        self._switches.pop(switch, None)
        for record in self._legs.of_switch(switch):
            self._legs.drop(record)

    def adopt(self, switch: SwitchId, stored: Sequence[LegState]) -> None:
        """Take up the live legs of a switch as the store has them; a resync must follow."""
        for state in stored:
            if state.leg not in self._legs:
                self._resume(self._switches[switch], state)

    def _resume(self, switch: LiveSwitch, state: LegState) -> None:
        facts = LegFacts.unpack(state.facts)
        session = self._session(facts, Mode(facts.mode), state.quote, switch)
        session.resume(
            granted_s=state.granted_s,
            final=state.final,
            answered_at_ms=state.answered_at_ms,
            seen_at_ms=max(state.seen_at_ms, facts.attempted_at_ms),
        )
        record = resumed(session, switch, state)
        record.owner = state.owner
        renew(record, self._catalog, self._clock.wall_ms())
        catalog = self._catalog
        reseller = catalog.resellers.get(ResellerId(facts.reseller)) if catalog is not None else None
        if reseller is not None:
            record.outside = reseller_leases(reseller, outbound=facts.direction == Direction.OUT)
            record.outside_shard = reseller.shard
        if facts.trunk:
            switch.slots.take(TrunkId(facts.trunk), session.leg, None, forced=True)
        self._legs.add(record)

    def known_legs(self, switch: SwitchId, but: Container[LegId] = ()) -> list[KnownLeg]:
        """What a resync has to compare with the switch's own list, without those named."""
        sessions = [r.session for r in self._legs.of_switch(switch) if r.session.leg not in but]
        return [known_leg(session) for session in sessions if session.state < _SETTLING]

    def known_leg(self, leg: LegId) -> KnownLeg | None:
        """The same of one leg; None when it does not live here."""
        record = self._legs.get(leg)
        return known_leg(record.session) if record is not None and record.session.state < _SETTLING else None

    # -- signals -------------------------------------------------------------------------------------------------

    def on_signal(self, signal: Signal) -> None:
        """One signal of a switch. Without effect until `flush`."""
        if isinstance(signal, Attempted):
            attempt = signal
            switch = self._switches.get(attempt.switch)
            if switch is not None:
                switch.note_time(attempt.at_ms, self._clock.monotonic_ms())
                self._attempt(switch, attempt)
            return
        record = self._legs.get(signal.leg)
        if record is None:
            return
        at_ms = _said_at(signal)
        if at_ms:
            record.switch.note_time(at_ms, self._clock.monotonic_ms())
        self._handle(record, signal)
        if isinstance(signal, Dialled):
            dialled = signal
            self._take_trunk(record, dialled.trunk)
            self._arm_sent_on(record)

    def _arm_sent_on(self, record: LiveLeg) -> None:
        """Its dialplan has set the timer of the calling channel anew; should that be a leg, to the second only."""
        session = record.session
        rings = session.state is _HELD or session.state is _RINGING
        if not rings or self._legs.is_alone(record):
            return
        if sent_on(record, self._legs.of_call(session.facts.call)) is not None:
            self._run(record, [ArmTimer(session.leg, _CALLER, session.granted_s * 1000)])

    def hang_up(self, leg: LegId) -> bool:
        """An operator ends a leg; False when it does not live here."""
        record = self._legs.get(leg)
        if record is None or record.session.state >= _SETTLING:
            return False
        self._handle(record, HangupRequested(leg))
        return True

    def money_arrived(self, account: AccountId) -> None:
        """Its running legs may have more now."""
        self._tell_of_money(self._legs.paid_by(account))

    def _tell_of_money(self, records: list[LiveLeg]) -> None:
        """Handling one may end another."""
        for record in records:
            if self._legs.holds(record):
                self._handle(record, MoneyArrived(record.session.leg))

    def tick(self) -> None:
        """Send the wake-ups that are due."""
        now_ms = self._clock.monotonic_ms()
        while (due := self._wakes.pop(now_ms)) is not None:
            _, number, leg = due
            record = self._legs.get(leg)
            if record is not None and record.wake == number:
                self._handle(record, Due(record.session.leg))

    def next_wake_ms(self) -> int | None:
        """When `tick` has something to do, on the monotonic clock."""
        return self._wakes.next_ms()

    def collect(self) -> None:
        """A batch begins at whose end `flush` is called: nobody need ask for it."""
        self._dirty = True

    def flush(self) -> None:
        """Everything collected goes out."""
        self._dirty = False
        self._store.flush()
        if self._told_switches:
            told, self._told_switches = self._told_switches, []
            for switch in told:
                switch.told = False
                if self._switches.get(switch.id) is switch:
                    switch.port.flush()

    @property
    def live_legs(self) -> int:
        return len(self._legs)

    def live_accounts(self) -> Iterator[dict[tuple[Shard, AccountId], str]]:
        """The accounts that have live legs, with their currency; a few legs' at a time, so that between two of them
        the loop can have its turn. An account may come again."""
        return self._legs.accounts()

    def live_counts(self) -> Iterator[tuple[str, int, int, int]]:
        """Of each switch: outbound and inbound legs, calls. May be asked by another thread."""
        for switch in list(self._switches.values()):
            yield switch.id, switch.active["out"], switch.active["in"], switch.calls

    # -- attempts ------------------------------------------------------------------------------------------------

    def _attempt(self, switch: LiveSwitch, attempt: Attempted) -> None:
        if attempt.leg in self._legs:
            return None
        catalog = self._catalog
        if catalog is None:
            return self._refuse(switch, attempt, Reason.NOT_READY)
        decision = admit(catalog, attempt, switch.rules, self._clock.wall_ms())
        if isinstance(decision, Admitted) and self._is_shed(switch, attempt, decision):
            decision.facts.reason = Reason.OVERLOADED.code
            decision = Rejected(Reason.OVERLOADED, decision.account, decision.facts)
        if isinstance(decision, Rejected):
            return self._reject(switch, attempt, decision)
        self._begin(switch, attempt, decision)
        return None

    def _is_shed(self, switch: LiveSwitch, attempt: Attempted, decision: Admitted) -> bool:
        """Whether the attempt waited so long for its turn, or would wait so long for the store's answer, that
        deciding it would only make the next ones wait longer, and with them the timers of calls that were answered.
        A refusal costs a fraction of a call. Where `fail` is open the call would go on by itself, and has to be
        followed all the same."""
        if attempt.mode is not _GATE or decision.exempt or decision.shadow or switch.fails_open:
            return False
        if not attempt.arrived_ns:  # nobody knows since when it waits
            return False
        waited_ms = self._clock.monotonic_ms() - attempt.arrived_ns // 1_000_000
        expected_ms = 1000.0 * self._store.expected_wait_s(decision.account.shard)
        return bool(waited_ms + expected_ms > self._policy.shed_after_ms)

    def _begin(self, switch: LiveSwitch, attempt: Attempted, decision: Admitted) -> None:
        decision.facts.caller_channel_id = attempt.caller_channel_id
        account, reseller = decision.account, decision.reseller
        record = LiveLeg(
            self._session(decision.facts, attempt.mode, decision.quote, switch), switch, account.id, account.shard,
            decision.quote, decision.terms, decision.leases, decision.exempt, decision.free, 1, attempt.arrived_ns,
            decision.rates, decision.outside, reseller.shard if reseller is not None else _ZERO, decision.broken,
            decision.would, decision.shadow,
        )  # fmt: skip
        record.terms = in_mode(record, decision.terms)
        self._legs.add(record)
        if attempt.trunk is not None:
            record.take_slot(attempt.trunk, self._trunk(attempt.trunk))
        self._run(record, record.session.begin(self._now_ms(switch)))

    def _session(self, facts: LegFacts, mode: Mode, quote: Quote, switch: LiveSwitch) -> Session:
        return Session(
            facts,
            mode=mode,
            horizon_s=quote.horizon_s,
            fails_open=switch.fails_open,
            decide_by_ms=self._policy.decision_timeout_ms,
            extend_ahead_ms=self._policy.extend_ahead_ms,
            warn_s=switch.warn_s,
        )

    def _refuse(self, switch: LiveSwitch, attempt: Attempted, reason: Reason) -> None:
        """Answer an attempt for which there is no session."""
        self._tally.verdict(attempt.mode._value_, reason)
        if attempt.mode is _GATE:
            self._tell(switch, AnswerGate(attempt.leg, reason, 0))
        elif not reason.allows and not self._legs.spare(attempt.direction, attempt.call):
            self._tell(switch, HangUp(attempt.leg, denial_cause(reason)))
        self._tell(switch, Forget(attempt.leg))
        self._tally.decided(attempt.arrived_ns)
        self._mark_dirty()

    def _reject(self, switch: LiveSwitch, attempt: Attempted, decision: Rejected) -> None:
        shard = decision.account.shard if decision.account is not None else Shard(0)
        facts, now_ms = decision.facts, self._clock.wall_ms()
        if decision.shadow:
            told = report(facts, decision.reason, None, shard, now_ms)
            assert told is not None
            self._submit(told)
            self._tally.in_shadow("denied", decision.reason)
            return self._refuse(switch, attempt, _ALLOWED)
        if not decision.reason.allows:
            self._submit(Deny(OpId(f"{facts.id}:denied"), shard, now_ms, facts.pack()))
        return self._refuse(switch, attempt, decision.reason)

    # -- limits outside the account's shard ----------------------------------------------------------------------

    def _trunk(self, trunk: TrunkId) -> Trunk | None:
        return self._catalog.trunks.get(trunk) if self._catalog is not None else None

    def _take_trunk(self, record: LiveLeg, trunk: TrunkId) -> None:
        """A dialled leg; of a gated one the trunk is known only now."""
        session = record.session
        if session.state >= _SETTLING or record.broken is _TRUNK_LIMIT:
            return
        if not record.take_slot(trunk, self._trunk(trunk)):
            session.facts.cut = _TRUNK_LIMIT.code
            self._run(record, [HangUp(session.leg, denial_cause(_TRUNK_LIMIT))])
        elif session.state is not _RESERVING:
            self._tell_shadow(record, record.would, None)

    def _reserve(self, record: LiveLeg) -> None:
        """The reseller's leases first, then the leg itself."""
        if not record.outside:
            self._submit(self._request(record, ReserveSlice(record.session.leg)))
            return

        def taken(reply: Reply) -> None:
            reason = Reason.STORE_UNAVAILABLE if reply.status is _STALE else reply.reason
            if reply.status is _OK:
                record.would = first(record.would, reason)
            else:
                record.broken = first(record.broken, reason)
            if self._legs.holds(record):
                self._submit(self._request(record, ReserveSlice(record.session.leg)))
                self._mark_dirty()

        paid_s = record.quote.horizon_s if record.free else self._first_s
        self._outside.take(record, self._clock.wall_ms(), paid_s, taken)

    def _tell_shadow(self, record: LiveLeg, reason: Reason, at_s: int | None) -> None:
        """Once for each leg: what would have happened to it first."""
        if reason.allows:
            return
        told = report(record.session.facts, reason, at_s, record.shard, self._clock.wall_ms())
        if told is not None:
            self._submit(told)
            self._tally.in_shadow("denied" if at_s is None else "cut", reason)
            self._mark_dirty()

    # -- commands ------------------------------------------------------------------------------------------------

    def _handle(self, record: LiveLeg, signal: Signal) -> None:
        self._run(record, record.session.handle(signal, self._now_ms(record.switch)))

    def _run(self, record: LiveLeg, commands: list[Command]) -> None:
        if commands:
            self._mark_dirty()
        for command in commands:
            if isinstance(command, WakeAt):
                wake = command
                self._set_wake(record, wake.at_ms)
            elif isinstance(command, ArmTimer | AnswerGate):
                self._act(record, command)
            elif isinstance(command, ReserveSlice):
                self._reserve(record)
            elif isinstance(command, PersistAnswer | ExtendSlice | SettleLeg):
                if isinstance(command, ExtendSlice) and record.outside:
                    self._outside.renew(record, self._clock.wall_ms(), record.session.granted_s)
                self._submit(self._request(record, command))
            elif isinstance(command, Forget):
                self._tell(record.switch, command)
                self._legs.drop(record)
            elif isinstance(command, HangUp):
                if record.session.state is _DENIED and self._is_spared(record.session.facts):
                    record.session.facts.cut = ""
                else:
                    self._act(record, command)
            elif not record.shadow:
                self._tell(record.switch, command)
        if record.session.state >= _SETTLING:
            record.switch.slots.free(record.session.leg)

    def _act(self, record: LiveLeg, command: AnswerGate | ArmTimer | HangUp) -> None:
        kept = soften(command, record.session.facts) if record.shadow else command
        if kept is not None:
            kept = self._limited(record, kept)
            self._tell(record.switch, kept)
            self._note_action(record, kept)

    def _tell(self, switch: LiveSwitch, command: SwitchCommand) -> None:
        """With the next flush."""
        switch.port.execute(command)
        if not switch.told:
            switch.told = True
            self._told_switches.append(switch)

    def _limited(self, record: LiveLeg, command: AnswerGate | ArmTimer | HangUp) -> AnswerGate | ArmTimer | HangUp:
        if isinstance(command, HangUp) or self._legs.is_alone(record):
            return command
        call = self._legs.of_call(record.session.facts.call)
        return limit(command, record, call, self._now_ms(record.switch))

    def _is_spared(self, denied: LegFacts) -> bool:
        return self._legs.spare(denied.direction, denied.call)

    def _request(self, record: LiveLeg, command: ChargeCommand) -> Reserve | Answer | Extend | Settle:
        wall_ms = self._clock.wall_ms()
        if isinstance(command, ExtendSlice | SettleLeg):
            renew(record, self._catalog, wall_ms)
            self._legs.note_owner(record)
        if isinstance(command, SettleLeg):
            if record.owner is not None:
                record.terms = with_owner(record, self._catalog, wall_ms)
            if record.shadow:
                self._end_in_shadow(record, command.duration_s or 0)
        return request_of(record, command, self._slice, wall_ms)

    def _end_in_shadow(self, record: LiveLeg, talked_s: int) -> None:
        """It was ended by nobody of ours, whatever its slices; one that outlasted its plan is told."""
        facts = record.session.facts
        facts.cut = facts.cut if facts.cut == "operator" else ""
        if facts.longest_s and talked_s > facts.longest_s:
            self._tell_shadow(record, Reason.MAX_LENGTH, facts.longest_s)

    def _note_action(self, record: LiveLeg, command: AnswerGate | ArmTimer | HangUp) -> None:
        if isinstance(command, HangUp) and record.session.facts.cut:
            self._tally.cut(record.session.facts.cut)
        self._tally.decided(record.arrived_ns)
        record.arrived_ns = 0

    # -- replies -------------------------------------------------------------------------------------------------

    def _submit(self, request: Request) -> None:
        self._store.submit(request, self._told)

    def _replied(self, request: Request, reply: Reply) -> None:
        if not isinstance(request, OfLeg):
            return
        of_leg = request
        switch = self._switches.get(of_leg.switch)
        if switch is None or switch.epoch != of_leg.epoch:
            return  # asked for by an attachment that is over; its legs were taken up as the store has them
        record = self._legs.get(of_leg.leg)
        if record is not None:
            signal = self._as_signal(record, of_leg, reply)
            if signal is not None:
                self._handle(record, signal)
        if reply.status is _STALE:
            self.on_stale(of_leg.switch)

    def _as_signal(
        self, record: LiveLeg, request: OfLeg, reply: Reply
    ) -> Reserved | Extended | Settled | Lost | None:
        leg = request.leg
        if isinstance(request, Reserve):
            reason = Reason.STALE_LEADER if reply.status is _STALE else reply.reason
            if reply.status is _OK and request.exempt:
                reason = Reason.EMERGENCY
            elif reply.status is _OK:
                self._tell_shadow(record, first(record.would, reply.reason), None)
                reason = _ALLOWED
                if not record.free and reply.granted_s > self._first_s:
                    self._outside.renew(record, self._clock.wall_ms(), reply.granted_s)
            elif record.outside:
                self._outside.free(record)
            self._tally.verdict(record.session.facts.mode, reason)
            return Reserved(leg, reason, reply.granted_s, reply.final, reply.capped)
        if reply.status is not _OK:
            # What was still under way when the leg was settled finds nothing any more, and need not.
            overtaken = isinstance(request, Answer | Extend) and record.session.state is _SETTLING
            return None if overtaken and reply.status is _GONE else Lost(leg)
        if isinstance(request, Extend):
            self._tell_shadow(record, reply.reason, record.session.granted_s)
            return Extended(leg, reply.granted_s, reply.final, reply.capped)
        if isinstance(request, Settle):
            self._tally.settled(record.session.facts, record.quote.currency, reply.amount_micro)
            if record.outside:
                self._outside.free(record)
            return Settled(leg, reply.amount_micro)
        return None

    # -- time ----------------------------------------------------------------------------------------------------

    def _set_wake(self, record: LiveLeg, at_ms: int) -> None:
        self._wakes.set(record, at_ms - record.switch.offset_ms(self._clock))

    def _now_ms(self, switch: LiveSwitch) -> int:
        return self._clock.monotonic_ms() + switch.offset_ms(self._clock)

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.on_dirty()


def _said_at(signal: Signal) -> int:
    """When by the switch's clock; 0 when it does not say, or says what it only thinks."""
    if isinstance(signal, Answered):
        answered = signal
        return 0 if answered.grade is _ESTIMATED else answered.at_ms
    if isinstance(signal, Ended):
        ended = signal
        return 0 if ended.grade is _ESTIMATED else ended.at_ms
    if isinstance(signal, Dialled):
        dialled = signal
        return dialled.at_ms
    return signal.at_ms if isinstance(signal, Seen) else 0
