"""`rater top`: the live view of a running system, attached to its Redis; changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live

from rater.commands.common import ConfigOption, JsonOption, open_redis, open_store, print_json, settings_of
from rater.commands.live_data import LiveReader, LiveState
from rater.commands.live_view import LiveView
from rater.errors import InputError, StoreUnavailable
from rater.money import format_amount

LOOK_EVERY_S = 0.5
LOOK_SHARE = 10
"""A look that takes long is taken less often: at most this part of the time goes into looking."""
SVG_SIZE = (140, 40)


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("top")(top)


def top(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    svg: Annotated[Path | None, typer.Option(help="With --once: write the picture into this file.")] = None,
    width: Annotated[int, typer.Option(min=40, max=400, help="The picture's columns.")] = SVG_SIZE[0],
    height: Annotated[int, typer.Option(min=12, max=200, help="The picture's rows.")] = SVG_SIZE[1],
) -> None:
    """Live view: calls with cost so far and seconds left, denials, balances, events. Ends with Ctrl-C.

    --json prints one look as one object.
    """
    if svg is not None and not once:
        raise InputError("--svg takes one picture", hint="Add --once.")
    if once or as_json:
        state = asyncio.run(_one_look(config))
        if svg is not None:
            write_svg(state, svg, width=width, height=height)
        if as_json:
            print_json(as_record(state))
        elif svg is None:
            Console().print(LiveView(state))
        return
    asyncio.run(_watch(config))


def write_svg(
    state: LiveState,
    path: Path,
    *,
    width: int = SVG_SIZE[0],
    height: int = SVG_SIZE[1],
    title: str = "rater top",
) -> None:
    """The picture as an SVG file. Raises InputError when it cannot be written."""
    recorder = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True,
                       color_system="truecolor", legacy_windows=False)  # fmt: skip
    recorder.print(LiveView(state, title), end="")
    try:
        path.write_text(recorder.export_svg(title=title), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="Name another file.") from error


def as_record(state: LiveState) -> dict[str, Any]:
    """One look for programs; amounts as decimal text."""
    return {
        "at_ms": state.at_ms,
        "catalog_version": state.catalog_version,
        "calls": state.calls,
        "balances": [
            {
                "account": row.account,
                "modality": row.modality,
                "currency": row.currency,
                "balance": format_amount(row.balance_micro),
                "reserved": format_amount(row.reserved_micro),
                "headroom": format_amount(row.headroom_micro),
                "allowance_left_s": row.left_s,
            }
            for row in state.balances
        ],
        "denials": [asdict(row) for row in state.denials],
        "events": [asdict(row) for row in state.events],
    }


@asynccontextmanager
async def live_reader(config: Path | None) -> AsyncIterator[LiveReader]:
    """A reader on the Redis of these settings, with the catalogue that is in force there."""
    from rater.catalog.publish import load_current

    settings = settings_of(config)
    async with open_redis(settings) as redis, open_store(settings) as store:
        yield LiveReader(store, await load_current(redis, settings.redis.prefix))


async def _one_look(config: Path | None) -> LiveState:
    async with live_reader(config) as reader:
        return await reader.look()


async def _watch(config: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with live_reader(config) as reader:
        try:
            await show(reader.look, stop)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis went away: {error}", hint="Start rater top again when it is back."
            ) from error


async def show(look: Callable[[], Awaitable[LiveState]], stop: asyncio.Event, *, title: str = "rater") -> None:
    """Draw one look after the other, over the whole terminal, until `stop` is set. Follows changes of its size."""
    loop = asyncio.get_running_loop()
    resized = asyncio.Event()
    loop.add_signal_handler(signal.SIGWINCH, resized.set)
    console = Console()
    try:
        with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:
            while not stop.is_set():
                begun_s = loop.time()
                live.update(LiveView(await look(), title), refresh=True)
                spent_s = loop.time() - begun_s
                resized.clear()
                pause_s = max(LOOK_EVERY_S, spent_s * LOOK_SHARE)
                waits = [asyncio.create_task(stop.wait()), asyncio.create_task(resized.wait())]
                _, pending = await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
    finally:
        with contextlib.suppress(RuntimeError):
            loop.remove_signal_handler(signal.SIGWINCH)
