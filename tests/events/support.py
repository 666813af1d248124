"""Real servers and real legs for the tests of what leaves the charging plane."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from rater.charging.model import Answer, Deny, Extend, Post, PostKind, Reply, Reserve, Settle
from rater.charging.redis_store import RedisStore
from rater.charging.terms import AllowanceTerm, SlicePolicy, Terms, Threshold, ThresholdKind
from rater.events.rated import LegFacts
from rater.events.stream import outbox_key
from rater.ids import AccountId, GrantId, LegId, OpId, Shard, SwitchId
from rater.money import Cadence, Quote, Rounding, Segment

T0 = 1_790_000_000_000
CENT = 10_000
PER_SECOND = Quote((Segment(0, 1, CENT, 1, "peak"),), "BRL", "mobile_local")
BANDS = Quote(
    (Segment(0, 30, 5000, 3, "peak"), Segment(60, 6, 1000, 7, "night")),
    "BRL", "mobile_local", CENT, Rounding.HALF_UP, 3, 50_000,
)  # fmt: skip
ALLOWANCE = Terms(
    allowances=(AllowanceTerm(GrantId("local"), 10, Cadence(), T0, T0 + 10**9),),
    thresholds=(
        Threshold("used-80", ThresholdKind.ALLOWANCE_PERCENT, 80, GrantId("local")),
        Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT),
    ),
    currency="BRL",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def leg_facts(leg: str = "pbx1.b.1", account: str = "ACME", **changes: Any) -> LegFacts:
    facts = LegFacts(
        id=leg, call=leg, switch="pbx1", mode="gate", direction="out", account=account, line="1001", trunk="sip",
        caller="1001", dialled="011987654321", number="5511987654321", prefix="55119", destination="Sao Paulo",
        destination_class="mobile_local", plan="gold", catalog_version=7, steps=["area 11", "country 55"],
        emergency=False, attempted_at_ms=T0, dialled_at_ms=T0 + 120, answered_at_ms=T0 + 4_000,
        ended_at_ms=T0 + 14_004, disposition="answered", cause=16, grade="observed", answer_grade="observed",
    )  # fmt: skip
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts


class Desk:
    """Puts whole legs through the real charging scripts."""

    def __init__(self, store: RedisStore, shard: int = 0) -> None:
        self.store = store
        self.shard = Shard(shard)
        self._posts = 0

    async def credit(self, amount_micro: int, account: str = "ACME", terms: Terms | None = None) -> Reply:
        self._posts += 1
        op = OpId(f"credit-{account}-{self._posts}")
        return await self.store.ask(
            Post(op, self.shard, AccountId(account), PostKind.CREDIT, amount_micro, T0, terms or Terms())
        )

    async def call(
        self,
        seconds: int | None,
        facts: LegFacts | None = None,
        *,
        quote: Quote = PER_SECOND,
        terms: Terms | None = None,
    ) -> Reply:
        """A leg from reservation to settlement; the reply of its last operation."""
        facts, terms = facts or leg_facts(), terms or Terms()
        leg, account, switch = LegId(facts.id), AccountId(facts.account), SwitchId(facts.switch)
        reply = await self.store.ask(
            Reserve(OpId(f"{leg}:1"), self.shard, account, leg, switch, 1, T0, quote, terms, (),
                    SlicePolicy(3600, 3600, 1), False, facts.pack())
        )  # fmt: skip
        if reply.granted_s == 0:
            return reply
        if seconds is not None:
            await self.store.ask(
                Answer(OpId(f"{leg}:2"), self.shard, account, leg, switch, 1, T0, T0 + 4_000, facts.pack())
            )
        number = 3
        while seconds is not None and reply.granted_s < seconds and not reply.final:
            reply = await self.store.ask(
                Extend(OpId(f"{leg}:{number}"), self.shard, account, leg, switch, 1, T0, 0, terms,
                       SlicePolicy(3600, 3600, 1))
            )  # fmt: skip
            number += 1
        return await self.store.ask(
            Settle(
                OpId(f"{leg}:{number}"), self.shard, account, leg, switch, 1, T0, seconds, terms, True, facts.pack()
            )
        )

    async def deny(self, facts: LegFacts) -> Reply:
        return await self.store.ask(Deny(OpId(f"{facts.id}:denied"), self.shard, T0, facts.pack()))


async def copies(redis: Redis, prefix: str, ids: Sequence[str], *, shard: int = 0) -> None:
    """More rated entries like the last in the outbox, under these leg ids, which name the line too; for volume."""
    client: Any = redis
    ((_, fields),) = await client.xrevrange(outbox_key(prefix, shard), count=1)
    facts = LegFacts.unpack(fields[b"f"])
    for start in range(0, len(ids), 1000):
        pipe = client.pipeline(transaction=False)
        for leg in ids[start : start + 1000]:
            facts.id = facts.line = leg
            pipe.xadd(outbox_key(prefix, shard), {b"k": b"rated", b"f": facts.pack(), b"r": fields[b"r"]})
        await pipe.execute()


class Mosquitto:
    """A broker on a port of its own; can be stopped and started again. `acl`: lines of its access file."""

    def __init__(self, folder: Path, acl: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0", "user root"]
        if acl is not None:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-v", "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise RuntimeError((self.folder / "mosquitto.log").read_text())
            time.sleep(0.02)

    def taken(self, pattern: str) -> list[str]:
        """What the log says that it took from publishers: the pattern's group in each topic, in order."""
        log = (self.folder / "mosquitto.log").read_text()
        return re.findall(rf"Received PUBLISH from [^']*'{pattern}'", log)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)


async def until(condition: Any, *, within_s: float = 20.0) -> None:
    """Wait for a condition, plain or awaited; AssertionError when it does not come true."""
    deadline_s = time.monotonic() + within_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        await asyncio.sleep(0.02)
