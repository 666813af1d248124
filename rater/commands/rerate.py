"""`rater rerate`: history under another catalogue, side by side. Proposes adjustments and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rater.commands.common import (
    ConfigOption,
    FromOption,
    JsonOption,
    ToOption,
    errors,
    open_redis,
    period_ms,
    print_json,
    settings_of,
)
from rater.errors import InputError, StoreUnavailable
from rater.rerate.model import Numbers
from rater.rerate.report import Report, ReportFormat, adjustments, whole_folder

if TYPE_CHECKING:
    from rater.catalog.snapshot import Snapshot
    from rater.config import Settings
    from rater.rerate.model import Events
    from rater.rerate.pricing import Rerater
    from rater.rerate.source import Source
    from rater.rerate.tally import Tally

RECORDS = 4096
Advance = Callable[[int], None]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("rerate")(rerate)


def rerate(
    start: FromOption,
    end: ToOption,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", help="Folder of the other catalogue.", show_default=False)
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Or a published version of it.", show_default=False)
    ] = None,
    events: Annotated[
        list[Path] | None,
        typer.Option(
            "--events",
            help="Exported events: JSON lines, Parquet or a folder of them; may be repeated. "
            "By default what the outbox holds.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report into this folder.", show_default=False)
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="Of the report's tables.")] = ReportFormat.CSV,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            "--plan",
            metavar="OLD=NEW",
            help="Use another plan than the event's; may be repeated.",
            show_default=False,
        ),
    ] = None,
    numbers: Annotated[
        Numbers, typer.Option("--numbers", help="Which digits the new dial plan reads: as dialled, or as reached.")
    ] = Numbers.DIALLED,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Re-rate the legs that ended in a period under another catalogue: old, new, difference. Changes nothing.

    Exit code 1 when legs have no price under the new catalogue, or a sum does not tie out.
    """  # fmt: skip
    from rater.rerate.pricing import Rerater
    from rater.rerate.source import Source

    period = period_ms(start, end)
    if (catalog is None) == (version is None):
        raise InputError("under which catalogue?", hint="Give either --catalog DIR or --version N.")
    settings = settings_of(config) if version is not None or not events else None
    snapshot, label = _new_catalog(catalog, version, settings)
    plans = _plans(plan or [], snapshot)
    run = _Run(Source(*period), Rerater(snapshot, plans, numbers), settings, events or [])
    with whole_folder(out) if out is not None else contextlib.nullcontext() as folder:
        report = Report(folder, form) if folder is not None else None
        try:
            run.go(report)
            proposed = adjustments(run.tally, f"re-rated {start} to {end} under {label}")
            summary = run.summary(start, end, label, plans, numbers) | {
                "adjustments": len(proposed), "run": run.tally.name, "out": str(out) if out is not None else None,
            }  # fmt: skip
            if report is not None:
                report.finish(run.tally, proposed, summary)
        finally:
            if report is not None:
                report.close()
    _answer(run, summary, as_json=as_json)


