"""Allowances that renew without a sweep, over many accounts: ``python -m bench.renewals --size 1000000``.

Every account is opened and makes a call by the product's own scripts, so that each has used some of its allowance.
Their plans have three time zones. Then the clock goes over the start of the next cycle; nothing else happens. Of a
random sample it is seen that

- a look a millisecond before the start, by the account's own zone, sees what was left; a look at it, all anew;
- the first call after the start draws on the new cycle, and costs no money;
- what was written are these calls' accounts, and no other's byte: each value is compared with itself before.

What it costs: the server's time (`INFO commandstats`) of an account's first reservation after the renewal, beside
the same account's next one, for all accounts and for a hundredth of them; and the server's processor time, with
reading and answering (`/proc/PID/schedstat`). Memory is bounded as it is in life: what
ends with the ledger's archive or a day later goes after each lot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import redis

from bench.charging import (
    BATCH,
    KEYS,
    QUOTE,
    SLICES,
    SWITCH,
    Caller,
    facts_of,
    server,
    spread,
    stats_of,
    used_memory,
)
from rater.catalog.files import read_catalog
from rater.catalog.snapshot import Snapshot
from rater.charging.model import Post, PostKind, Request, Reserve, Settle
from rater.charging.redis_reads import RedisReads
from rater.charging.scripts import Forms
from rater.charging.terms import Lease, Terms
from rater.charging.wire_states import to_account, to_leg
from rater.ids import AccountId, LegId, OpId, Shard
from rater.verdict import Reason

ZONES = ("Asia/Tokyo", "UTC", "America/Sao_Paulo")
BUNDLE_S, FIRST_S, OPENING_MICRO = 3600, SLICES.first_s, 10**8
USED_MOST_S = FIRST_S
ROUNDS = 5
LOT = 10_000
BEFORE_MS = int(datetime(2027, 1, 20, 12, tzinfo=UTC).timestamp()) * 1000
STARTS_MS = [int(datetime(2027, 2, 1, tzinfo=ZoneInfo(zone)).timestamp()) * 1000 for zone in ZONES]
AFTER_MS = int(datetime(2027, 2, 1, 12, tzinfo=UTC).timestamp()) * 1000
PLAN = """
[plan.{name}]
currency = "EUR"
zone = "{zone}"
deck = "decks/deck.csv"
decimals = 2
when_exhausted = "credit"
[[plan.{name}.allowance]]
id = "bundle"
classes = ["fixed"]
seconds = {seconds}
cycle = "monthly"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="accounts")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    options = parser.parse_args()
    sizes = (max(600, options.size // 100), max(600, options.size))
    print(json.dumps([measure(size, options.seed) for size in sizes], indent=2))


def measure(size: int, seed: int = 1) -> dict[str, Any]:
    """Everything said above. AssertionError when anything of it is otherwise."""
    chance = random.Random(seed)
    with server() as client:
        version = client.info("server")["redis_version"]
        plant = Plant(client, size, Forms(functions=int(version.split(".")[0]) >= 7))
        before = used_memory(client)
        plant.open_accounts()
        taken = (used_memory(client) - before) / size
        was = plant.fingerprints()

        each = min(2000, size // 20)
        sample = chance.sample(range(size), (ROUNDS + 3) * each)
        looked = [sample[at * each : (at + 1) * each] for at in range(ROUNDS + 3)]
        at_the_start = looked.pop()
        asyncio.run(plant.look(looked.pop() + looked.pop()))
        assert plant.changed(was) == set(), "whoever only looks writes nothing"
        plant.call_at_the_start(at_the_start)
        times = [plant.timed_round(numbers, at) for at, numbers in enumerate(looked)]
        called = {n for numbers in (*looked, at_the_start) for n in numbers}
        assert plant.changed(was) == called, "written to is who called, and nobody else"
        return {
            "redis": version,
            "accounts": size,
            "bytes_an_account": round(taken),
            "looked_at": 2 * each,
            "called": len(called),
            "others_unchanged": size - len(called),
            "first": spread([first for (first, _), _ in times]),
            "usual": spread([usual for _, (usual, _) in times]),
            "first_over_usual": spread([first / usual for (first, _), (usual, _) in times]),
            "first_processor": spread([first for (_, first), _ in times]),
            "usual_processor": spread([usual for _, (_, usual) in times]),
            "processor_first_over_usual": spread([first / usual for (_, first), (_, usual) in times]),
        }


def account_of(n: int) -> AccountId:
    return AccountId(f"A{n}")


def used_s(n: int) -> int:
    """What the account's call took of its allowance before the renewal."""
    return 1 + n % USED_MOST_S


class Plant:
    """So many accounts in one Redis; each belongs to one of three plans, by its number."""

    def __init__(self, client: redis.Redis, size: int, forms: Forms) -> None:
        self._client = client
        self._size = size
        self._caller = Caller(client, forms)
        self._pid = client.info("server")["process_id"]
        self.terms = cache(self._terms)
        with tempfile.TemporaryDirectory() as folder:
            self._catalog = _catalog(Path(folder))

    def _terms(self, plan: int, number_class: str, at_ms: int) -> Terms:
        return self._catalog.terms(AccountId(f"of{plan}"), number_class, at_ms)

    def open_accounts(self) -> None:
        """Each with money, and a call made of its allowance."""
        for start in range(0, self._size, LOT):
            lot = range(start, min(start + LOT, self._size))
            self._caller.send(self._openings(lot))
            self._caller.send(self._reservations(lot, "opened", [BEFORE_MS] * len(ZONES)))
            self._caller.send(self._settlements(lot, "opened", [BEFORE_MS] * len(ZONES)))
            self._tidy(lot, "opened")

    def _openings(self, numbers: Iterable[int]) -> Iterator[Request]:
        for n in numbers:
            terms = self.terms(n % len(ZONES), "", BEFORE_MS)
            yield Post(OpId(f"o{n}"), Shard(0), account_of(n), PostKind.OPENING, OPENING_MICRO, BEFORE_MS, terms)

    def _reservations(self, numbers: Iterable[int], call: str, at_ms: Sequence[int]) -> Iterator[Request]:
        """`at_ms`: when, for each of the plans."""
        for n in numbers:
            leg, at = LegId(f"{call}.{n}"), at_ms[n % len(ZONES)]
            terms = self.terms(n % len(ZONES), "fixed", at)
            scopes = (f"line:{n}", f"account:A{n}", f"account:A{n}:out")
            leases = tuple(Lease(scope, 10, Reason.LINE_LIMIT) for scope in scopes)
            head = (Shard(0), account_of(n), leg, SWITCH, 1, at)
            yield Reserve(OpId(f"{leg}:1"), *head, QUOTE, terms, leases, SLICES, False, facts_of(n))

    def _settlements(self, numbers: Iterable[int], call: str, at_ms: Sequence[int]) -> Iterator[Request]:
        for n in numbers:
            leg, at = LegId(f"{call}.{n}"), at_ms[n % len(ZONES)]
            terms = self.terms(n % len(ZONES), "fixed", at)
            head = (Shard(0), account_of(n), leg, SWITCH, 1, at)
            yield Settle(OpId(f"{leg}:2"), *head, used_s(n), terms, True, facts_of(n))

    def _tidy(self, numbers: Sequence[int], call: str) -> None:
        """What the archive, the publishers and a day's passing take away."""
        self._client.delete(KEYS.ledger, KEYS.outbox)
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            self._client.delete(*(KEYS.operation(f"o{n}") for n in some))
            self._client.delete(*(KEYS.leg(LegId(f"{call}.{n}")) for n in some))

    # -- what is seen ----------------------------------------------------------------------------------------------

    def _values(self) -> Iterator[tuple[int, bytes]]:
        for start in range(0, self._size, LOT):
            numbers = range(start, min(start + LOT, self._size))
            yield from zip(numbers, self._client.mget([KEYS.account(account_of(n)) for n in numbers]), strict=True)

    def fingerprints(self) -> array[int]:
        """Of each account's value as it is stored."""
        return array("q", (hash(value) for _, value in self._values()))

    def changed(self, was: array[int]) -> set[int]:
        return {n for n, value in self._values() if hash(value) != was[n]}

    async def look(self, numbers: Iterable[int]) -> None:
        """As the product looks for people: by the moment, whatever is stored."""
        path = self._client.connection_pool.connection_kwargs["path"]
        reads = RedisReads(f"unix://{path}", password=None, prefix=KEYS.prefix, shards=1, cluster=False)
        try:
            for n in numbers:
                plan, start_ms = n % len(ZONES), STARTS_MS[n % len(ZONES)]
                for at_ms, left_s in ((start_ms - 1, BUNDLE_S - used_s(n)), (start_ms, BUNDLE_S)):
                    state = await reads.account(Shard(0), account_of(n), self.terms(plan, "", at_ms), at_ms)
                    assert state is not None
                    left = [grant.granted_s - grant.used_s for grant in state.grants if not grant.closed]
                    assert left == [left_s], f"{state} in {ZONES[plan]} at {at_ms}"
        finally:
            await reads.close()

    def call_at_the_start(self, numbers: Sequence[int]) -> None:
        """In the very millisecond, by the account's own zone."""
        self._caller.send(self._reservations(numbers, "start", STARTS_MS))
        for n in numbers:
            state = to_account(account_of(n), self._client.get(KEYS.account(account_of(n))))
            [grant] = [grant for grant in state.grants if not grant.closed]
            assert (grant.valid_from_ms, grant.granted_s) == (STARTS_MS[n % len(ZONES)], BUNDLE_S)
            assert (grant.used_s, grant.reserved_s) == (0, FIRST_S), "drawn on is the new cycle"
            assert (state.balance_micro, state.reserved_micro) == (OPENING_MICRO, 0), "it costs no money"
            leg = to_leg(LegId(f"start.{n}"), Shard(0), self._client.get(KEYS.leg(LegId(f"start.{n}"))))
            assert leg is not None
            assert [(piece.grant, piece.amount) for piece in leg.pieces] == [(grant.grant, FIRST_S)]
        self._caller.send(self._settlements(numbers, "start", STARTS_MS))

    def timed_round(self, numbers: Sequence[int], at: int) -> list[tuple[float, float]]:
        """The first reservation of each after the renewal, and its next one: µs of the server, and of the processor
        with it."""
        moment, found = [AFTER_MS] * len(ZONES), []
        for call in (f"first{at}", f"usual{at}"):
            self._client.config_resetstat()
            began_us = self._processor_us()
            self._caller.send(self._reservations(numbers, call, moment))
            processor_us = self._processor_us() - began_us
            stats = stats_of(self._client)
            scripts_us = sum(stats[name][1] for name in ("fcall", "evalsha") if name in stats)
            found.append((scripts_us / len(numbers), processor_us / len(numbers)))
            self._caller.send(self._settlements(numbers, call, moment))
        for n in numbers:
            state = to_account(account_of(n), self._client.get(KEYS.account(account_of(n))))
            [grant] = [grant for grant in state.grants if not grant.closed]
            assert (grant.used_s, grant.reserved_s) == (2 * used_s(n), 0)
            assert state.balance_micro == OPENING_MICRO
        return found

    def _processor_us(self) -> float:
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1000


def _catalog(folder: Path) -> Snapshot:
    """Of one account for each plan: the terms of the others are the same."""
    plans = [PLAN.format(name=f"plan{at}", zone=zone, seconds=BUNDLE_S) for at, zone in enumerate(ZONES)]
    accounts = [f'[account.of{at}]\nplan = "plan{at}"\nmodality = "allowance"\n' for at in range(len(ZONES))]
    files = {
        "plans.toml": "".join(plans),
        "accounts.toml": "".join(accounts),
        "lines.csv": "line,account,endpoint,account_code\n1001,of0,1001,A1001\n",
        "trunks.toml": '[trunk.carrier]\npattern = "PJSIP/trunk-*"\n',
        "decks/deck.csv": "prefix,destination,class,price,per,first,next\n33,France,fixed,0.60,60,1,1\n",
    }
    (folder / "decks").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return read_catalog(folder)


if __name__ == "__main__":
    main()
