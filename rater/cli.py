"""The command line. Names are a contract; each command has ``--json``. See `rater.commands` for the bodies."""

from __future__ import annotations

import sys

import click
import typer

from rater.commands import account, calls, catalog, demo, doctor, events, price, publish, replay, serve, top
from rater.errors import RaterError

app = typer.Typer(
    name="rater",
    help="Real-time telecom rating and charging for Asterisk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (serve, demo, catalog, price, account, calls, replay, events, publish, top, doctor):
    module.register(app)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 it failed or found something wrong, 2 the input was unusable."""
    try:
        app(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except RaterError as error:
        print(f"rater: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
