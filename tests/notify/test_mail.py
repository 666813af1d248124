"""Mail about thresholds: a publisher in its own process, a real SMTP server, a real Redis and catalogue."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from catalog.support import FILES, write
from events.support import CENT, T0, Desk, free_port, leg_facts, until
from pydantic import ValidationError

from rater.catalog.files import read_catalog
from rater.catalog.publish import publish
from rater.charging.embedded import EmbeddedRedis
from rater.charging.terms import Terms, Threshold, ThresholdKind
from rater.config import Secret, Settings, SmtpSettings
from rater.errors import CatalogError, ConfigError
from rater.events.dead import DeadLetters
from rater.events.notices import ThresholdRecord
from rater.money import format_amount
from rater.notify.mail_text import LANGUAGES, Contact, Texts

from .support import Publisher, settings_for

Start = Callable[[Settings], Publisher]
OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]
MONEY = Terms(thresholds=(Threshold("low", ThresholdKind.MONEY_BELOW, 100 * CENT),), currency="EUR")


@dataclass
class MailServer:
    """Takes mail as a test wants it. `refuse`: address → answer; `messages` are those taken, in order."""

    port: int = field(default_factory=free_port)
    messages: list[EmailMessage] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    hold: float = 0.0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        self.tried.append(address)
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        assert [message["To"]] == envelope.rcpt_tos
        self.messages.append(message)
        await asyncio.sleep(self.hold)
        return "250 taken"

    def to(self, address: str) -> list[EmailMessage]:
        return [each for each in self.messages if each["To"] == address]


@asynccontextmanager
async def serving(server: MailServer | None = None, **options: Any) -> AsyncIterator[MailServer]:
    server = server or MailServer()
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    await asyncio.to_thread(controller.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(controller.stop)


def smtp(server: MailServer, **options: Any) -> SmtpSettings:
    given: dict[str, Any] = {
        "host": "127.0.0.1", "port": server.port, "security": "none", "gather_s": 0.2, "per_hour": 3600,
        "from": "Télécom <no-reply@example.com>",
    }  # fmt: skip
    return SmtpSettings(**(given | options))


def write_accounts(folder: Path, accounts: str) -> None:
    write(folder, {name: FILES[name] for name in FILES if name.startswith(("plans", "decks"))})
    (folder / "accounts.toml").write_text(accounts)


async def load(desk: Desk, folder: Path, accounts: dict[str, str]) -> None:
    """A catalogue with these accounts, each with its `notify` table, published."""
    lines = [
        f'[account.{name}]\nname = "{name.title()} & fils"\nplan = "basic"\nmodality = "prepaid"\n{notify}\n'
        for name, notify in accounts.items()
    ]
    write_accounts(folder, "\n".join(lines))
    store = desk.store
    await publish(store.redis, store, read_catalog(folder), prefix=store.prefix, shards=1, now_ms=T0)


async def cross(desk: Desk, account: str, times: int = 1) -> None:
    """So many crossings: under the threshold with a call, over it with a credit."""
    for _ in range(times):
        cross.count += 1  # type: ignore[attr-defined]
        await desk.credit(105 * CENT, account=account)
        await desk.call(10, leg_facts(f"leg-{account}-{cross.count}", account=account), terms=MONEY)  # type: ignore[attr-defined]
        state = await desk.store.account(desk.shard, account)  # type: ignore[arg-type]
        assert state is not None
        await desk.call(
            state.balance_micro // CENT,
            leg_facts(f"rest-{account}-{cross.count}", account=account),  # type: ignore[attr-defined]
        )


cross.count = 0  # type: ignore[attr-defined]


def test_a_crossing_is_told_to_each_address_in_the_accounts_language(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, serving() as mail:
            await load(desk, tmp_path / "c", {
                "acme": 'notify = { email = ["a@acme.example", "b@acme.example"], language = "fr" }',
                "beta": 'notify = { email = ["x@beta.example"] }', "quiet": "",
            })  # fmt: skip
            publisher(settings_for(server.url, prefix, smtp=smtp(mail, language="pt_BR")))
            for account in ("acme", "beta", "quiet"):
                await cross(desk, account)
            await until(lambda: len(mail.messages) == 3)
            french, portuguese = mail.to("a@acme.example")[0], mail.to("x@beta.example")[0]
            assert french["Subject"] == "Acme & fils : solde inférieur à 1,00 €"
            assert "le solde est passé sous 1,00\xa0€ ; il est maintenant de 0,95\xa0€." in french.get_content()
            assert str(french["From"]) == "Télécom <no-reply@example.com>"
            assert french["Content-Language"] == "fr"
            assert french["Auto-Submitted"] == "auto-generated"
            assert "o saldo ficou abaixo de €\xa01,00; agora é de €\xa00,95." in portuguese.get_content()
            assert len({each["Message-ID"] for each in mail.messages}) == 3

    asyncio.run(run())


def test_a_flood_becomes_a_few_mails_and_nobody_else_waits_for_it(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, serving() as mail:
            await load(desk, tmp_path / "c", {
                "acme": 'notify = { email = ["a@acme.example"] }',
                "beta": 'notify = { email = ["x@beta.example"] }',
            })  # fmt: skip
            await cross(desk, "acme", 260)
            publisher(settings_for(server.url, prefix, smtp=smtp(mail, gather_s=2.0, per_hour=6)))
            await until(lambda: len(mail.messages) == 1)
            (digest,) = mail.messages
            assert digest["Subject"] == "Acme & fils: 260 notifications"
            lines = digest.get_content().splitlines()
            assert "… and 210 more." in lines
            assert sum(line.startswith("- ") for line in lines) == 50
            await cross(desk, "acme", 3)
            await cross(desk, "beta")
            await until(lambda: len(mail.messages) == 2)
            assert mail.messages[1]["To"] == "x@beta.example"
            redis = desk.store.redis
            (held,) = [key async for key in redis.scan_iter(f"{prefix}:{{0}}:mail:box:*")]
            assert await redis.hlen(held) == 3, "they wait for the next hour's share"

    asyncio.run(run())


def test_an_address_refused_for_good_becomes_a_dead_letter_and_others_get_theirs(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, serving() as mail:
            mail.refuse["gone@acme.example"] = "550 5.1.1 no such user"
            mail.refuse["full@acme.example"] = "452 4.2.2 mailbox full"
            addresses = '"gone@acme.example", "full@acme.example", "good@acme.example"'
            await load(desk, tmp_path / "c", {"acme": f"notify = {{ email = [{addresses}] }}"})
            publisher(settings_for(server.url, prefix, smtp=smtp(mail)))
            await cross(desk, "acme")
            await until(lambda: len(mail.messages) == 1 and len(mail.tried) == 3)
            letters = DeadLetters(desk.store.redis, prefix=prefix, shards=1)

            async def set_aside() -> bool:
                return [letter.reason async for letter in letters.each()] != []

            await until(set_aside)
            (letter,) = [letter async for letter in letters.each()]
            assert letter.group == "mail"
            assert letter.reason == "the mail server answered 550 for gone@acme.example: 5.1.1 no such user"
            assert (letter.kind, letter.account) == ("threshold", "acme")
            names = [key.decode() async for key in desk.store.redis.scan_iter(f"{prefix}:{{0}}:mail:box:*")]
            assert names == [f"{prefix}:{{0}}:mail:box:full@acme.example acme"], "it is tried again later"
            mail.refuse.clear()
            assert await letters.retry(letter)
            await until(lambda: len(mail.to("gone@acme.example")) == 1)
            assert mail.to("gone@acme.example")[0].get_content() == mail.to("good@acme.example")[0].get_content()

    asyncio.run(run())


def test_a_server_that_is_away_loses_nothing_and_holds_up_nobody(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk:
            absent = MailServer()
            await load(desk, tmp_path / "c", {"acme": 'notify = { email = ["a@acme.example"] }'})
            process = publisher(settings_for(server.url, prefix, files=tmp_path / "files", smtp=smtp(absent)))
            await cross(desk, "acme", 2)
            await until(lambda: "the mail server does not take mail" in process.log.read_text())
            await until(lambda: any((tmp_path / "files").glob("*.jsonl")))
            process.kill()
            async with serving(absent) as mail:
                publisher(settings_for(server.url, prefix, files=tmp_path / "files", smtp=smtp(absent)))
                await until(lambda: len(mail.messages) == 1, within_s=40)
                assert mail.messages[0]["Subject"] == "Acme & fils: 2 notifications"

    asyncio.run(run())


def test_killed_between_the_servers_answer_and_its_note_it_sends_again_under_the_same_id(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_desk() as desk, serving() as mail:
            mail.hold = 5.0
            await load(desk, tmp_path / "c", {"acme": 'notify = { email = ["a@acme.example"] }'})
            process = publisher(settings_for(server.url, prefix, smtp=smtp(mail)))
            await cross(desk, "acme")
            await until(lambda: len(mail.messages) == 1)
            process.kill()
            mail.hold = 0.0
            due = f"{prefix}:{{0}}:mail:due"
            ((name, score),) = await desk.store.redis.zrange(due, 0, -1, withscores=True)
            assert score > 0
            await desk.store.redis.zadd(due, {name: 0})  # the lease of the dead one is over
            publisher(settings_for(server.url, prefix, smtp=smtp(mail)))
            await until(lambda: len(mail.messages) == 2)
            first, second = mail.messages
            assert first["Message-ID"] == second["Message-ID"]
            assert first.get_content() == second.get_content()

            async def emptied() -> bool:
                return not [key async for key in desk.store.redis.scan_iter(f"{prefix}:{{0}}:mail:box:*")]

            await until(emptied)
            assert len(mail.messages) == 2

    asyncio.run(run())


def test_login_over_a_checked_certificate(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    (tmp_path / "word").write_text("s3cret")
    (tmp_path / "word").chmod(0o600)
    seen: list[Any] = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret")

    async def run() -> None:
        options = {"tls_context": context, "require_starttls": True, "auth_required": True,
                   "authenticator": authenticate}  # fmt: skip
        async with open_desk() as desk, serving(**options) as mail:
            await load(desk, tmp_path / "c", {"acme": 'notify = { email = ["a@acme.example"] }'})
            safe = {"host": "localhost", "security": "starttls", "user": "rater",
                    "password": Secret(file=tmp_path / "word")}  # fmt: skip
            untrusting = publisher(settings_for(server.url, prefix, smtp=smtp(mail, **safe)))
            await cross(desk, "acme")
            await until(lambda: "CERTIFICATE_VERIFY_FAILED" in untrusting.log.read_text())
            assert not seen
            untrusting.kill()
            publisher(settings_for(server.url, prefix, smtp=smtp(mail, **safe, tls_ca=tmp_path / "ca.pem")))
            await until(lambda: len(mail.messages) == 1)
            assert seen[-1] == (b"rater", b"s3cret")

    asyncio.run(run())


# -- texts, settings, catalogue ----------------------------------------------------------------------------------


def crossing(kind: str = "money_below", **changes: Any) -> ThresholdRecord:
    raw = {"value_raw": 5 * 10**6, "before_raw": 5_100_000, "after_raw": 4_800_000} | changes
    texts = {name.removesuffix("_raw"): format_amount(value) for name, value in raw.items()}
    return ThresholdRecord.model_construct(
        id="op:low", account="acme", threshold="low", kind=kind, grant="local" if kind != "money_below" else None,
        at="2026-11-25T17:05:00.000Z", **raw, **texts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("language", "money", "percent"),
    [
        ("en", "fell below R$5.00; it is now R$4.80.", "80% of the allowance local is used (1:20:05)."),
        ("fr", "est passé sous 5,00\xa0R$ ; il est maintenant de 4,80\xa0R$.",
         "80\xa0% du forfait local sont utilisés (1:20:05)."),
        ("pt_BR", "ficou abaixo de R$\xa05,00; agora é de R$\xa04,80.",
         "80% da franquia local foram utilizados (1:20:05)."),
        ("tr", "bakiye R$5,00 tutarının altına düştü; şu anda R$4,80.",
         "local paketinin kullanılan bölümü: %80 (1:20:05)."),
    ],
)  # fmt: skip
def test_amounts_and_percentages_read_as_in_the_language(language: str, money: str, percent: str) -> None:
    texts = Texts(language)
    contact = Contact("acme", "ACME", ("a@b.c",), language, "BRL", "America/Sao_Paulo")
    body = texts.body(contact, [crossing(), crossing("allowance_percent", value_raw=80, after_raw=4805)], 0)
    assert money in body
    assert percent in body
    assert "14:05" in body or "2:05" in body, "the time is the account's"
    assert "low" in texts.body(contact, [crossing("of_a_later_release")], 0)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["money_above", "spend_hour", "spend_day", "spend_cycle"])
def test_rises_and_spending_are_told_with_amounts_in_every_language(language: str, kind: str) -> None:
    contact = Contact("acme", "ACME", ("a@b.c",), language, "EUR", "Europe/Paris")
    reached = crossing(kind, before_raw=4_800_000, after_raw=6_250_000)
    body, subject = Texts(language).body(contact, [reached], 0), Texts(language).subject(contact, [reached], 0)
    for amount in ("5.00", "6.25"):
        assert (amount if language == "en" else amount.replace(".", ",")) in body
    assert "5" in subject
    assert "low" not in body, "it has a text of its own"


def test_texts_of_the_operators_own_from_before_stay_in_use(tmp_path: Path) -> None:
    own = (Path(__file__).parents[2] / "rater/notify/mail/en.toml").read_text()
    kept = [part for part in own.split("\n[") if not part.startswith(("money_above]", "spend_"))]
    (tmp_path / "en.toml").write_text("\n[".join(kept))
    contact = Contact("acme", "ACME", ("a@b.c",), "en", "EUR", "Europe/Paris")
    assert "the threshold low was crossed (before: €5.10, now: €4.80)" in Texts("en", tmp_path).body(
        contact, [crossing("spend_day")], 0
    )


def test_every_language_has_every_text() -> None:
    assert set(LANGUAGES) == {path.stem for path in (Path(__file__).parents[2] / "rater/notify/mail").glob("*")}
    for language in LANGUAGES:
        Texts(language)


@pytest.mark.parametrize(
    ("change", "said"),
    [('subject = "$balance"', "cannot be filled in"), ('greeting = "100 $"', "cannot be filled in"),
     ("closing = 5", "'closing' is missing"), ("nonsense", "cannot read")],
)  # fmt: skip
def test_texts_of_the_operators_own_are_checked(tmp_path: Path, change: str, said: str) -> None:
    own = (Path(__file__).parents[2] / "rater/notify/mail/en.toml").read_text()
    key = change.split(" ")[0]
    lines = [change if line.startswith(f"{key} =") else line for line in own.splitlines()]
    (tmp_path / "en.toml").write_text("\n".join([*lines, "" if key in tomllib.loads(own) else change]))
    with pytest.raises(ConfigError, match=said):
        Texts("en", tmp_path)
    assert Texts("fr", tmp_path).language == "fr", "a language without a file of its own keeps ours"


@pytest.mark.parametrize(
    ("change", "said"),
    [({"from": ""}, "from is missing"), ({"from": "nobody"}, "no address"),
     ({"host": "mail.example", "security": "none"}, "this machine only"), ({"per_hour": 0}, "greater than")],
)  # fmt: skip
def test_unusable_settings_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        smtp(MailServer(), **change)


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ('{ email = ["nobody"] }', '"nobody" cannot stand here'),
        ('{ email = ["a@b.example\\r\\nBcc: x@y.z"] }', "cannot stand here"),
        ('{ email = ["a@b.example", "a@b.example"] }', "stands here twice"),
        ('{ email = ["a@b.example"], language = "de" }', '"de" cannot stand here'),
        ('{ mail = ["a@b.example"] }', "unknown key 'mail'"),
        ("{ email = [" + ", ".join(f'"a{n}@b.example"' for n in range(11)) + "] }", "there are 11 addresses"),
    ],
)
def test_a_wrong_address_is_named_with_its_place(tmp_path: Path, notify: str, said: str) -> None:
    account = f'[account.acme]\nplan = "basic"\nmodality = "prepaid"\nnotify = {notify}\n'
    write_accounts(tmp_path / "c", account)
    with pytest.raises(CatalogError) as error:
        read_catalog(tmp_path / "c")
    assert said in str(error.value)
    assert "accounts.toml:4:" in str(error.value)
