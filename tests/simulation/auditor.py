"""The independent auditor. It shares no arithmetic with the product: it knows what the simulated world really did,
recomputes every price, balance, lease and crossing from that, and compares.

`executed` is told of every operation as the server carries it out, `leg_ended` of every leg as it really was, and
`look` looks from the side whether anybody decides for a switch. `close` judges the whole.

    floor       I2  no balance, less what is reserved, under its floor
    books       I1  balance = openings + credits − debits − charges = sum of the ledger
    reserved    I3  what is reserved is what live legs hold; in the end nothing
    lease       I4  no more live legs than a limit allows; in the end no lease
    event       I5  exactly one event for each leg settled as one; every answered leg of a served gate has one
    stale       I6  an older leader never changes anything
    charge      I7  the charge is the price of its seconds; these are at most those talked, at most those paid
    overspend       in gate mode nobody talks longer than what is paid
    gate            nobody waits at the gate for longer than the dialplan lets them
    repeat          a repeated operation gets its first answer
    threshold       one notification for each crossing
    hours           an allowance with hours pays no second that begins outside them
    cycle           no day of a plan's zone gives more than the allowance, and no cycle begins at another moment

When the store comes back without its last writes, `rolled_back` has the auditor forget what the store forgot. What
was paid there is not charged; that is all that may be different afterwards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from rater.charging.model import Answer, Extend, LegRequest, Post, PostKind, Reply, Request, Reserve, Settle, Status
from rater.ids import AccountId

from . import site
from .servers import Server

TIMER_SLACK_MS = 700
"""An order to the switch's timer is under way for a while, and is given by an estimate of the switch's clock."""
LOOK_S = 0.25
GATE_S = 3.0
"""How long the dialplan waits for a verdict."""
FOUND_AGAIN_S = 20.0
"""Within that, a served switch's calls are compared with a store that lost their reservations."""
FLOORS = {payer.name: payer.floor_micro for payer in site.PAYERS}


@dataclass(frozen=True)
class Finding:
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True)
class Truth:
    """One leg as it really was, times on the true clock. `line`: whose it is. `channel`, `caller`: uniqueids of
    the called channel, which is the leg, and of the calling one. `lost`: the switch died under it."""

    switch: str
    gated: bool
    fail: str
    kind: str
    line: str
    number: str
    channel: str
    caller: str
    began_us: int
    answered_us: int | None
    ended_us: int
    lost: bool

    @property
    def talk_ms(self) -> float:
        return 0.0 if self.answered_us is None else (self.ended_us - self.answered_us) / 1000


@dataclass
class _Leg:
    account: str
    switch: str
    scopes: tuple[str, ...]
    granted_s: int
    emitted: bool = False
    answered: bool = False


@dataclass(frozen=True)
class Books:
    """What the store has, as the auditor knows it: what goes when its last writes are lost."""

    epochs: dict[str, int]
    live: dict[str, _Leg]
    over: dict[str, _Leg]
    last: dict[str, tuple[str, Reply]]
    posted: Counter[tuple[str, str]]


