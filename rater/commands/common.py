"""What the commands share: the options that all have, how they reach Redis, and how they print."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rater.config import RedisSettings, Settings, load_settings
from rater.errors import InputError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from rater.charging.redis_store import RedisStore

DEFAULT_CONFIG = Path("config/rater.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; config/rater.toml when it exists.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

FromOption = Annotated[
    str, typer.Option("--from", help="From this moment, ISO 8601 (without a zone: UTC).", show_default=False)
]
ToOption = Annotated[str, typer.Option("--to", help="Up to this moment, not including it.", show_default=False)]

console = Console()
errors = Console(stderr=True)


def config_path(given: Path | None) -> Path | None:
    """The settings file to read: the one named, else the default when it is there."""
    if given is not None:
        return given
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def settings_of(given: Path | None) -> Settings:
    """The settings that a command runs under. Raises ConfigError."""
    return load_settings(config_path(given))


def redis_url(redis: RedisSettings) -> str:
    """The server named in the settings, else the embedded one's socket, which a running daemon serves."""
    return redis.url or f"unix://{embedded_socket(redis)}"


def embedded_socket(redis: RedisSettings) -> Path:
    """Where the embedded server listens. Sockets have short names (108 bytes), so it stands in the data folder."""
    return redis.data_dir / "redis.sock"


def period_ms(start: str, end: str) -> tuple[int, int]:
    """The span between ``--from`` and ``--to``. Raises InputError."""
    since_ms, until_ms = _moment_ms("--from", start), _moment_ms("--to", end)
    if until_ms <= since_ms:
        raise InputError(f"--to {end} is not after --from {start}", hint="Give a span of time.")
    return since_ms, until_ms


def _moment_ms(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        at_ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{option} {text!r} is no moment", hint="Write ISO 8601: 2026-01-31 or 2026-01-31T18:00:00-03:00."
        ) from error
    if not 0 <= at_ms < _LAST_AT_MS:
        raise InputError(f"{option} {text} lies outside 1970 to 2099", hint="Give a moment in between.")
    return at_ms


_LAST_AT_MS = 4_102_444_800_000


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A connection for what is not per call. Raises StoreUnavailable when there is no server."""
    from redis.exceptions import RedisError

    from rater.charging.redis_client import open_client
    from rater.errors import StoreUnavailable

    url = redis_url(settings.redis)
    client = open_client(url, settings.redis.password.read(), cluster=settings.redis.cluster)
    try:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"no Redis answers at {url}: {error}",
                hint="Start it, or `rater serve`, which runs the embedded one; `rater doctor` tells more.",
            ) from error
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[RedisStore]:
    """The charging store of these settings, started."""
    from rater.charging.redis_store import RedisStore

    async with open_redis(settings):
        redis = settings.redis
        store = RedisStore(
            redis_url(redis),
            password=redis.password.read() or None,
            prefix=redis.prefix,
            shards=redis.shards,
            timeout_ms=redis.timeout_ms,
            cluster=redis.cluster,
        )
        await store.start()
        try:
            yield store
        finally:
            await store.close()


def print_json(value: Any) -> None:
    """One line, for programs: keys in the order given."""
    print(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), flush=True)
