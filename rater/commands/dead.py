"""`rater events dead`: what targets did not take: look, deliver again, drop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from rater.commands.common import ConfigOption, JsonOption, console, open_redis, print_json, settings_of
from rater.errors import InputError
from rater.events.dead import DeadLetters, Letter
from rater.events.record import iso_ms


def dead(
    retry: Annotated[str | None, typer.Option(help="Deliver this one again (SHARD/ID, or all).")] = None,
    drop: Annotated[str | None, typer.Option(help="Delete this one for good (SHARD/ID, or all).")] = None,
    group: Annotated[str | None, typer.Option(help="Only those of this target, such as webhook:crm.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the records that a target refused or nobody could read, and why; or deliver them again, or drop them.

    A retry goes to the target that refused it and to no other.
    """
    if retry is not None and drop is not None:
        raise InputError("--retry and --drop cannot go together", hint="One after the other.")
    letters = asyncio.run(_dead(config, retry, drop, group))
    done = "retried" if retry is not None else "dropped" if drop is not None else "letters"
    if as_json:
        print_json({done: [_row(letter) for letter in letters]})
        return
    for letter in letters:
        who = f" {letter.account}" if letter.account else ""
        console.print(
            f"{letter.ref}  {iso_ms(letter.at_ms)[:19]}  [bold]{escape(letter.group)}[/bold] {escape(letter.kind)}"
            f" {escape(letter.record)}{escape(who)}: {escape(letter.reason)}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"{len(letters)} {done if done != 'letters' else 'dead letters'}", highlight=False)


async def _dead(config: Path | None, retry: str | None, drop: str | None, group: str | None) -> list[Letter]:
    settings = settings_of(config)
    async with open_redis(settings) as redis:
        letters = DeadLetters(redis, prefix=settings.redis.prefix, shards=settings.redis.shards)
        which = retry if retry is not None else drop
        if which in (None, "all"):
            chosen = [letter async for letter in letters.each(group=group)]
        else:
            assert which is not None
            chosen = [await letters.find(which)]
        if which is None:
            return chosen
        act = letters.retry if retry is not None else letters.drop
        return [letter for letter in chosen if await act(letter)]


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "letter": letter.ref, "at": iso_ms(letter.at_ms), "group": letter.group, "kind": letter.kind,
        "id": letter.record, "account": letter.account, "reason": letter.reason,
    }  # fmt: skip
