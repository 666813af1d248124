"""`rater calls` and `rater hangup`: what is being talked, and ending it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rater import control
from rater.charging.records import LegState
from rater.commands.common import ConfigOption, JsonOption, console, open_redis, open_store, print_json, settings_of
from rater.errors import RaterError
from rater.events.rated import LegFacts
from rater.ids import Shard
from rater.money import cumulative_micro, format_amount


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("calls")(calls)
    app.command("hangup")(hangup)


def calls(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Live legs: who, to whom, since when, cost so far and seconds left."""
    rows = [describe(leg, now_ms=time.time_ns() // 1_000_000) for leg in asyncio.run(_live(config))]
    if as_json:
        print_json({"calls": rows})
        return
    table = Table(title=f"{len(rows)} live legs")
    for column in ("leg", "account", "line", "number", "destination", "state", "talked", "cost", "left"):
        table.add_column(column, justify="right" if column in ("talked", "cost", "left") else "left")
    for row in rows:
        left = "" if row["seconds_left"] is None else f"{row['seconds_left']} s"
        table.add_row(row["leg"], row["account"], row["line"], row["number"], row["destination"], row["state"],
                      f"{row['talked_s']} s", f"{row['cost']} {row['currency']}", left)  # fmt: skip
    console.print(table)


def describe(leg: LegState, *, now_ms: int) -> dict[str, Any]:
    """One live leg for people and programs. Cost and seconds left are as of `now_ms`, by this machine's clock."""
    facts = LegFacts.unpack(leg.facts)
    talked_s = 0
    if leg.answered_at_ms is not None:
        talked_s = min(max(0, now_ms - leg.answered_at_ms) // 1000, leg.granted_s)
    cost_micro = paid_to_s = 0
    for piece in leg.pieces:
        from_s, to_s = max(piece.from_s, paid_to_s), min(piece.to_s, talked_s)
        if piece.in_money and from_s < to_s:
            cost_micro += cumulative_micro(leg.quote, to_s) - cumulative_micro(leg.quote, from_s)
            paid_to_s = to_s
    return {
        "leg": leg.leg,
        "call": facts.call,
        "switch": leg.switch,
        "account": leg.account,
        "line": facts.line,
        "direction": facts.direction,
        "number": facts.number,
        "destination": facts.destination,
        "class": facts.destination_class,
        "state": "talking" if leg.answered_at_ms is not None else "ringing",
        "since_ms": leg.answered_at_ms or leg.reserved_at_ms,
        "talked_s": talked_s,
        "cost": format_amount(cost_micro),
        "currency": leg.quote.currency,
        "granted_s": leg.granted_s,
        "seconds_left": leg.granted_s - talked_s,
        "last_slice": leg.final,
    }


def hangup(
    leg: Annotated[str, typer.Argument(help="The leg's id, as `rater calls` shows it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a live leg; it is charged to that moment."""
    reply = asyncio.run(_hang_up(leg, config))
    if reply is None:
        raise RaterError(
            f"no running daemon leads a leg {leg}",
            hint="`rater calls` lists the live legs; is `rater serve` running with the same settings?",
        )
    if as_json:
        print_json(reply)
    else:
        console.print(f"{leg}: hang-up sent to {reply['switch']}")


async def _live(config: Path | None) -> list[LegState]:
    settings = settings_of(config)
    async with open_store(settings) as store:
        legs: list[LegState] = []
        for shard in range(settings.redis.shards):
            legs += await store.legs(Shard(shard))
    return sorted(legs, key=lambda leg: leg.reserved_at_ms)


async def _hang_up(leg: str, config: Path | None) -> dict[str, Any] | None:
    settings = settings_of(config)
    async with open_redis(settings) as redis:
        return await control.ask(redis, settings.redis.prefix, {"do": "hangup", "leg": leg})
