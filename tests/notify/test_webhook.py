"""Webhooks: a publisher in its own process, a real HTTP server, a real Redis; and what each answer means."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from events.support import ALLOWANCE, CENT, Desk, Mosquitto, copies, free_port, leg_facts, until
from events.test_schema import SAMPLES
from pydantic import ValidationError

from rater.charging.embedded import EmbeddedRedis
from rater.clock import SystemClock
from rater.config import Secret, Settings, WebhookSettings
from rater.errors import ConfigError
from rater.events.consumer import outbox_backlog
from rater.events.stream import Entry, dead_key
from rater.metrics import Metrics
from rater.notify.senders import Item, ItemRefused, SinkDown
from rater.notify.webhook import ATTEMPTS, WebhookSender, retry_after_s, signature

from .receiver import SECRET, Received, Receiver, hook, receiving
from .support import Publisher, settings_for

Start = Callable[[Settings], Publisher]
OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]
GROUP = "webhook:crm"


async def waiting(desk: Desk, group: str = GROUP) -> int:
    store = desk.store
    return (await outbox_backlog(store.redis, prefix=store.prefix, shard=0, group=group)).entries


def documented() -> dict[str, Any]:
    """The receiver of docs/notifications.md, as a reader would copy it."""
    page = Path(__file__).parents[2] / "docs" / "notifications.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


RECEIVE = documented()


def verified(request: Received, secret: str = SECRET) -> bool:
    headers = request.headers
    good: bool = RECEIVE["verified"](secret, headers["Rater-Timestamp"], headers["Rater-Signature"], request.body)
    return good


# -- the publisher, end to end -----------------------------------------------------------------------------------


def test_each_record_is_posted_once_signed_and_named_by_its_id(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, receiving() as crm:
            publisher(settings_for(server.url, prefix, webhooks=[hook(crm.url, tmp_path)]))
            await desk.credit(105 * CENT)
            await desk.call(30, leg_facts("leg-1"), terms=ALLOWANCE)
            await desk.deny(leg_facts("leg-2", reason="no_rate"))
            await until(lambda: len(crm.got) == 4)
            assert all(verified(request) for request in crm.got)
            assert not any(verified(request, "another") for request in crm.got)
            assert [request.headers["Idempotency-Key"] for request in crm.got] == crm.ids
            assert sorted(record["schema"] for request in crm.got for record in request.records) == [
                "rater.denied/1", "rater.rated/1", "rater.threshold/1", "rater.threshold/1",
            ]  # fmt: skip
            assert crm.got[0].headers["Content-Type"] == "application/json"
            assert await _settles(desk)

    asyncio.run(run())


async def _settles(desk: Desk, group: str = GROUP) -> bool:
    async def none_waits() -> bool:
        return await waiting(desk, group) == 0

    await until(none_waits)
    return True


def test_each_endpoint_gets_the_kinds_and_accounts_it_asked_for(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, receiving() as alerts, receiving() as acme:
            hooks = [
                hook(alerts.url, tmp_path, "alerts", kinds=("threshold",)),
                hook(acme.url, tmp_path, "acme", kinds=("rated",), accounts=("AC*",)),
            ]
            publisher(settings_for(server.url, prefix, webhooks=hooks))
            for account in ("ACME", "OTHER"):
                await desk.credit(105 * CENT, account=account)
                await desk.call(20, leg_facts(f"leg-{account}", account=account), terms=ALLOWANCE)
            await until(lambda: len(alerts.got) == 4 and len(acme.got) == 1)
            assert acme.ids == ["leg-ACME"]
            assert {r["account"] for got in alerts.got for r in got.records} == {"ACME", "OTHER"}
            assert await _settles(desk, "webhook:alerts")
            assert await _settles(desk, "webhook:acme")
            assert (len(alerts.got), len(acme.got)) == (4, 1)

    asyncio.run(run())


def test_an_endpoint_that_is_away_loses_nothing_and_holds_up_nobody(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    ids, port = [f"leg-{n:03}" for n in range(120)], free_port()

    async def run() -> None:
        async with open_desk() as desk:
            await desk.credit(10**9)
            await desk.call(10, leg_facts(ids[0]))
            await copies(desk.store.redis, prefix, ids[1:])
            hooks = [hook(f"http://localhost:{port}/", tmp_path, batch=25)]
            publisher(settings_for(server.url, prefix, files=tmp_path / "files", webhooks=hooks))
            assert await _settles(desk, "files")
            assert await waiting(desk) == len(ids)
            async with receiving(port=port) as crm:
                assert await _settles(desk)
                assert crm.ids == ids
                assert len(crm.got) == 5

    asyncio.run(run())


def test_killed_between_delivery_and_acknowledgement_it_delivers_again_under_the_same_key(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    """The endpoint has each threshold crossing, and one killed publisher repeats it with the same id and body."""

    async def run() -> None:
        async with open_desk() as desk, receiving() as crm:
            held = asyncio.Event()

            async def hold(request: Received) -> web.Response:
                await held.wait()
                return web.Response(status=204)

            crm.answer = hold
            settings = settings_for(server.url, prefix, webhooks=[hook(crm.url, tmp_path, kinds=("threshold",))])
            process = publisher(settings)
            await desk.credit(105 * CENT)
            await desk.call(20, leg_facts("leg-1"), terms=ALLOWANCE)
            await until(lambda: len(crm.got) == 1)
            process.kill()
            held.set()
            publisher(settings)
            assert await _settles(desk)
            assert len(crm.got) == 3
            assert crm.got[0].body == crm.got[1].body
            assert crm.ids[0] == crm.ids[1] != crm.ids[2]
            assert crm.got[0].headers["Idempotency-Key"] == crm.got[1].headers["Idempotency-Key"]

    asyncio.run(run())


def test_a_refused_record_becomes_a_dead_letter_and_the_rest_is_delivered(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    ids = [f"leg-{n}" for n in range(7)]

    async def run() -> None:
        async with open_desk() as desk, receiving() as crm:
            taken: list[str] = []

            def answer(request: Received) -> web.Response:
                if "leg-3" in request.ids:
                    return web.Response(status=422, text="no such\r\n customer")
                taken.extend(request.ids)
                return web.Response()

            crm.answer = answer
            await desk.credit(10**9)
            await desk.call(10, leg_facts(ids[0]))
            await copies(desk.store.redis, prefix, ids[1:])
            publisher(settings_for(server.url, prefix, webhooks=[hook(crm.url, tmp_path, batch=5)]))
            assert await _settles(desk)
            assert sorted(taken) == [each for each in ids if each != "leg-3"]
            ((_, letter),) = await desk.store.redis.xrange(dead_key(prefix, 0))
            assert letter[b"reason"] == b"the endpoint answered 422: no such customer"
            assert letter[b"group"] == GROUP.encode()

    asyncio.run(run())


def test_one_that_never_answers_does_not_hold_up_the_broker(
    server: EmbeddedRedis, broker: Mosquitto, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, receiving() as crm:
            stuck = asyncio.Event()

            async def never(request: Received) -> web.Response:
                await stuck.wait()
                return web.Response()

            crm.answer = never
            settings = settings_for(server.url, prefix, broker=broker, webhooks=[hook(crm.url, tmp_path)])
            process = publisher(settings)
            await desk.credit(10**9)
            for n in range(3):
                await desk.call(10, leg_facts(f"leg-{n}"))
            assert await _settles(desk, "mqtt")
            await until(lambda: crm.got)
            assert await waiting(desk) == 3
            await asyncio.to_thread(process.stop)
            stuck.set()

    asyncio.run(run())


def test_the_documented_receiver_stores_each_record_once_and_refuses_what_is_forged_or_old(tmp_path: Path) -> None:
    crm, _, _ = attempt(tmp_path, lambda request: web.Response(), ["a", "b", "c"], batch=2)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE record (id TEXT, schema TEXT, body TEXT, PRIMARY KEY (schema, id))")
    receive = RECEIVE["receive"]
    for request in (*crm.got, *crm.got):
        assert receive(database, SECRET, request.headers, request.body) == 204
    assert [row[0] for row in database.execute("SELECT id FROM record ORDER BY id")] == ["a", "b", "c"]
    first = crm.got[0]
    assert receive(database, SECRET, first.headers, first.body + b" ") == 401
    assert receive(database, "another", first.headers, first.body) == 401
    assert receive(database, SECRET, {}, first.body) == 401
    stale = str(int(time.time()) - 600)
    forged = first.headers | {
        "Rater-Timestamp": stale, "Rater-Signature": f"v1={signature(SECRET, stale, first.body)}"
    }  # fmt: skip
    assert receive(database, SECRET, forged, first.body) == 401


# -- what each answer means --------------------------------------------------------------------------------------

RECORD = SAMPLES["rated-1"]


def item(leg: str) -> Item:
    return Item(Entry(0, "1-0", "rated", {}, {}), RECORD.model_copy(update={"id": leg}))  # type: ignore[arg-type]


def attempt(
    tmp_path: Path, answer: Callable[[Received], web.Response], ids: list[str], **options: Any
) -> tuple[Receiver, Exception | None, float]:
    """One delivery by a sender of this process: what was received, what it raised, how long it pauses."""

    async def run() -> tuple[Receiver, Exception | None, float]:
        async with receiving() as crm, asyncio.TaskGroup() as group:
            crm.answer = answer
            sender = WebhookSender(hook(crm.url, tmp_path, **options), SystemClock(), Metrics())
            running = group.create_task(sender.run())
            await sender.wait_up()
            raised: Exception | None = None
            try:
                await sender.deliver([item(each) for each in ids])
            except (SinkDown, ItemRefused) as error:
                raised = error
            running.cancel()
            return crm, raised, sender.pause_s

    return asyncio.run(run())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451])
def test_other_4xx_refuse_the_record_for_good(tmp_path: Path, status: int) -> None:
    crm, raised, pause_s = attempt(tmp_path, lambda request: web.Response(status=status), ["a", "b"])
    assert isinstance(raised, ItemRefused)
    assert raised.item.record.id == "a"
    assert f"answered {status}" in raised.message
    assert (len(crm.got), pause_s) == (1, 0.0)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 301, 302, 307, 308])
def test_what_may_pass_is_tried_again_after_a_pause(tmp_path: Path, status: int) -> None:
    def answer(request: Received) -> web.Response:
        return web.Response(status=204 if request.ids == ["a"] else status, headers={"Location": "http://[::1]/x"})

    crm, raised, pause_s = attempt(tmp_path, answer, ["a", "b", "c"])
    assert isinstance(raised, SinkDown)
    assert [each.record.id for each in raised.delivered] == ["a"]
    assert crm.ids == ["a", "b"], "a redirect was followed, or what comes after was sent before it"
    assert 0.3 < pause_s <= 1.0
    assert ("Set url to http://[::1]/x" in raised.hint) == (status in (301, 302, 307, 308))


def test_the_endpoint_says_when_to_come_back(tmp_path: Path) -> None:
    _, _, pause_s = attempt(
        tmp_path, lambda request: web.Response(status=503, headers={"Retry-After": "120"}), ["a"]
    )
    assert 110 < pause_s <= 120


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("120", 120.0), (" 0 ", 0.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("Sat, 01 Jan 2000 00:00:30 GMT", 30.0),
     ("soon", None), ("", None), ("-5", None), ("9" * 40, 999999999.0)],
)  # fmt: skip
def test_both_forms_of_retry_after(header: str, wait_s: float | None) -> None:
    assert retry_after_s(header, 946_684_800_000) == wait_s


def test_a_record_that_the_endpoint_fails_on_is_set_aside_in_the_end(tmp_path: Path) -> None:
    def answer(request: Received) -> web.Response:
        return web.Response(status=500 if "poison" in request.ids else 204)

    async def run() -> None:
        async with receiving() as crm:
            crm.answer = answer
            sender = WebhookSender(hook(crm.url, tmp_path, batch=3), SystemClock(), Metrics())
            running = asyncio.create_task(sender.run())
            await sender.wait_up()
            items = [item(each) for each in ("a", "poison", "b")]
            for _ in range(ATTEMPTS - 1):
                with pytest.raises(SinkDown) as down:
                    await sender.deliver(items)
                items = [each for each in items if each not in down.value.delivered]
            assert [each.record.id for each in items] == ["poison", "b"]
            with pytest.raises(ItemRefused, match=f"answered 500, {ATTEMPTS} times"):
                await sender.deliver(items)
            await sender.deliver([item("b")])
            assert crm.ids.count("b") == 2  # in the first batch of three, and at the end
            running.cancel()

    asyncio.run(run())


def test_no_answer_in_time_counts_as_a_failure_and_an_endless_one_is_not_read(tmp_path: Path) -> None:
    async def slow(request: Received) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    _, raised, _ = attempt(tmp_path, slow, ["a"], timeout_s=0.2)  # type: ignore[arg-type]
    assert isinstance(raised, SinkDown)
    assert raised.message == "no answer within 0.2 s"
    crm, raised, _ = attempt(tmp_path, lambda request: web.Response(body=b"x" * 50_000_000), ["a", "b"])
    assert (raised, crm.ids) == (None, ["a", "b"])


def test_nobody_at_the_address_is_an_endpoint_that_is_away(tmp_path: Path) -> None:
    async def run() -> None:
        url = f"http://localhost:{free_port()}/"
        sender = WebhookSender(hook(url, tmp_path), SystemClock(), Metrics())
        running = asyncio.create_task(sender.run())
        await sender.wait_up()
        pauses = []
        for _ in range(4):
            with pytest.raises(SinkDown, match="cannot connect"):
                await sender.deliver([item("a")])
            pauses.append(sender.pause_s)
        assert pauses[3] > pauses[0]
        assert max(pauses) <= 8
        running.cancel()

    asyncio.run(run())


# -- TLS and settings --------------------------------------------------------------------------------------------


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))

    async def attempt_with(crm: Receiver, **options: Any) -> str:
        sender = WebhookSender(hook(crm.url, tmp_path, **options), SystemClock(), Metrics())
        running = asyncio.create_task(sender.run())
        await sender.wait_up()
        try:
            await sender.deliver([item("a")])
        except SinkDown as error:
            return error.message
        finally:
            running.cancel()
        return "delivered"

    async def run() -> None:
        async with receiving(tls=context) as crm:
            assert "CERTIFICATE_VERIFY_FAILED" in await attempt_with(crm)
            assert "CERTIFICATE_VERIFY_FAILED" in await attempt_with(crm, tls_ca=tmp_path / "other.pem")
            assert not crm.got
            assert await attempt_with(crm, tls_ca=tmp_path / "ca.pem") == "delivered"

    asyncio.run(run())


def test_the_signature_is_the_documented_one_and_two_secrets_sign_while_one_is_replaced(tmp_path: Path) -> None:
    assert signature("key", "1700000000", b'{"a":1}') == (
        "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    )
    (tmp_path / "old").write_text("the one before")
    (tmp_path / "old").chmod(0o600)
    crm, _, _ = attempt(
        tmp_path, lambda request: web.Response(), ["a"], previous_secret=Secret(file=tmp_path / "old")
    )
    assert verified(crm.got[0])
    assert verified(crm.got[0], "the one before")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://crm.example/"}, "must be https"),
        ({"url": "ftp://crm.example/"}, "write an address"),
        ({"url": "crm.example"}, "write an address"),
        ({"url": "https://user:word@crm.example/"}, "leave user and password out"),
        ({"kinds": ["rated", "invoices"]}, "denied"),
        ({"kinds": []}, "at least 1"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"name": "No Name"}, "pattern"),
    ],
)
def test_unusable_settings_are_named(change: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"name": "crm", "url": "https://crm.example/", "secret": {"env": "S"}}
    WebhookSettings.model_validate(good)
    with pytest.raises(ValidationError, match=said):
        WebhookSettings.model_validate(good | change)
    with pytest.raises(ValidationError, match="same name"):
        Settings(webhook=[good, good])  # type: ignore[list-item]


def test_a_webhook_without_a_secret_is_refused_at_the_start() -> None:
    settings = WebhookSettings(name="crm", url="https://crm.example/", secret=Secret())
    with pytest.raises(ConfigError, match="no secret to sign with"):
        WebhookSender(settings, SystemClock(), Metrics())
