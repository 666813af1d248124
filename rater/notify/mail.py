"""Mail about crossed thresholds, to the addresses that the catalogue gives an account.

A record goes from the outbox into the boxes of its account's addresses (`rater.notify.mail_box`); a box that is due
becomes one mail. What the server's answers mean:

    taken                                       sent
    5xx for the address or the message          refused for good: dead letters
    4xx for them                                tried again, later and later, for `give_up_hours`; then dead letters
    no connection, no TLS, login or sender      the server is away, or a fault of the settings: everything waits
    refused

Killed between the server's answer and its note of it, a mail is sent again, with the same Message-ID.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

import aiosmtplib
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rater.catalog.publish import watch
from rater.catalog.snapshot import Snapshot
from rater.clock import Clock
from rater.config import SmtpSettings
from rater.errors import ConfigError
from rater.events.notices import PublicRecord, ThresholdRecord, record_of
from rater.events.stream import decode_entry
from rater.metrics import Metrics
from rater.notify.mail_box import Box, MailBoxes
from rater.notify.mail_text import LANGUAGES, Contact, Texts
from rater.notify.senders import Item
from rater.tasks import end

ROUND_S = 1.0
AT_ONCE = 20
"""Mails over one connection, shard by shard."""
RETRY_MIN_S, RETRY_MAX_S = 60.0, 3600.0
SERVER_RETRY_MIN_S, SERVER_RETRY_MAX_S = 2.0, 300.0
log = structlog.get_logger(__name__)


class _ServerDown(Exception):
    pass


class MailSender:
    """Its consumer group is ``mail``. A record is delivered, for the outbox, when it is in its boxes."""

    name = "mail"
    batch = 100

    def __init__(
        self, settings: SmtpSettings, redis: Redis, clock: Clock, metrics: Metrics, *, prefix: str, shards: int
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._prefix = prefix
        self._password = settings.password.read()
        self._tls = _tls(settings)
        self._clock = clock
        self._metrics = metrics
        self._texts = {language: Texts(language, settings.templates) for language in LANGUAGES}
        self._boxes = [MailBoxes(redis, prefix=prefix, shard=s, group=self.name) for s in range(shards)]
        self._contacts: dict[str, Contact] = {}
        self._known = asyncio.Event()

    # -- the sender's protocol -----------------------------------------------------------------------------------

    async def run(self) -> None:
        tasks = [asyncio.create_task(self._follow_catalog()), asyncio.create_task(self._send_on())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            await end(tasks)

    async def wait_up(self) -> None:
        """Records wait in the outbox until it is known whom to tell. A mail server that is away keeps nothing up:
        records wait in boxes then."""
        await self._known.wait()

    def wants(self, record: PublicRecord) -> bool:
        return isinstance(record, ThresholdRecord)

    async def deliver(self, items: Sequence[Item]) -> None:
        due_ms = self._clock.wall_ms() + round(self._settings.gather_s * 1000)
        for item in items:
            contact = self._contacts.get(item.record.account)
            for address in contact.addresses if contact is not None else ():
                boxes = self._boxes[item.entry.shard]
                await boxes.put(address, item.record.account, item.record.id, item.entry, due_ms=due_ms)

    async def _follow_catalog(self) -> None:
        async for snapshot in watch(self._redis, self._prefix, poll_s=ROUND_S):
            self._contacts = contacts_of(snapshot, self._settings.language)
            self._known.set()

    # -- sending -------------------------------------------------------------------------------------------------

    async def _send_on(self) -> None:
        """Round after round; while the server is away with growing pauses."""
        failures = 0
        await self._known.wait()  # else every address would look like one that was taken away
        while True:
            try:
                if await self._round():
                    failures = 0
                    self._metrics.sink_up(self.name, True)
            except _ServerDown as error:
                failures += 1
                pause_s = min(SERVER_RETRY_MAX_S, SERVER_RETRY_MIN_S * 2 ** min(failures - 1, 10))
                self._metrics.sink_up(self.name, False)
                self._metrics.publish_failed(self.name)
                log.warning("the mail server does not take mail", error=str(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
            except (RedisError, OSError) as error:
                log.warning("redis does not serve the mails", error=str(error))
            await asyncio.sleep(ROUND_S)

    async def _round(self) -> bool:
        """Send what is due; whether anything was. The first round connects in any case, to show that it can."""
        now_ms = self._clock.wall_ms()
        due = [(boxes, await boxes.due(now_ms, AT_ONCE)) for boxes in self._boxes]
        if not any(names for _, names in due) and self._metrics.is_sink_up(self.name):
            return False
        client = self._client()
        try:
            await client.connect()
            if self._settings.user is not None:
                await client.login(self._settings.user, self._password)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            client.close()
            raise _ServerDown(f"{type(error).__name__}: {error}") from error
        try:
            for boxes, names in due:
                for name in names:
                    box = await boxes.take(name, self._clock.wall_ms())
                    if box is not None:
                        await self._send(client, boxes, box)
        except BaseException:  # also when the process is to stop: no farewell, which may take its time
            client.close()
            raise
        await _quit(client)
        return True

    async def _send(self, client: aiosmtplib.SMTP, boxes: MailBoxes, box: Box) -> None:
        now_ms = self._clock.wall_ms()
        contact = self._contacts.get(box.account)
        if contact is None or box.address not in contact.addresses:
            log.info("the address is no longer the account's; its mail is dropped", account=box.account)
            await boxes.sent(box, not_before_ms=now_ms)
            return
        message = self._message(box, contact)
        try:
            await client.send_message(message, sender=parseaddr(self._settings.sender)[1], recipients=[box.address])
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            await self._refused(boxes, box, refusal.code, refusal.message)
        except aiosmtplib.SMTPDataError as error:
            await self._refused(boxes, box, error.code, error.message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            # Later, and others before it: should it be this mail that the server cannot bear, it holds up none.
            await boxes.again(box, at_ms=now_ms + round(RETRY_MIN_S * 1000))
            raise _ServerDown(f"{type(error).__name__}: {error}") from error
        else:
            await boxes.sent(box, not_before_ms=now_ms + 3_600_000 // self._settings.per_hour)

    async def _refused(self, boxes: MailBoxes, box: Box, code: int, said: str) -> None:
        now_ms = self._clock.wall_ms()
        reason = f"the mail server answered {code} for {box.address}: {' '.join(said.split())[:200]}"
        given_up = now_ms - box.oldest_ms > self._settings.give_up_hours * 3_600_000
        if code < 500 and not given_up:
            pause_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(box.tries, 10)) * random.uniform(0.8, 1.2)
            await boxes.again(box, at_ms=now_ms + round(pause_s * 1000))
            return
        await boxes.bury(box, reason, now_ms=now_ms)
        log.error("mail set aside", account=box.account, records=len(box.waiting), code=code)
        for _ in box.waiting:
            self._metrics.dead_letter(box.shard)

    def _client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port_or_default,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=self._tls if settings.security != "none" else None,
            timeout=settings.timeout_s,
        )

    def _message(self, box: Box, contact: Contact) -> EmailMessage:
        made = [record_of(decode_entry(box.shard, each.entry.encode(), each.raw)) for each in box.waiting]
        records = [record for record in made if isinstance(record, ThresholdRecord)]
        texts = self._texts[contact.language]
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = box.address
        message["Subject"] = " ".join(texts.subject(contact, records, box.omitted).split())
        message["Date"] = formatdate(self._clock.wall_ms() / 1000, localtime=False)
        message["Message-ID"] = message_id([each.id for each in box.waiting], box.address, self._settings.sender)
        message["Auto-Submitted"] = "auto-generated"
        if self._settings.reply_to is not None:
            message["Reply-To"] = self._settings.reply_to
        message.set_content(texts.body(contact, records, box.omitted))
        message["Content-Language"] = contact.language.replace("_", "-")  # setting the content clears such headers
        return message


def contacts_of(snapshot: Snapshot, language: str) -> dict[str, Contact]:
    """Whom the catalogue says to tell; accounts without addresses are left out."""
    contacts = {}
    for account in snapshot.accounts.values():
        if account.notify.email:
            plan = snapshot.plans[account.plan].plan
            contacts[str(account.id)] = Contact(
                account.id, account.name or account.id, account.notify.email, account.notify.language or language,
                plan.currency, plan.zone,
            )  # fmt: skip
    return contacts


def message_id(records: Sequence[str], address: str, sender: str) -> str:
    """The same for the same records to the same address, so that a repeat can be told."""
    digest = hashlib.sha256("\n".join([address, *records]).encode()).hexdigest()[:40]
    return f"<{digest}@{parseaddr(sender)[1].rpartition('@')[2]}>"


async def _quit(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        client.close()


def _tls(settings: SmtpSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot use the authority file {settings.tls_ca}: {error}", hint="It must hold PEM certificates."
        ) from error
