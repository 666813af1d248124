"""`python -m rater.notify`: the publisher as a child of the daemon, with its settings as JSON on standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from rater.config import Settings
from rater.errors import RaterError
from rater.logs import set_up_logs
from rater.notify.deliver import publish


async def run(settings: Settings, *, parent: int | None = None) -> None:
    """Publish until SIGTERM or SIGINT, or until the process `parent` has died: its successor starts a publisher of
    its own, and two of the same name would throw each other out of the broker."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(_watch(parent, stop)) if parent is not None else None
    try:
        await publish(settings, stop)
    finally:
        if watching is not None:
            watching.cancel()


async def _watch(parent: int, stop: asyncio.Event) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110  # the system has no event for this
        await asyncio.sleep(1)
    stop.set()


def main() -> None:
    import uvloop

    parent = os.getppid()
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    log = settings.log
    set_up_logs(log.level, json_lines=log.json_lines, show_personal_data=log.show_personal_data)
    try:
        uvloop.run(run(settings, parent=parent))
    except RaterError as error:
        print(f"rater publish: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
