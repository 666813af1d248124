"""A small catalogue to break, and the real servers and commands around it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rater.catalog.files import read_catalog
from rater.catalog.snapshot import Snapshot
from rater.cli import main
from rater.errors import CatalogError, Problem

CONFIG = Path(__file__).resolve().parents[2] / "config"

PLANS = """\
classes = ["campus"]

[calendar.fr]
country = "FR"

[dial_plan.own]
preset = "brazil"
area = "11"

[[dial_plan.own.rule]]
name = "outside"
match = "0X."
strip = 1

[plan.basic]
currency = "EUR"
zone = "Europe/Paris"
deck = "decks/retail.csv"
decimals = 2
blocked_classes = ["premium"]
thresholds = { money_below = ["5.00"], allowance_percent = [80] }
when_exhausted = "credit"

[[plan.basic.band]]
name = "peak"
windows = [{ days = "mon-fri", from = "08:00", to = "20:00", holidays = "except", calendars = ["fr"] }]

[[plan.basic.allowance]]
id = "minutes"
classes = ["fixed", "mobile"]
minutes = 60
cadence = { free = 3, first = 30, next = 6 }
cycle = "monthly"
day = 15

[plan.sp]
currency = "BRL"
zone = "America/Sao_Paulo"
deck = "decks/class.csv"
dial_plan = "own"
"""

ACCOUNTS = """\
[account.ann]
plan = "basic"
modality = "prepaid"
opening = "12.50"
limits = { both = 2, out = 1 }

[account.bob]
plan = "basic"
modality = "postpaid"
credit_limit = "20.00"

[account.cid]
plan = "basic"
modality = "allowance"

[account.dora]
plan = "sp"
modality = "prepaid"
"""

FILES: dict[str, str] = {
    "plans.toml": PLANS,
    "accounts.toml": ACCOUNTS,
    "switches.toml": '[switch.pbx1]\npayer = ["endpoint", "accountcode"]\npayer_variable = "WHO"\n',
    "trunks.toml": '[trunk.carrier]\nswitch = "pbx1"\npattern = "PJSIP/trunk-*"\nmax_calls = 30\n',
    "lines.csv": "line,account,endpoint,account_code,area,active,limit\n"
    "1001,ann,1001,A1,,yes,2\n"
    "1002,bob,1002,,,,\n"
    "1003,cid,1003,,,no,\n"
    "1004,dora,1004,,21,,\n",
    "decks/retail.csv": "prefix,destination,class,price\n33,France,fixed,0.02\n336,France mobile,mobile,0.10\n"
    "44,United Kingdom,intl_fixed,0.03\n",
    "decks/class.csv": "prefix;destination;class;price\n#1;Local;fixed_local;0.10\n#2;VC1;mobile_local;0.50\n"
    "#3;Services;public_service;0\n55;National;fixed_ld;0.20\n",
}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def catalog(folder: Path, **changes: str) -> Snapshot:
    """The small catalogue, with whole files replaced: ``plans="…"`` for plans.toml."""
    files = FILES | {f"{name}.toml": text for name, text in changes.items()}
    return read_catalog(write(folder, files))


def problems(folder: Path, files: Mapping[str, str | bytes]) -> tuple[Problem, ...]:
    """What is wrong with a catalogue; nothing when it is good."""
    try:
        read_catalog(write(folder, files))
    except CatalogError as error:
        return error.problems
    return ()


def run(*words: str) -> tuple[int, str, str]:
    """A command as the shell would run it: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["rater", *words]
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    return int(str(code or 0)), out.getvalue(), err.getvalue()


def run_json(*words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*words, "--json")
    lines = out.strip().splitlines()
    assert len(lines) == 1, out
    value: dict[str, Any] = json.loads(lines[0])
    return code, value
