"""What the commands share: the options that all have, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

DEFAULT_CONFIG = Path("config/rater.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; config/rater.toml when it exists.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

console = Console()
errors = Console(stderr=True)


def config_path(given: Path | None) -> Path | None:
    """The settings file to read: the one named, else the default when it is there."""
    if given is not None:
        return given
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def print_json(value: Any) -> None:
    """One line, for programs: keys in the order given."""
    print(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), flush=True)