class _Run:
    """One comparison as it goes."""

    def __init__(self, source: Source, rerater: Rerater, settings: Settings | None, paths: list[Path]) -> None:
        from rater.rerate.tally import Tally

        self.source = source
        self.tally: Tally = Tally()
        self.unreadable: list[str] = []
        self._rerater = rerater
        self._settings = settings
        self._paths = paths

    def go(self, report: Report | None) -> None:
        from rater.rerate.source import event_files

        def take(events: Events) -> None:
            rerated = self._rerater.rerate(events)
            self.tally.add(rerated)
            if report is not None:
                report.events(rerated)

        if self._paths:
            files = event_files(self._paths)
            with _progress("re-rating", sum(path.stat().st_size for path in files)) as advance:
                for events in self.source.files(files, advance):
                    take(events)
        else:
            assert self._settings is not None
            asyncio.run(self._outbox(self._settings, take))

    async def _outbox(self, settings: Settings, take: Callable[[Events], None]) -> None:
        """The events that the configured outbox holds."""
        from redis.exceptions import RedisError

        from rater.events.exporters import stored_records
        from rater.events.stream import outbox_key
        from rater.rerate.source import as_columns

        prefix, shards = settings.redis.prefix, settings.redis.shards
        held: list[dict[str, Any]] = []

        def release() -> None:
            ids = [record["id"] for record in held]
            take(self.source.records(held, lambda row: f"the outbox, event {ids[row]}"))
            held.clear()

        try:
            async with open_redis(settings) as redis:
                client: Any = redis
                total = sum([await client.xlen(outbox_key(prefix, shard)) for shard in range(shards)])
                with _progress("re-rating the outbox", total) as advance:
                    async for record in stored_records(
                        redis, prefix=prefix, shards=shards, progress=advance,
                        unreadable=lambda entry, why: self.unreadable.append(f"{entry}: {why}"),
                    ):  # fmt: skip
                        held.append(as_columns(record.to_dict()))
                        if len(held) >= RECORDS:
                            release()
                    if held:
                        release()
        except RedisError as error:
            raise StoreUnavailable(f"Redis: {error}", hint="Is it running? See rater doctor.") from error

    def summary(self, start: str, end: str, label: str, plans: dict[str, str], numbers: Numbers) -> dict[str, Any]:
        """The comparison for programs. Amounts are decimal texts, and integers of micro-units."""
        from rater.commands.rerate_view import sums_record, view_records

        tally, source = self.tally, self.source
        return {
            "from": start,
            "to": end,
            "catalog": label,
            "plans": plans,
            "numbers": numbers.value,
            "events": sum(sums.events for sums in tally.totals.values()),
            "changed": tally.changed,
            "unpriced": tally.unpriced,
            "beyond_limit": tally.beyond_limit,
            "outcomes": dict(sorted(tally.outcomes.items())),
            "passed_over": {"other_records": source.others, "repeats": source.repeats,
                            "outside_period": source.outside, "unreadable": len(self.unreadable)},
            "totals": {name: sums_record(sums) for name, sums in sorted(tally.totals.items())},
            **{f"by_{view}": view_records(view, sums) for view, sums in tally.views.items()},
            "faults": tally.faults(),
        }  # fmt: skip


def _new_catalog(folder: Path | None, version: int | None, settings: Settings | None) -> tuple[Snapshot, str]:
    """The catalogue to rate by, and how to name it."""
    if folder is not None:
        from rater.catalog.files import read_catalog

        return read_catalog(folder), f"the catalogue in {folder}"
    from rater.catalog.publish import load_version

    assert settings is not None and version is not None

    async def load() -> Snapshot:
        async with open_redis(settings) as redis:
            return await load_version(redis, settings.redis.prefix, version)

    return asyncio.run(load()), f"catalogue version {version}"


def _plans(pairs: list[str], snapshot: Snapshot) -> dict[str, str]:
    """What ``--plan OLD=NEW`` says. Raises InputError."""
    plans: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise InputError(f"--plan {pair!r} is no pair", hint="Write --plan OLD=NEW.")
        if new not in snapshot.plans:
            raise InputError(f"--plan {pair}: there is no plan {new!r} in the new catalogue",
                             hint=f"Plans: {', '.join(snapshot.plans)}.")  # fmt: skip
        if plans.setdefault(old, new) != new:
            raise InputError(f"--plan names two new plans for {old!r}", hint="Give each plan one.")
    return plans


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Advance]:
    """A bar on standard error, on a terminal only."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _answer(run: _Run, summary: dict[str, Any], *, as_json: bool) -> None:
    """Prints the comparison; ends with 1 when something in it is wrong."""
    from rater.commands.rerate_view import show

    if as_json:
        print_json(summary)
    else:
        show(run.tally, summary)
    for problem in run.unreadable:
        errors.print(f"passed over an unreadable entry, {problem}", markup=False)
    for fault in summary["faults"]:
        errors.print(f"the sums do not tie out: {fault}", markup=False)
    if run.unreadable or summary["faults"] or summary["unpriced"]:
        raise typer.Exit(1)
