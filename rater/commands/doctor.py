"""`rater doctor`: the whole installation, looked at from where rater runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rater.commands.common import ConfigOption, JsonOption, console, print_json, redis_url, settings_of
from rater.logs import set_up_logs

if TYPE_CHECKING:
    from rater.doctor.findings import Finding

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "bold yellow"),
    "error": ("ERROR", "bold red"),
    "not_checked": ("not checked", "dim"),
}
"""Words carry the meaning; the colours are the terminal's own, so that both light and dark ones show them."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("doctor")(doctor)


def doctor(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    listen: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds to wait for events of each switch, which tell more.")
    ] = 1.0,
    provoke: Annotated[
        bool,
        typer.Option("--provoke", help="Have each switch send one: sets the device state Custom:rater-doctor."),
    ] = False,
) -> None:
    """Check switches, Redis, catalogue, outbox, broker and this machine; say how to mend what is wrong.

    Exit code 0: nothing is wrong, though there may be warnings; 1: something is; 2: the settings are unusable.
    docs/doctor.md has every check. Nothing is changed, but for --provoke.
    """
    settings = settings_of(config)
    set_up_logs("critical", json_lines=False)  # what goes wrong is in the findings
    from rater.doctor.run import Doctor

    examination = Doctor(settings, redis_url(settings.redis), listen_s=listen, provoke=provoke)
    findings = asyncio.run(examination.examine())
    counts = Counter(finding.status.value for finding in findings)
    if as_json:
        print_json(
            {
                "ok": not counts["error"],
                **{status: counts[status] for status in _MARKS if status != "ok"},
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        _show(findings, counts)
    if counts["error"]:
        raise typer.Exit(1)


def _show(findings: Sequence[Finding], counts: Counter[str]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=False)
    for column in ("", "check", "of", "seen"):
        table.add_column(column, overflow="fold", no_wrap=column in ("", "check"))
    for finding in findings:
        word, style = _MARKS[finding.status]
        table.add_row(Text(word, style=style), finding.check, escape(finding.subject), _seen(finding))
    console.print(table)
    summary = ", ".join(
        f"{counts[status]} {word.lower()}" for status, (word, _) in _MARKS.items() if counts[status]
    )
    console.print(f"\n{summary}", highlight=False)


def _seen(finding: Finding) -> Text:
    """What was seen; under it, unless it is good, what was expected and how to get there."""
    text = Text(finding.seen)
    if finding.status != "ok":
        if finding.expected:
            text.append(f"\nexpected: {finding.expected}", style="dim")
        if finding.mend:
            text.append(f"\n→ {finding.mend}", style="cyan")
    return text
