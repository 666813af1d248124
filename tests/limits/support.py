"""A catalogue in memory of the test's own making, and attempts on it."""

from __future__ import annotations

from pathlib import Path

from rater.admission import Admitted, Rejected, admit
from rater.calls.signals import Attempted, Direction, Mode, Payer
from rater.catalog.files import read_catalog
from rater.catalog.model import SwitchRules
from rater.catalog.snapshot import Snapshot
from rater.ids import CallId, LegId, SwitchId, TrunkId

NOON_MS = 1_790_000_000_000
PLAN = 'currency = "EUR"\ndeck = "decks/retail.csv"\ndecimals = 6\n'
DECK = """prefix,destination,class,price,per,carrier_cost
33,France,fixed,0.01,1,0.006
44,United Kingdom,intl_fixed,0.02,1,0.019
49,Premium,premium,0.05,1,
"""
FRANCE, KINGDOM, PREMIUM, NOWHERE = "+33123456789", "+442071234567", "+493012345678", "+34911234567"


def catalog(
    folder: Path,
    *,
    plan: str = "",
    account: str = "",
    line: str = "",
    more: str = "",
    deck: str = DECK,
    trunk: str = "",
    zone: str = "Europe/Paris",
) -> Snapshot:
    """One account ACME with the line 1001 on the trunk t1, and what the texts add to each. `line`: ``column=value``
    cells."""
    cells = dict(cell.split("=") for cell in line.split(";") if cell)
    files = {
        "plans.toml": f'[plan.p]\nzone = "{zone}"\n{PLAN}{plan}\n',
        "accounts.toml": f'[account.ACME]\nplan = "p"\nmodality = "prepaid"\nopening = "10"\n{account}\n{more}\n',
        "lines.csv": ",".join(("line", "account", "endpoint", *cells)) + "\n"
        + ",".join(("1001", "ACME", "1001", *cells.values())) + "\n",
        "trunks.toml": f'[trunk.t1]\npattern = "PJSIP/t1-*"\n{trunk}\n',
        "switches.toml": "[switch.pbx1]\n",
        "decks/retail.csv": deck,
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return read_catalog(folder)


def attempt(
    number: str = FRANCE, *, leg: str = "l1", mode: Mode = Mode.WATCH, direction: Direction = Direction.OUT,
    endpoint: str = "1001", at_ms: int = NOON_MS, trunk: str | None = "t1",
) -> Attempted:  # fmt: skip
    return Attempted(
        leg=LegId(leg), call=CallId(leg), switch=SwitchId("pbx1"), mode=mode, direction=direction,
        payer=Payer(endpoint=endpoint), number=number, trunk=TrunkId(trunk) if trunk else None, caller="1001",
        at_ms=at_ms,
    )  # fmt: skip


def decide(snapshot: Snapshot, wanted: Attempted | None = None, *, at_ms: int = NOON_MS) -> Admitted | Rejected:
    return admit(snapshot, wanted or attempt(), SwitchRules(SwitchId("pbx1")), wall_ms=at_ms)
