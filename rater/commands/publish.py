"""`rater publish`: the outbox to its targets, as a process of its own."""

from __future__ import annotations

import typer

from rater.commands.common import ConfigOption, JsonOption, settings_of
from rater.logs import set_up_logs


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("publish")(publish)


def publish(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Deliver rated events, denials, thresholds and balances to MQTT, webhooks, mail and files, until told to stop.

    `rater serve` runs this as a child when there is any target; do not run both. --json logs one JSON object per
    line.
    """
    settings = settings_of(config)
    log = settings.log
    set_up_logs(log.level, json_lines=as_json or log.json_lines, show_personal_data=log.show_personal_data)
    import uvloop

    from rater.notify.__main__ import run

    uvloop.run(run(settings))
