"""`rater events tail|export|dead`: the records in the outbox, watched or written to a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rater.commands.common import (
    ConfigOption,
    FromOption,
    JsonOption,
    ToOption,
    console,
    errors,
    open_redis,
    period_ms,
    print_json,
    settings_of,
)
from rater.commands.dead import dead
from rater.errors import StoreUnavailable
from rater.events.exporters import Format, Kind, happened_at, kind_of, record_file, stored_records
from rater.events.notices import DeniedRecord, PublicRecord, ThresholdRecord, record_of
from rater.events.rated import RatedEvent
from rater.events.record import iso_ms
from rater.events.stream import TO, UnreadableEntry, decode_entry, outbox_key
from rater.notify.thresholds import sentence

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from rater.config import RedisSettings

PAGE = 200
POLL_S = 0.2
_DISPOSITIONS = {"answered": "green", "busy": "yellow", "no_answer": "yellow", "cancelled": "yellow"}
events = typer.Typer(name="events", help="The records in the outbox.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    events.command("dead")(dead)
    app.add_typer(events)


@events.command("tail")
def tail(
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Go on with what comes, or only what is there.")
    ] = True,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="So many of the newest first.")] = 10,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the newest records, then each new one as it is written. With --json one object per line."""
    settings = settings_of(config)

    def wanted(record: PublicRecord) -> bool:
        return (account is None or record.account == account) and (kind is None or kind_of(record) is kind)

    async def run() -> None:
        async with open_redis(settings) as redis:
            newest, places = await _newest(redis, settings.redis, count, wanted)
            for record in newest:
                _show(record, as_json)
            if follow:
                async for record in _new(redis, settings.redis, places):
                    if wanted(record):
                        _show(record, as_json)

    _run(run())


