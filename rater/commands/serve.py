"""`rater serve`: attach to the switches and charge."""

from __future__ import annotations

import asyncio
import signal

import typer

from rater.commands.common import ConfigOption, JsonOption, settings_of
from rater.logs import set_up_logs


def register(app: typer.Typer) -> None:
    """Adds this module's commands to the command line."""
    app.command("serve")(serve)


def serve(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Attach to the switches of the settings; follow, decide, charge, until told to stop (SIGTERM, Ctrl-C).

    --json logs one JSON object per line.
    """
    settings = settings_of(config)
    log = settings.log
    set_up_logs(log.level, json_lines=as_json or log.json_lines, show_personal_data=log.show_personal_data)
    import uvloop

    from rater.daemon import serve as run

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, stop=stop)

    uvloop.run(main())
