"""The command line. Names are a contract; each command has ``--json``. See `rater.commands` for the bodies."""

from __future__ import annotations

import sys

import typer

from rater.commands import (
    account,
    audit,
    calls,
    catalog,
    demo,
    doctor,
    events,
    ledger,
    price,
    publish,
    replay,
    rerate,
    serve,
    top,
)
from rater.errors import RaterError
from rater.logs import set_up_logs

app = typer.Typer(
    name="rater",
    help="Real-time telecom rating and charging for Asterisk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (
    serve,
    demo,
    catalog,
    price,
    rerate,
    account,
    audit,
    ledger,
    calls,
    replay,
    events,
    publish,
    top,
    doctor,
):
    module.register(app)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 it failed or found something wrong, 2 the input was unusable."""
    set_up_logs("warning", json_lines=False)  # standard output belongs to the answers; serve and publish say more
    try:
        app()  # ends the process itself; what it does not know is ours
    except RaterError as error:
        print(f"rater: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