@events.command("export")
def export(
    start: FromOption,
    end: ToOption,
    out: Annotated[Path, typer.Option("--out", help="The file; written whole or not at all.")],
    form: Annotated[Format, typer.Option("--format", help="JSON lines, CSV or Parquet.")] = Format.JSONL,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    kind: Annotated[Kind, typer.Option(help="Rated events, denials or thresholds.")] = Kind.RATED,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the records of a span of time to a file: legs by their end, denials by the attempt."""
    settings = settings_of(config)
    since, until = map(iso_ms, period_ms(start, end))
    problems: list[str] = []

    async def run() -> int:
        redis_settings = settings.redis
        async with open_redis(settings) as redis:
            client: Any = redis
            shards = range(redis_settings.shards)
            total = sum([await client.xlen(outbox_key(redis_settings.prefix, shard)) for shard in shards])
            with record_file(out, form, kind) as writer, _progress(total, hidden=as_json) as advance:
                async for record in stored_records(
                    redis,
                    prefix=redis_settings.prefix,
                    shards=redis_settings.shards,
                    progress=advance,
                    unreadable=lambda stream_id, reason: problems.append(f"{stream_id}: {reason}"),
                ):
                    in_time = since <= happened_at(record) < until
                    if in_time and kind_of(record) is kind and (account is None or record.account == account):
                        writer.write(record)
            return writer.count

    written = _run(run())
    if as_json:
        print_json({"records": written, "file": str(out), "unreadable": problems})
    else:
        console.print(f"{written} records written to {escape(str(out))}")
    for problem in problems:
        errors.print(f"passed over an unreadable entry, {escape(problem)}")
    if problems:
        raise typer.Exit(1)


def _run(work: Any) -> Any:
    """Await it; what Redis throws on the way becomes a message. Ctrl-C ends quietly."""
    from redis.exceptions import RedisError

    try:
        return asyncio.run(work)
    except RedisError as error:
        raise StoreUnavailable(f"Redis: {error}", hint="Is it running? See rater doctor.") from error


async def _newest(
    redis: Redis, settings: RedisSettings, count: int, wanted: Any
) -> tuple[list[PublicRecord], dict[str, str]]:
    """The newest `count` records that are wanted, oldest first, and the place reached in each stream."""
    client: Any = redis
    found: list[tuple[tuple[int, int], PublicRecord]] = []
    places: dict[str, str] = {}
    for shard in range(settings.shards):
        key, before, mine = outbox_key(settings.prefix, shard), "+", 0
        last = await client.xrevrange(key, count=1)
        places[key] = last[0][0].decode() if last else "0"
        while mine < count and (page := await client.xrevrange(key, max=before, count=PAGE)):
            for stream_id, fields in page:
                if TO in fields:  # a repeat for one target
                    continue
                with contextlib.suppress(UnreadableEntry):
                    record = record_of(decode_entry(shard, stream_id, fields))
                    if mine < count and wanted(record):
                        found.append((_place(stream_id), record))
                        mine += 1
            before = f"({page[-1][0].decode()}"
    found.sort(key=lambda pair: pair[0])
    return [record for _, record in found[len(found) - min(count, len(found)) :]], places


async def _new(redis: Redis, settings: RedisSettings, places: dict[str, str]) -> AsyncIterator[PublicRecord]:
    """Every record written from now on. An entry that makes no record is told of on standard error."""
    client: Any = redis
    shards = {outbox_key(settings.prefix, shard).encode(): shard for shard in range(settings.shards)}
    together = not settings.cluster or len(places) == 1  # on a cluster no command reads two shards
    while True:
        if together:
            pages = await client.xread(places, count=PAGE, block=1000) or ()
        else:
            reads = [client.xread({key: after}, count=PAGE) for key, after in places.items()]
            pages = [page for answer in await asyncio.gather(*reads) for page in answer or ()]
            await asyncio.sleep(0 if pages else POLL_S)
        for key, page in pages:
            for stream_id, fields in page:
                places[key.decode()] = stream_id.decode()
                if TO in fields:
                    continue
                try:
                    yield record_of(decode_entry(shards[key], stream_id, fields))
                except UnreadableEntry as error:
                    errors.print(f"unreadable entry {stream_id.decode()}: {escape(error.message)}")


def _place(stream_id: bytes) -> tuple[int, int]:
    millis, _, number = stream_id.partition(b"-")
    return int(millis), int(number)


def _show(record: PublicRecord, as_json: bool) -> None:
    if as_json:
        print_json(record.to_dict())
        return
    at = happened_at(record)[:19].replace("T", " ")
    console.print(f"[dim]{at}[/dim] {_text(record)}", highlight=False, soft_wrap=True)


def _text(record: PublicRecord) -> str:
    if isinstance(record, ThresholdRecord):
        return f"[magenta]threshold[/magenta] {escape(sentence(record))}"
    who = escape(f"{record.account or '?'} {record.line}".strip())
    to = escape(record.number or record.dialled)
    if isinstance(record, DeniedRecord):
        detail = f" ({escape(record.detail)})" if record.detail else ""
        if record.shadow:
            when = "denied" if record.shadow_at_s is None else f"cut after {record.shadow_at_s} s"
            return f"[yellow]shadow[/yellow]    {who} → {to}: would be {when}: {record.reason}{detail}"
        return f"[red]denied[/red]    {who} → {to}: {record.reason}{detail}"
    colour = _DISPOSITIONS.get(record.disposition, "red")
    cut = f" cut: {record.cut}" if record.cut else ""
    grade = "" if record.grade == "observed" else f" ({record.grade})"
    return (
        f"[{colour}]{record.disposition:<9}[/{colour}] {who} → {to} {record.duration_s} s "
        f"[bold]{record.amount} {record.currency}[/bold]{_pieces(record)}, "
        f"balance {record.balance_after}{cut}{grade}"
    )


def _pieces(event: RatedEvent) -> str:
    """What allowances paid of it."""
    return "".join(f", {piece.seconds} s of {escape(piece.grant)}" for piece in event.allowance)


@contextlib.contextmanager
def _progress(total: int, *, hidden: bool) -> Any:
    """A bar on standard error while the outbox is read; the function that moves it."""
    columns = (TextColumn("reading the outbox"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=hidden or not errors.is_terminal) as bar:
        task = bar.add_task("outbox", total=total)
        yield lambda done: bar.advance(task, done)
