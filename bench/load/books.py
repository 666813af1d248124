"""After a run: do the books balance? Twice: by the product's own audit, and by what the load generator wrote down
of the calls it made, which knows nothing of the product but its prices.

For each call of the generator: one rated event for each trunk that was dialled, with the seconds that the
generator's own clock counted, and the amount that they cost (or an allowance's seconds instead); for each refusal
one denial, for the reason that the gate told. No event without a call. Calls that a broken connection hid in part
(`doubtful`: the generator saw it break, or the event says that its end or answer was not observed) may have been
charged less, by what the daemon could prove, but never more, and never twice.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from bench.load.people import POOR_NUMBER, People, price_micro_s
from bench.load.records import NO_NUMBER, CallRecord, Fate, read_records
from bench.load.site import Site
from rater.charging.keys import Keys
from rater.ids import Shard, SwitchId
from rater.verdict import Reason

SETTLE_S = 30.0
PAGE = 5_000
SHOWN = 10
BACKLOG_S = 10.0
WITHOUT_THE_STORE = ("store_unavailable", "not_ready")
"""Refusals that the daemon told without the store's answer: there may be nowhere to write them, or the store, which
was late, wrote a denial of its own with the reason that it found."""


class Leg(NamedTuple):
    """What is compared of one record. `by_grants_s`: seconds that allowances covered."""

    id: str
    account: str
    outbound: bool
    charged_s: int
    granted_s: int
    amount_micro: int
    by_grants_s: int
    reason: str
    observed: bool


@dataclass
class Books:
    """`faults`: the first few, in words; `count`: how many in all. `late_s`: seconds talked beyond what was paid,
    because the daemon was late to set the switch's timer; nobody is charged for them."""

    calls: int = 0
    rated: int = 0
    denied: int = 0
    crossings: int = 0
    seconds: int = 0
    amount_micro: int = 0
    allowance_s: int = 0
    late_s: int = 0
    doubtful: int = 0
    accounts: int = 0
    count: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.count += 1
        if len(self.faults) < SHOWN:
            self.faults.append(text)

    @property
    def balance(self) -> bool:
        return not self.count


def audit(site: Site, reasons: list[str], lost: list[tuple[int, float]]) -> Books:
    """All of it; the calls are over and the generator's records complete. `lost`: connections that broke, by switch
    and time."""
    books = Books()
    _settled(site, books)
    _product(site, books)
    _Comparison(site.people, reasons, lost, books).run(site)
    return books


def _settled(site: Site, books: Books) -> None:
    """Nothing may be left of calls that are over: no leg, no slot of a limit."""
    shards, deadline_s = (
        [Keys("rater", Shard(number)) for number in range(site.masters)],
        time.monotonic() + SETTLE_S,
    )
    switches = [SwitchId(f"pbx{number + 1}") for number in range(site.setting.switches)]
    with site.store.client() as client:
        while True:
            held = [key for keys in shards for key in client.scan_iter(f"{keys.lease_prefix}*", count=1000)]
            leases = sum(client.zcard(key) for key in held)
            legs = sum(client.scard(keys.legs(switch)) for keys in shards for switch in switches)
            if not leases and not legs:
                return
            if time.monotonic() > deadline_s:
                books.fault(f"{legs} legs are still open and {leases} slots of limits taken, with no call left")
                return
            time.sleep(0.5)


def _product(site: Site, books: Books) -> None:
    found = json.loads(site.rater("audit"))
    books.accounts = found["accounts"]
    for text in found["faults"]:
        books.fault(f"rater audit: {text}")


