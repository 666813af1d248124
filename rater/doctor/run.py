"""Every check of an installation, at once. One that fails stops no other; none waits without end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rater.catalog.snapshot import Snapshot
from rater.charging.connection import Address
from rater.charging.embedded import EmbeddedRedis
from rater.config import Settings, SwitchSettings, WebhookSettings
from rater.doctor.catalog import check_catalog, read_in_force
from rater.doctor.embedded import check_folder
from rater.doctor.findings import Examination, Finding, error, examine, not_checked, ok, warning
from rater.doctor.grants import check_grants
from rater.doctor.leaders import check_leader, is_led
from rater.doctor.machine import check_machine, check_metrics
from rater.doctor.mqtt import check_mqtt
from rater.doctor.network import reach
from rater.doctor.outbox import check_outbox
from rater.doctor.redis import check_redis, unreachable
from rater.doctor.redis_nodes import check_nodes
from rater.doctor.redis_probe import connect, probe
from rater.doctor.switch import check_switch
from rater.doctor.switch_probe import probe as probe_switch
from rater.errors import ConfigError
from rater.ids import SwitchId

DEADLINE_S = 30.0


class Doctor:
    """`redis_url`: the server of the settings, or the embedded one's socket. `listen_s`: how long each switch is
    listened to for events. `provoke`: have it send one; see `rater.doctor.switch_probe`."""

    def __init__(self, settings: Settings, redis_url: str, *, listen_s: float = 1.0, provoke: bool = False) -> None:
        self._settings = settings
        self._redis_url = redis_url
        self._listen_s = listen_s
        self._provoke = provoke

    async def examine(self) -> list[Finding]:
        settings = self._settings
        examinations = [
            Examination("machine", "", self._machine),
            *(self._switch_examination(switch) for switch in settings.switch),
            Examination("redis.reach", "", self._redis, DEADLINE_S),
            Examination("metrics.port", "", partial(check_metrics, settings)),
        ]
        if settings.mqtt.host is not None:
            examinations.append(Examination("mqtt.reach", "", partial(check_mqtt, settings.mqtt)))
        examinations += [
            Examination("webhook.reach", hook.name, partial(self._webhook, hook)) for hook in settings.webhook
        ]
        found = await examine(examinations)
        if not settings.switch:
            mend = "Add a [[switch]] to the settings: docs/configuration.md."
            found.append(error("switch.configured", "", "the settings have no switch", "one at least", mend))
        return found

    async def _machine(self) -> Sequence[Finding]:
        return await asyncio.to_thread(check_machine, self._settings)

    async def _webhook(self, hook: WebhookSettings) -> Sequence[Finding]:
        """Only that something listens: a request of ours would be a record to whoever receives it."""
        if hook.proxy is not None:
            return [not_checked("webhook.reach", hook.name, "it is reached through a proxy")]
        parts = urlsplit(hook.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return [await reach("webhook.reach", hook.name, parts.hostname or "", port, "its receiver")]

    # -- switches ------------------------------------------------------------------------------------------------

    def _switch_examination(self, switch: SwitchSettings) -> Examination:
        return Examination("switch.reach", switch.id, partial(self._switch, switch), DEADLINE_S + self._listen_s)

    async def _switch(self, switch: SwitchSettings) -> Sequence[Finding]:
        reached = await reach("switch.reach", switch.id, switch.host, switch.port, "Asterisk's manager")
        if reached.status != "ok":
            return [reached]
        try:
            secret = switch.secret.read()
        except ConfigError:
            why = "its secret cannot be read: see machine.secrets"
            return [reached, not_checked("switch.login", switch.id, why)]
        facts = await probe_switch(switch, secret, listen_s=self._listen_s, provoke=self._provoke)
        return [reached, *check_switch(facts, switch, led=await self._is_led(switch))]

    async def _is_led(self, switch: SwitchSettings) -> bool | None:
        client = self._client()
        if client is None:
            return None
        try:
            return await is_led(client, self._settings.redis.prefix, SwitchId(switch.id))
        except (RedisError, OSError):
            return None
        finally:
            await client.aclose()

    # -- Redis and what is in it ---------------------------------------------------------------------------------

    def _client(self) -> Redis | None:
        try:
            redis = self._settings.redis
            return connect(self._redis_url, redis.password.read() or None, cluster=redis.cluster)
        except (ConfigError, ValueError):
            return None

    async def _redis(self) -> Sequence[Finding]:
        settings = self._settings.redis
        found = list(await asyncio.to_thread(check_folder, settings.data_dir)) if settings.url is None else []
        if settings.url is None and not EmbeddedRedis(settings.data_dir).socket.exists():
            mend = "Start rater serve, which runs it."
            return [*found, warning("redis.reach", "", "the embedded server does not run", "it answers", mend)]
        try:
            address = Address.from_url(self._redis_url, settings.password.read() or None)
        except ConfigError:
            return [*found, not_checked("redis.reach", "", "its password cannot be read: see machine.secrets")]
        except (ValueError, OSError) as problem:
            mend = "Write redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH; see docs/configuration.md."
            return [*found, error("redis.reach", "", f"[redis] url is unusable: {problem}", "an address", mend)]
        if not address.socket:
            reached = await reach("redis.reach", "", address.host, address.port, "Redis")
            found.append(reached)
            if reached.status != "ok":
                return found
        client = self._client()
        assert client is not None
        try:
            return [*found, *await self._within_redis(client, address)]
        finally:
            await client.aclose()

    async def _within_redis(self, client: Redis, address: Address) -> Sequence[Finding]:
        settings = self._settings
        facts = await probe(client, settings.redis.prefix)
        if facts.failed:
            return unreachable(facts)
        host = "" if address.socket else address.host
        found = [ok("redis.login", "", f"as {facts.user or 'a user that may not ask for its name'}")]
        found += check_redis(facts, settings.redis, host, tls=address.tls is not None)
        if settings.redis.cluster:
            found += await check_nodes(client, self._redis_url, settings.redis.password.read() or None)
        prefix, shards = settings.redis.prefix, settings.redis.shards
        reading = asyncio.ensure_future(read_in_force(client, prefix))
        try:
            found += await examine(
                [
                    Examination("catalog.published", "", partial(self._catalogue, reading)),
                    Examination("grants.hours", "", partial(self._grants, client, reading), DEADLINE_S),
                    *(
                        Examination(
                            "leader.present",
                            each.id,
                            partial(check_leader, client, prefix, shards, SwitchId(each.id)),
                        )
                        for each in settings.switch
                    ),
                    Examination("outbox.backlog", "", partial(check_outbox, client, settings)),
                ]
            )
        finally:
            reading.cancel()
        return found

    async def _catalogue(self, reading: asyncio.Future[Snapshot | Finding]) -> Sequence[Finding]:
        """`reading`: of one for all who look at it; whoever gives up waiting does not end it for the others."""
        read = await asyncio.shield(reading)
        return [read] if isinstance(read, Finding) else check_catalog(read, self._settings.switch)

    async def _grants(self, client: Redis, reading: asyncio.Future[Snapshot | Finding]) -> Sequence[Finding]:
        read = await asyncio.shield(reading)
        if isinstance(read, Finding):
            return [not_checked("grants.hours", "", "there is no catalogue to compare them with")]
        redis = self._settings.redis
        return await check_grants(client, redis.prefix, redis.shards, read)
