"""Deliveries to an HTTP endpoint of the operator's: POST of JSON, signed.

What the receiver can rely on, and how it checks a signature, is docs/notifications.md. What its answers mean here:

    2xx                               delivered
    408 425 429 502 503 504, no connection
                                      away: everything waits in the outbox, for as long as it takes
    other 5xx, no answer in time      tried again, a record at a time; after `ATTEMPTS` set aside as a dead letter
    3xx                               a fault of the settings, treated as away: a redirect is never followed
    other 4xx                         this record is refused for good: a dead letter

One endpoint serves all shards, so the pause after a failure is the endpoint's, not a shard's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import ssl
import time
from collections import OrderedDict
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from urllib.parse import quote

import aiohttp
import structlog

from rater.clock import Clock
from rater.config import WebhookSettings
from rater.errors import ConfigError
from rater.events.exporters import kind_of
from rater.events.notices import PublicRecord
from rater.metrics import Metrics, version_text
from rater.notify.senders import Item, ItemRefused, SinkDown

ATTEMPTS = 12
"""Of one record that the endpoint itself fails on; with the pauses between them some ten to twenty minutes."""
RETRY_MIN_S, RETRY_MAX_S = 1.0, 300.0
RETRY_AFTER_MAX_S = 3600.0
RESPONSE_MAX = 16_384
"""Bytes read of an answer; only its beginning is of use, in the log."""
TRIED_KEPT = 10_000
_AWAY = frozenset({408, 425, 429, 502, 503, 504})
log = structlog.get_logger(__name__)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What stands behind ``v1=`` in the header: HMAC-SHA256 over ``<timestamp>.<body>``, in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class _Failed(Exception):
    """The endpoint answered that it failed, or did not answer in time: perhaps because of what it was sent."""


class _Refused(Exception):
    """The endpoint will not take what it was sent."""


class WebhookSender:
    """One endpoint. Its consumer group is ``webhook:<name>``."""

    def __init__(self, settings: WebhookSettings, clock: Clock, metrics: Metrics) -> None:
        self.name = f"webhook:{settings.name}"
        self.batch = settings.batch if settings.batch > 1 else 20
        self._settings = settings
        self._secrets = [secret.read() for secret in (settings.secret, settings.previous_secret)]
        if not self._secrets[0]:
            raise ConfigError(
                f"the webhook {settings.name!r} has no secret to sign with",
                hint="Set secret = { file = '…' } or { env = '…' } in its [[webhook]].",
            )
        self._clock = clock
        self._metrics = metrics
        self._tls = _tls(settings)
        self._session: aiohttp.ClientSession | None = None
        self._up = asyncio.Event()
        self._failures = 0
        self._resume_s = 0.0
        self._tried: OrderedDict[str, int] = OrderedDict()

    # -- the sender's protocol -----------------------------------------------------------------------------------

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s, sock_connect=self._settings.timeout_s * 0.8)
        # One request a shard at a time; a connection that idles is closed before a proxy in between does so unseen.
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=16, keepalive_timeout=15)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            self._session = session
            self._metrics.sink_up(self.name, True)
            self._up.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._up.clear()
                self._session = None

    async def wait_up(self) -> None:
        await self._up.wait()
        while self.pause_s > 0:  # noqa: ASYNC110  # another shard may lengthen it meanwhile
            await asyncio.sleep(self.pause_s)

    @property
    def pause_s(self) -> float:
        """How long until deliveries are tried again."""
        return max(0.0, self._resume_s - time.monotonic())

    def wants(self, record: PublicRecord) -> bool:
        settings = self._settings
        if kind_of(record).value not in settings.kinds:
            return False
        return not settings.accounts or any(fnmatchcase(record.account, each) for each in settings.accounts)

    async def deliver(self, items: Sequence[Item]) -> None:
        size = self._settings.batch
        delivered: list[Item] = []
        for start in range(0, len(items), size):
            chunk = items[start : start + size]
            if len(chunk) > 1 and not any(item.record.id in self._tried for item in chunk):
                await self._deliver_together(chunk, delivered)
            else:
                for item in chunk:
                    await self._deliver_one(item, delivered)

    # -- one request ---------------------------------------------------------------------------------------------

    async def _deliver_together(self, chunk: Sequence[Item], delivered: list[Item]) -> None:
        try:
            await self._post(chunk, delivered)
        except (_Failed, _Refused):
            for item in chunk:  # one of them is to blame; alone, it shows which
                await self._deliver_one(item, delivered)
        else:
            delivered += chunk

    async def _deliver_one(self, item: Item, delivered: list[Item]) -> None:
        key = item.record.id
        try:
            await self._post([item], delivered)
        except _Refused as error:
            self._tried.pop(key, None)
            raise ItemRefused(str(error), item, delivered=delivered) from error
        except _Failed as error:
            attempts = self._tried[key] = self._tried.pop(key, 0) + 1
            while len(self._tried) > TRIED_KEPT:
                self._tried.popitem(last=False)
            if attempts >= ATTEMPTS:
                del self._tried[key]
                raise ItemRefused(f"{error}, {attempts} times", item, delivered=delivered) from error
            raise self._down(str(error), delivered) from error
        self._tried.pop(key, None)
        delivered.append(item)

    async def _post(self, chunk: Sequence[Item], delivered: Sequence[Item]) -> None:
        """Raises SinkDown, _Failed, _Refused."""
        if self._session is None:
            raise SinkDown("the webhook's client is not running", delivered=delivered)
        body = _body(chunk, together=self._settings.batch > 1)
        try:
            async with self._session.post(
                self._settings.url,
                data=body,
                headers=self._headers(chunk, body),
                allow_redirects=False,
                proxy=self._settings.proxy,
            ) as response:
                status, headers, text = response.status, response.headers, await _beginning(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._down(f"cannot connect: {error}", delivered) from error
        except TimeoutError as error:
            raise _Failed(f"no answer within {self._settings.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._down(f"the request broke off: {error!r}", delivered) from error
        self._judge(status, headers.get("Retry-After", ""), headers.get("Location", ""), text, delivered)

    def _judge(self, status: int, retry_after: str, location: str, text: bytes, delivered: Sequence[Item]) -> None:
        if 200 <= status < 300:
            if self._failures:
                log.info("the webhook takes deliveries again", sink=self.name)
            self._failures, self._resume_s = 0, 0.0
            self._metrics.sink_up(self.name, True)
            return
        said = " ".join(text[:200].decode("utf-8", "replace").split())
        answer = f"the endpoint answered {status}" + (f": {said}" if said else "")
        if status in _AWAY:
            raise self._down(answer, delivered, retry_after_s=retry_after_s(retry_after, self._clock.wall_ms()))
        if status >= 500:
            raise _Failed(answer)
        if status < 400:
            hint = f"Redirects are not followed. Set url to {location}, if that is yours." if location else ""
            raise self._down(answer, delivered, hint=hint)
        raise _Refused(answer)

    def _headers(self, chunk: Sequence[Item], body: bytes) -> dict[str, str]:
        timestamp = str(self._clock.wall_ms() // 1000)
        signed = [f"v1={signature(secret, timestamp, body)}" for secret in self._secrets if secret]
        return {
            "Content-Type": "application/json",
            "User-Agent": f"rater/{version_text()}",
            "Idempotency-Key": idempotency_key(chunk),
            "Rater-Timestamp": timestamp,
            "Rater-Signature": ",".join(signed),
        }

    def _down(
        self, why: str, delivered: Sequence[Item], *, retry_after_s: float | None = None, hint: str = ""
    ) -> SinkDown:
        """Pause the endpoint, longer with each failure in a row, and by chance more or less, so that many senders
        do not come back at once; never shorter than it asked for."""
        self._failures += 1
        pause_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._failures - 1, 16)) * random.uniform(0.5, 1.0)
        if retry_after_s is not None:
            pause_s = max(pause_s, min(retry_after_s, RETRY_AFTER_MAX_S))
        self._resume_s = max(self._resume_s, time.monotonic() + pause_s)
        self._metrics.sink_up(self.name, False)
        return SinkDown(why, delivered=delivered, hint=hint)


def idempotency_key(chunk: Sequence[Item]) -> str:
    """A record's id; of several, a digest of theirs: the same records make the same key."""
    ids = [item.record.id for item in chunk]
    if len(ids) == 1:
        return quote(ids[0], safe=":.@/-_")
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def retry_after_s(header: str, now_ms: int) -> float | None:
    """How long a Retry-After header asks to wait, in either of its forms; None when it says nothing usable."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        moment = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - now_ms / 1000)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """As much of the answer as is wanted. Of a longer one the rest is not read: the connection is given up."""
    text = b""
    while len(text) < RESPONSE_MAX and (part := await response.content.read(RESPONSE_MAX - len(text))):
        text += part
    if len(text) >= RESPONSE_MAX:
        response.close()
    return text


def _body(chunk: Sequence[Item], *, together: bool) -> bytes:
    if not together:
        return chunk[0].record.to_json().encode()
    records = ",".join(item.record.to_json() for item in chunk)
    return f'{{"schema":{json.dumps("rater.batch/1")},"records":[{records}]}}'.encode()


def _tls(settings: WebhookSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot use the authority file {settings.tls_ca}: {error}", hint="It must hold PEM certificates."
        ) from error
