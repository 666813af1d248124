"""`rater record` and `rater replay`: keep what a switch sent, and see later what it would have cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rater.catalog.files import read_catalog
from rater.commands.calls import describe
from rater.commands.common import ConfigOption, JsonOption, console, errors, print_json, settings_of
from rater.config import SwitchSettings
from rater.errors import ConfigError, InputError, LoginRefused, SwitchUnavailable
from rater.events.notices import DeniedRecord
from rater.events.rated import RatedEvent
from rater.money import format_amount
from rater.switch.adapter import EVENT_MASK, boot_of
from rater.switch.ami import ConnectionState, SwitchConnection
from rater.switch.ami_parse import Frame
from rater.switch.capture import CaptureHeader, CaptureWriter, read_header, read_stream
from rater.switch.replay import Replay, ReplayResult

CONNECT_S = 10.0


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("record")(record)
    app.command("replay")(replay)


# -- record --------------------------------------------------------------------------------------------------------


def record(
    switch: Annotated[str, typer.Option("--switch", help="The switch's id in the settings.")],
    out: Annotated[Path, typer.Option("--out", help="The capture to write; it must not exist yet.")],
    config: ConfigOption = None,
    mask: Annotated[bool, typer.Option("--mask", help="Mask the end of numbers, and names.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Stop after so long; 0: on Ctrl-C.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write down what a switch sends: its channels, then its events. Log-in and secrets are never in it."""
    settings = next((s for s in settings_of(config).switch if s.id == switch), None)
    if settings is None:
        raise ConfigError(f"no switch {switch!r} in the settings", hint="Its id stands in a [[switch]] section.")
    secret = settings.secret.read()
    try:
        file = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise InputError(f"cannot write the capture {out}: {error.strerror}") from error
    with file:
        writer = CaptureWriter(file, mask=mask)
        try:
            frames, lost = asyncio.run(_record(settings, secret, writer, seconds))
        except BaseException:
            if not writer.written:
                out.unlink()
            raise
    summary = {"capture": str(out), "bytes": writer.written, "frames": frames, "masked": mask, "complete": not lost}
    if as_json:
        print_json(summary)
    else:
        console.print(f"{out}: {frames} frames, {writer.written} bytes")
    if lost:
        raise SwitchUnavailable(f"the connection to {switch} was lost; {out} holds what came until then")


async def _record(settings: SwitchSettings, secret: str, writer: CaptureWriter, seconds: float) -> tuple[int, bool]:
    """Record until the time is up or Ctrl-C; how many frames came, and whether the connection was lost before."""
    states: asyncio.Queue[ConnectionState] = asyncio.Queue()
    frames = 0

    def count(batch: list[Frame], arrived_ns: int) -> None:
        nonlocal frames
        frames += len(batch)

    connection = SwitchConnection(settings, secret, count, states.put_nowait, writer)
    running = asyncio.create_task(connection.run())
    lost = False
    try:
        await _until_up(settings, states)
        status, core = await connection.request("CoreStatus"), await connection.request("CoreSettings")
        version = core.get("AsteriskVersion", connection.parser.banner)
        writer.begin(CaptureHeader(settings.id, boot_of(status), version, connection.switch_now_ms()))
        await connection.request("Events", EventMask=EVENT_MASK)
        frames += len(await connection.request_list("CoreShowChannels"))
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(seconds or None):
                await states.get()
                lost = True
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return frames, lost


async def _until_up(settings: SwitchSettings, states: asyncio.Queue[ConnectionState]) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            while (state := await states.get()) is not ConnectionState.UP:
                if state is ConnectionState.REFUSED:
                    raise LoginRefused(
                        f"{settings.id} refuses the user {settings.user}",
                        hint="Compare user, secret, permit and deny with the switch's manager.conf.",
                    )
    except TimeoutError:
        raise SwitchUnavailable(
            f"no connection to {settings.id} at {settings.host}:{settings.port} within {CONNECT_S:.0f} s"
        ) from None


# -- replay --------------------------------------------------------------------------------------------------------


def replay(
    capture: Annotated[Path, typer.Argument(help="A capture, as `rater record` writes it.")],
    catalog: Annotated[Path, typer.Option("--catalog", help="The catalogue's folder.")],
    as_json: JsonOption = False,
) -> None:
    """Which legs a capture holds, and what each would have cost or why it would have been denied."""
    header, skip = read_header(capture)
    snapshot = read_catalog(catalog)
    began_s = time.monotonic()
    result = asyncio.run(Replay(header, snapshot).run(read_stream(capture, skip)))
    if result.bad_frames:
        errors.print(f"{result.bad_frames} frames could not be read and were left out")
    if as_json:
        print_json(summarise(header, result))
    else:
        _show(result, time.monotonic() - began_s)


def summarise(header: CaptureHeader, result: ReplayResult) -> dict[str, Any]:
    """What `--json` prints. `legs`: rated events; `denied`: denials; both as the streams carry them."""
    legs = [record for record in result.records if isinstance(record, RatedEvent)]
    denied = [record for record in result.records if isinstance(record, DeniedRecord)]
    charged: Counter[str] = Counter()
    for leg in legs:
        if leg.currency:
            charged[leg.currency] += leg.amount_micro
    return {
        "switch": header.switch,
        "boot": header.boot,
        "masked": header.masked,
        "frames": result.frames,
        "bad_frames": result.bad_frames,
        "internal_calls": result.internal_calls,
        "charged": {currency: format_amount(amount_micro) for currency, amount_micro in sorted(charged.items())},
        "denied_by_reason": dict(sorted(Counter(record.reason for record in denied).items())),
        "legs": [leg.to_dict() for leg in legs],
        "denied": [record.to_dict() for record in denied],
        "unfinished": [describe(leg, now_ms=result.until_ms) for leg in result.unfinished],
    }


def _show(result: ReplayResult, took_s: float) -> None:
    table = Table(title="Legs of the capture")
    for column in ("attempted", "way", "account", "line", "number", "destination", "talked", "amount", "outcome"):
        table.add_column(column, justify="right" if column in ("talked", "amount") else "left")
    for record in result.records:
        if isinstance(record, RatedEvent):
            outcome = f"cut: {record.cut}" if record.cut else record.disposition
            table.add_row(record.attempted_at, record.direction, record.account, record.line, record.number,
                          record.destination, f"{record.duration_s} s", f"{record.amount} {record.currency}",
                          outcome)  # fmt: skip
        elif isinstance(record, DeniedRecord):
            table.add_row(record.attempted_at, record.direction, record.account, record.line, record.dialled,
                          record.destination, "", "", f"denied: {record.reason}")  # fmt: skip
    console.print(table)
    for leg in result.unfinished:
        row = describe(leg, now_ms=result.until_ms)
        console.print(f"still {row['state']}: {leg.leg}, {row['cost']} {row['currency']} so far")
    console.print(
        f"{result.frames} frames in {took_s:.2f} s, {result.internal_calls} calls between lines, not charged"
    )