@dataclass
class Auditor:
    server: Server
    served: Callable[[str], bool]
    calls: int = 0
    legs: int = 0
    refusals: int = 0
    damaged: bool = False
    """Events were lost or late on the way; what the product cannot know is not held against it."""
    findings: list[Finding] = field(default_factory=list)
    _truths: list[Truth] = field(default_factory=list)
    _epochs: dict[str, int] = field(default_factory=dict)
    _live: dict[str, _Leg] = field(default_factory=dict)
    _over: dict[str, _Leg] = field(default_factory=dict)
    _last: dict[str, tuple[str, Reply]] = field(default_factory=dict)
    _scopes: set[str] = field(default_factory=set)
    _granted: dict[tuple[str, str], int] = field(default_factory=dict)
    _reached_s: dict[str, int] = field(default_factory=dict)
    """Up to which second the pieces of a leg were looked at."""
    _callers: dict[str, tuple[str, str]] = field(default_factory=dict)
    _handed_over: set[tuple[str, str]] = field(default_factory=set)
    """Callers of legs of which a leader that had been succeeded still had something to say."""
    _posted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unserved: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _lost_s: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the callers of legs whose reservations were lost with the store's last writes: the seconds paid there."""
    _lost_at_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """When the store came back without them."""
    _unheard: dict[tuple[str, str], float] = field(default_factory=dict)
    """Since when the store refuses what is said of their legs: that they were answered comes after that."""

    def find(self, rule: str, text: str) -> None:
        self.findings.append(Finding(rule, text))

    # -- as it happens ---------------------------------------------------------------------------------------------

    def look(self, switch: str, now_s: float) -> None:
        if not self.served(switch):
            self._unserved[switch].append(now_s)

    def call_ended(self) -> None:
        self.calls += 1

    def leg_ended(self, truth: Truth) -> None:
        self._truths.append(truth)

    def left_gate(self, switch: str, channel: str, waited_s: float) -> None:
        if waited_s > GATE_S + TIMER_SLACK_MS / 1000:
            self.find("gate", f"{channel} of {switch} waited {waited_s:.3f} s for a verdict")

    def executed(self, request: Request, reply: Reply, now_s: float) -> None:
        where = f"at {now_s:.3f} s, {type(request).__name__} {request.op}"
        if isinstance(request, LegRequest | Post):
            self._check_floor(request.account, where)
        if isinstance(request, Post):
            self._posting(request, reply)
        if not isinstance(request, LegRequest):
            return
        known = self._epochs.get(request.switch, 0)
        if reply.status is Status.STALE and request.leg in self._callers:
            self._handed_over.add(self._callers[request.leg])
        if request.epoch < known and reply.status in (Status.OK, Status.DENIED) and not reply.repeated:
            self.find("stale", f"{where}: carried out under epoch {request.epoch}, {known} leads")
        self._epochs[request.switch] = max(known, request.epoch)
        self._check_repeat(request, reply, where)
        if reply.status is Status.OK:
            self._follow(request, reply, where)
            if site.HOURS and isinstance(request, Reserve | Extend) and not reply.repeated:
                self._check_hours(request, where)

    def _check_hours(self, request: Reserve | Extend, where: str) -> None:
        """By the clock of who asked, from which the store counts."""
        plan = next(payer.plan for payer in site.PAYERS if payer.name == request.account)
        start_ms = request.now_ms - (request.elapsed_s * 1000 if isinstance(request, Extend) else 0)
        for leg in self.server.legs(request.switch) if plan == "mixed" else ():
            if leg.leg != request.leg:
                continue
            known_s = self._reached_s.get(leg.leg, 0)
            for piece in leg.pieces:
                for second in range(max(known_s, piece.from_s), piece.to_s if piece.grant else 0):
                    if not site.is_open(plan, start_ms + second * 1000):
                        self.find("hours", f"{where}: {piece.grant} pays second {second} outside its hours")
                        break
            self._reached_s[leg.leg] = max(known_s, leg.granted_s)

    def refused(self, request: Request, now_s: float) -> None:
        """The server took no writes; nothing may be done by halves."""
        if isinstance(request, LegRequest | Post):
            self._check_floor(request.account, f"at {now_s:.3f} s, refused {request.op}")
        if isinstance(request, Answer | Extend) and request.leg in self._callers:
            self._unheard.setdefault(self._callers[request.leg], now_s)
            self.refusals += 1

    def books(self) -> Books:
        return Books(
            dict(self._epochs), {leg: replace(known) for leg, known in self._live.items()}, dict(self._over),
            dict(self._last), Counter(self._posted),
        )  # fmt: skip

    def rolled_back(self, books: Books, now_s: float) -> None:
        """The store is as it was then. What it granted since is lost, but not what the switches were told of it."""
        for leg in (self._live | self._over).keys() - (books.live | books.over).keys():
            caller = self._callers[leg]
            self._lost_s[caller] += (self._live | self._over)[leg].granted_s
            self._lost_at_s[caller] = now_s
        for leg in self._over.keys() & books.live.keys():
            # Its end is lost, and if its answer is, too, nothing is left that says that it talked.
            if not books.live[leg].answered:
                self._lost_at_s[self._callers[leg]] = now_s
        self._epochs, self._live, self._over = books.epochs, books.live, books.over
        self._last, self._posted = books.last, books.posted

    def _check_floor(self, account: AccountId, where: str) -> None:
        state = self.server.account(account)
        if state is not None and state.balance_micro - state.reserved_micro < FLOORS[account]:
            self.find("floor", f"{where}: {account} has {state.balance_micro}, reserved {state.reserved_micro}")

    def _posting(self, request: Post, reply: Reply) -> None:
        if reply.status is Status.OK and not reply.repeated:
            sign = -1 if request.kind is PostKind.DEBIT else 1
            self._posted[request.account, "total"] += sign * request.amount_micro

    def _check_repeat(self, request: Any, reply: Reply, where: str) -> None:
        op, first = self._last.get(request.leg, ("", reply))
        if op == request.op and reply.status is not Status.STALE and first.status is not Status.STALE:
            same = ("status", "reason", "granted_s", "final", "amount_micro")
            if any(getattr(first, name) != getattr(reply, name) for name in same):
                self.find("repeat", f"{where}: first {first}, then {reply}")
        elif reply.status is not Status.STALE:
            self._last[request.leg] = (request.op, reply)

    def _follow(self, request: Any, reply: Reply, where: str) -> None:
        leg = request.leg
        if isinstance(request, Reserve) and leg not in self._live and leg not in self._over:
            self.legs += 1
            scopes = tuple(lease.scope for lease in request.leases)
            self._live[leg] = _Leg(request.account, request.switch, scopes, reply.granted_s)
            self._scopes.update(scopes)
            for lease in request.leases if not request.exempt else ():
                held = sum(lease.scope in other.scopes for other in self._live.values())
                if held > lease.limit:
                    self.find("lease", f"{where}: {held} live legs hold {lease.scope}, which has {lease.limit}")
        if leg in self._live:
            self._live[leg].granted_s = max(self._live[leg].granted_s, reply.granted_s)
            self._live[leg].answered |= isinstance(request, Answer)
            if not isinstance(request, Settle):
                self._unheard.pop(self._callers.get(leg, ("", "")), None)
            if isinstance(request, Settle):
                self._live[leg].emitted = request.emit
                self._over[leg] = self._live.pop(leg)
        self._note_granted(request, reply)

    def _note_granted(self, request: Any, reply: Reply) -> None:
        """The most that was paid ahead for anything that a caller's channel dialled."""
        if isinstance(request, Reserve):
            known = _unpack(request.facts)
            self._callers[request.leg] = (request.switch, known.get("caller_channel_id", ""))
        caller = self._callers.get(request.leg)
        if caller is not None:
            self._granted[caller] = max(self._granted.get(caller, 0), reply.granted_s)

    # -- in the end ------------------------------------------------------------------------------------------------

    def close(self, now_ms: int) -> list[Finding]:
        outbox = self.server.outbox()
        rated = [{**known, **result} for kind, known, result in outbox if kind == "rated"]
        thresholds = [result for kind, _, result in outbox if kind == "threshold"]
        self._close_legs(now_ms)
        self._close_events(rated)
        self._close_books(rated)
        self._close_thresholds(thresholds)
        return self.findings

    def _close_legs(self, now_ms: int) -> None:
        for state in self.server.legs():
            self.find("event", f"the leg {state.leg} was never settled")
        for scope in sorted(self._scopes):
            if self.server.live_leases(scope, now_ms):
                self.find("lease", f"{scope} is still held")

    def _close_events(self, rated: list[dict[str, Any]]) -> None:
        counted = Counter(event["id"] for event in rated)
        for leg, count in counted.items():
            if count != 1:
                self.find("event", f"{leg} has {count} events")
        for leg, facts in self._over.items():
            if facts.emitted != (leg in counted):
                self.find("event", f"{leg}: settled with emit={facts.emitted}, {counted[leg]} events")
        truths = {(truth.switch, truth.channel): truth for truth in self._truths}
        for event in rated:
            self._check_event(event, truths.get((event["switch"], event["channel_id"])))
        seen = {(event["switch"], event["channel_id"]) for event in rated}
        for truth in truths.values():
            self._check_truth(truth, (truth.switch, truth.channel) in seen)

    def _check_truth(self, truth: Truth, has_event: bool) -> None:
        """What a closed gate promises while it is served."""
        if truth.kind != "out" or not truth.gated or truth.fail != "closed" or truth.answered_us is None:
            return
        if truth.number == site.EMERGENCY:
            return
        caller = (truth.switch, truth.caller)
        excused = (
            self.damaged or truth.lost or caller in self._handed_over or self._is_unwritten(truth)
            or self._was_unheard(caller)
        )  # fmt: skip
        if not has_event and not excused and self._was_served(truth):
            self.find("event", f"answered without an event: {truth}")
        paid_ms = 1000 * (self._granted.get(caller, 0) + self._lost_s[caller])
        if truth.talk_ms > paid_ms + TIMER_SLACK_MS and not self.damaged:
            self.find("overspend", f"{truth.talk_ms:.0f} ms talked, {paid_ms} ms paid: {truth}")

    def _is_unwritten(self, truth: Truth) -> bool:
        """Its reservation was lost, and it was over before it could be found by comparing."""
        lost_at_s = self._lost_at_s.get((truth.switch, truth.caller))
        return lost_at_s is not None and truth.ended_us / 1e6 - site.EPOCH_S < lost_at_s + FOUND_AGAIN_S

    def _was_unheard(self, caller: tuple[str, str]) -> bool:
        """It was answered while the store took no writes, and over when the daemon that alone knew so was gone."""
        since_s = self._unheard.get(caller)
        return since_s is not None and any(at_s >= since_s for at_s in self._unserved[caller[0]])

    def _was_served(self, truth: Truth) -> bool:
        from_s, to_s = truth.began_us / 1e6 - 2 * LOOK_S, truth.ended_us / 1e6 + 2 * LOOK_S
        base_s = site.EPOCH_S
        return not any(from_s <= base_s + at_s <= to_s for at_s in self._unserved[truth.switch])

    def _check_event(self, event: dict[str, Any], truth: Truth | None) -> None:
        leg, duration_s = event["id"], event["duration_s"]
        if truth is None:
            self.find("event", f"{leg} is no channel that ever was")
            return
        if truth.number != site.EMERGENCY and event["account"] != site.LINES[truth.line].name:
            self.find("event", f"{leg} is paid by {event['account']}, not by the account of {truth.line}")
        amount_micro = event["amount_micro"]
        if event["disposition"] != "answered" or truth.answered_us is None:
            if amount_micro or duration_s:
                self.find("charge", f"{leg}: unanswered, but {duration_s} s are charged with {amount_micro}")
            return
        if duration_s > event["granted_s"]:
            self.find("charge", f"{leg}: {duration_s} s charged, {event['granted_s']} s paid ahead")
        self._check_duration(event, truth)
        self._check_pieces(event, truth)

    def _check_duration(self, event: dict[str, Any], truth: Truth) -> None:
        nearest = {max(1, int((truth.talk_ms + off_ms + 500) // 1000)) for off_ms in (-1.1, 0, 1.1)}
        leg, charged_s = event["id"], event["duration_s"]
        if charged_s > max(nearest):
            self.find(
                "charge", f"{leg}: {charged_s} s charged, {truth.talk_ms:.0f} ms talked; {_times(event)}; {truth}"
            )
        exact = event["grade"] == event["answer_grade"] == "observed"
        if exact and charged_s not in nearest and charged_s != event["granted_s"]:
            self.find("charge", f"{leg}: {charged_s} s charged of {truth.talk_ms:.0f} ms, though all was observed")

    def _check_pieces(self, event: dict[str, Any], truth: Truth) -> None:
        leg, at_s, sum_micro = event["id"], 0, 0
        outbound = truth.kind == "out" and truth.number != site.EMERGENCY
        price = site.price_of(truth.number, event["catalog_version"]) if outbound else site.Price("", "", 0)
        for grant, from_s, to_s, amount in event["pieces"]:
            if from_s != at_s:
                self.find("charge", f"{leg}: a gap in the pieces at {from_s} s")
            at_s = to_s
            if grant:
                due = to_s - from_s
            else:
                due = price.cost_micro(to_s) - price.cost_micro(from_s)
                sum_micro += amount
            if amount != due:
                self.find("charge", f"{leg}: {amount} for seconds {from_s} to {to_s}, {due} is right ({price})")
        if at_s != event["duration_s"]:
            self.find("charge", f"{leg}: the pieces end at {at_s} s of {event['duration_s']}")
        if sum_micro != event["amount_micro"]:
            self.find("charge", f"{leg}: the pieces make {sum_micro}, charged were {event['amount_micro']}")

    def _close_books(self, rated: list[dict[str, Any]]) -> None:
        charged: Counter[str] = Counter()
        for event in rated:
            charged[event["account"]] += event["amount_micro"]
        held: Counter[str] = Counter()
        for entry in self.server.ledger():
            held[entry.account] += sum(line.after - line.before for line in entry.lines if not line.resource)
        for state in self.server.accounts():
            name = state.account
            due_micro = self._posted[name, "total"] - charged[name]
            if not state.balance_micro == due_micro == held[name]:
                self.find(
                    "books", f"{name}: balance {state.balance_micro}, due {due_micro}, by the ledger {held[name]}"
                )
            if state.reserved_micro or any(grant.reserved_s for grant in state.grants):
                self.find("reserved", f"{name} still has {state.reserved_micro} reserved, {state.grants}")
        for payer in site.PAYERS:
            if payer.allowance_s:
                self._close_cycles(payer)

    def _close_cycles(self, payer: site.Payer) -> None:
        """No cycle gave more than its allowance, and each began at a midnight of the plan's zone."""
        until_s = site.EPOCH_S + int(self.server.clock.monotonic()) + 1
        starts_ms = {1000 * at_s for at_s in site.cycle_starts(payer.plan, site.EPOCH_S, until_s)}
        used_s: Counter[int] = Counter()
        for entry in self.server.ledger():
            for line in entry.lines if entry.account == payer.name else ():
                if line.resource and line.cause == "call":
                    used_s[line.cycle_ms] += line.before - line.after
        for cycle_ms, seconds in used_s.items():
            if cycle_ms not in starts_ms:
                self.find("cycle", f"{payer.name} used {seconds} s of a cycle from {cycle_ms}, not of {starts_ms}")
            if seconds > payer.allowance_s:
                self.find("cycle", f"{payer.name} used {seconds} s of {payer.allowance_s} s from {cycle_ms}")

    def _close_thresholds(self, thresholds: list[dict[str, Any]]) -> None:
        told = Counter((t["account"], t["kind"], t["value"], t["before"], t["after"]) for t in thresholds)
        due = Counter(_crossings(self.server.ledger()))
        for crossing in sorted((told - due) | (due - told)):
            self.find("threshold", f"{crossing}: {due[crossing]} crossings, told {told[crossing]} times")


def _in_force(cycles: list[int], at_ms: int) -> int:
    """The next one may be open already: a slice has reached into it."""
    return max((cycle_ms for cycle_ms in cycles if cycle_ms <= at_ms), default=0)


def _times(event: dict[str, Any]) -> str:
    names = ("answered_at_ms", "ended_at_ms", "grade", "answer_grade", "cut")
    return ", ".join(f"{name} {event[name]}" for name in names)


def _unpack(packed: bytes) -> dict[str, Any]:
    known: dict[str, Any] = msgpack.unpackb(packed)
    return known


def _crossings(ledger: list[Any]) -> Iterator[tuple[str, str, int, int, int]]:
    """Every crossing that the ledger's lines make: (account, kind, value, before, after)."""
    granted: dict[tuple[str, str, int], int] = {}
    cycles: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in ledger:
        used: dict[tuple[str, str, int], tuple[int, int]] = {}
        for line in entry.lines:
            if not line.resource:
                for value in site.MONEY_BELOW_MICRO:
                    if line.before >= value > line.after:
                        yield entry.account, "money_below", value, line.before, line.after
                continue
            cycle = (entry.account, line.resource, line.cycle_ms)
            if line.cause == "renew":
                granted[cycle] = line.after
                cycles[cycle[:2]].append(line.cycle_ms)
            elif line.cause == "expire":
                granted.pop(cycle, None)
            elif cycle in granted and line.cycle_ms == _in_force(cycles[cycle[:2]], entry.at_ms):
                before, after = granted[cycle] - line.before, granted[cycle] - line.after
                used[cycle] = (used.get(cycle, (before, 0))[0], after)
        for cycle, (before, after) in used.items():
            for value in site.ALLOWANCE_PERCENT:
                if 100 * before < value * granted[cycle] <= 100 * after:
                    yield entry.account, "allowance_percent", value, before, after