class _Comparison:
    def __init__(self, people: People, reasons: list[str], lost: list[tuple[int, float]], books: Books) -> None:
        self._people = people
        self._numbers = people.all_numbers()
        self._reasons = reasons
        self._lost: dict[int, list[float]] = defaultdict(list)
        for switch, at_s in lost:
            self._lost[switch].append(at_s)
        self._books = books
        self._rated: dict[tuple[int, int], list[Leg]] = defaultdict(list)
        self._denied: dict[tuple[int, int], list[Leg]] = defaultdict(list)

    def run(self, site: Site) -> None:
        self._read_outbox(site)
        for record in read_records(site.load.records):
            self._compare(record)
        for left in (self._rated, self._denied):
            for legs in left.values():
                self._books.fault(f"{legs[0].id} has a record, but no call of the generator")

    def _read_outbox(self, site: Site) -> None:
        with site.store.client() as client:
            for shard in map(Shard, range(site.masters)):
                outbox, last = Keys("rater", shard).outbox, "-"
                while entries := client.xrange(outbox, min=last, count=PAGE):
                    for _, fields in entries:
                        self._note(fields)
                    last = "(" + entries[-1][0].decode()

    def _note(self, fields: dict[bytes, bytes]) -> None:
        kind = fields[b"k"]
        if kind == b"threshold":
            self._books.crossings += 1
        if kind not in (b"rated", b"denied"):
            return
        leg = _leg(msgpack.unpackb(fields[b"f"]), msgpack.unpackb(fields[b"r"]) if b"r" in fields else {})
        # pbx1.<boot>.<seconds>.<serial>[.<further legs>]
        switch, _, _, serial = leg.id.split(".")[:4]
        place = self._rated if kind == b"rated" else self._denied
        # A call's channels are numbered in threes; a leg is named after one of them.
        first = int(serial) - int(serial) % 3
        place[int(switch.removeprefix("pbx")) - 1, first].append(leg)

    def _compare(self, call: CallRecord) -> None:
        books = self._books
        books.calls += 1
        key = call.switch, call.unique_n
        rated, denied = self._rated.pop(key, []), self._denied.pop(key, [])
        books.rated += len(rated)
        books.denied += len(denied)
        name = f"the call {call.unique_s}.{call.unique_n} of pbx{call.switch + 1} ({call.fate.name.lower()})"
        if call.doubtful or self._was_hidden(call) or not all(leg.observed for leg in rated):
            books.doubtful += 1
            self._compare_doubtful(call, rated, name)
            return
        wanted = call.legs if call.fate not in (Fate.DENIED, Fate.NO_VERDICT, Fate.AWAY) else 0
        if wanted == 2 and denied:
            # The gate decides before the first trunk. A further leg is decided while it rings or talks already, and
            # is ended when it is refused; what it talked until then nobody pays.
            books.late_s += max(0, _talked_s(call) - sum(leg.charged_s for leg in rated))
            self._compare_doubtful(call, rated, name)
            return
        if len(rated) != wanted or len({leg.id for leg in rated}) != wanted:
            books.fault(f"{name}: {len(rated)} rated events instead of {wanted}")
            return
        if call.fate is Fate.DENIED:
            self._compare_denial(call, denied, name)
        elif denied and call.fate is not Fate.NO_VERDICT:
            books.fault(f"{name}: a denial, though it was allowed")
        self._compare_time(call, rated, name)

    def _was_hidden(self, call: CallRecord) -> bool:
        """Whether a connection broke during the call, or so soon after it that its last events may have been lost
        on their way or in the daemon's backlog."""
        ended_s = call.ended_us / 1e6 + BACKLOG_S
        return any(call.unique_s <= at_s <= ended_s for at_s in self._lost[call.switch])

    def _compare_denial(self, call: CallRecord, denied: list[Leg], name: str) -> None:
        told, recorded = self._reasons[call.reason], [leg.reason for leg in denied]
        if recorded != [told] and not (told in WITHOUT_THE_STORE and len(recorded) < 2):
            self._books.fault(f"{name}: denied for {told}, recorded is {recorded}")

    def _compare_time(self, call: CallRecord, rated: list[Leg], name: str) -> None:
        books, talked_s = self._books, _talked_s(call)
        charged_s = sum(leg.charged_s for leg in rated if leg.outbound)
        if charged_s < talked_s and charged_s == max(leg.granted_s for leg in rated if leg.outbound):
            books.late_s += talked_s - charged_s
        elif charged_s != talked_s:
            books.fault(f"{name}: talked for {talked_s} s, charged were {charged_s}")
        number = POOR_NUMBER if call.number == NO_NUMBER else self._numbers[call.number]
        by_grants_s = sum(leg.by_grants_s for leg in rated)
        amount_micro = sum(leg.amount_micro for leg in rated)
        wanted = (charged_s - by_grants_s) * price_micro_s(number)
        if amount_micro != wanted:
            books.fault(f"{name}: {charged_s} s cost {wanted} micro-units, charged were {amount_micro}")
        if by_grants_s and self._people.modality(call.line) != "bundle":
            books.fault(f"{name}: an allowance that its account does not have")
        if any(leg.account != self._people.account(call.line) for leg in rated if leg.outbound):
            books.fault(f"{name}: charged to another account")
        books.seconds += talked_s
        books.amount_micro += amount_micro
        books.allowance_s += by_grants_s

    def _compare_doubtful(self, call: CallRecord, rated: list[Leg], name: str) -> None:
        if len(rated) > max(1, call.legs) or len({leg.id for leg in rated}) != len(rated):
            self._books.fault(f"{name}: {len(rated)} rated events, more than channels were dialled")
        charged_s, most_s = sum(leg.charged_s for leg in rated if leg.outbound), _talked_s(call)
        if charged_s > most_s:
            self._books.fault(f"{name}: talked for {most_s} s at most, charged were {charged_s}")


def _leg(facts: Mapping[str, Any], result: Mapping[str, Any]) -> Leg:
    """From what stands in the outbox. A refusal by a script stands in its result, as a number; one by the catalogue
    in the facts, as a code."""
    rated = "pieces" in result
    return Leg(
        id=str(facts["id"]),
        account=str(facts["account"]),
        outbound=facts["direction"] == "out",
        charged_s=int(result["duration_s"] or 0) if rated else 0,
        granted_s=int(result["granted_s"]) if rated else 0,
        amount_micro=int(result["amount_micro"]) if rated else 0,
        by_grants_s=sum(b - a for grant, a, b, _ in result["pieces"] if grant) if rated else 0,
        observed=facts["grade"] == "observed" and facts["answer_grade"] in ("", "observed"),
        reason="" if rated else str(facts["reason"] or Reason(result["reason"]).code),
    )


def _talked_s(call: CallRecord) -> int:
    """To the nearest second, half up, at least one; by milliseconds, as the switch's times are read."""
    if not call.answered_us:
        return 0
    return max(1, (call.ended_us // 1000 - call.answered_us // 1000 + 500) // 1000)
