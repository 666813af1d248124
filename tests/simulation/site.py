"""The telephone company that is simulated: catalogue files for the product, and the same facts as plain tables for
the auditor, who must not learn them from the product."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from rater.catalog.files import read_catalog
from rater.catalog.pieces import to_pieces
from rater.catalog.snapshot import Snapshot
from rater.ids import AccountId, Shard

MICRO = 1_000_000
EPOCH_S = ORDINARY_S = 1_790_000_000
"""When the simulated world begins: 2026-09-21 14:13:20 UTC, an afternoon like any other, or what `begin` chose."""
EDGES = (
    "2026-10-31T23:00", "2026-10-24T22:00", "2026-10-25T01:00", "2026-10-25T23:00", "2027-03-28T01:00",
    "2027-04-29T22:00", "2027-04-30T21:00", "2027-04-04T04:00",
)  # fmt: skip
"""Moments in UTC at which a cycle or a clock changes. In Paris: midnight at the end of a month, and at both ends of
the day of 25 hours; the hour that comes twice; the one that is left out. In Cairo: the midnight that is left out,
and the end of that day. In Santiago: midnight after the hour that came twice."""
AT_EDGES_FROM = 1000
WITH_HOURS_FROM = 5000
HOURS: frozenset[int] = frozenset()
"""The minutes of the local day to which the allowance of the plan `mixed` is bound in this world, as `begin` chose;
none: it is not bound."""
ZONES = {"money": "Europe/Paris", "minutes": "Africa/Cairo", "mixed": "America/Santiago"}
"""Of the plans."""
DAY_MINUTES = 1440
UNIT_MICRO = 10_000
"""Amounts are rounded to the cent, half up."""


@dataclass(frozen=True)
class Price:
    """What numbers that begin with `prefix` cost: `connect_micro` once, `per_minute_micro` by the second, counted
    first `first_s`, then in steps of `next_s`; nothing up to `free_s`."""

    prefix: str
    klass: str
    per_minute_micro: int
    connect_micro: int = 0
    first_s: int = 1
    next_s: int = 1
    free_s: int = 0

    def counted_s(self, seconds: int) -> int:
        if seconds <= self.free_s:
            return 0
        return self.first_s + max(0, -(-(seconds - self.first_s) // self.next_s)) * self.next_s

    def cost_micro(self, seconds: int) -> int:
        if seconds <= self.free_s:
            return 0
        exact = self.connect_micro + Fraction(self.per_minute_micro * self.counted_s(seconds), 60)
        return int((exact + UNIT_MICRO // 2) // UNIT_MICRO) * UNIT_MICRO


PRICES = (
    Price("33", "fixed", 600_000),
    Price("336", "mobile", 3_000_000, connect_micro=50_000, first_s=60, next_s=6),
    Price("55", "fixed", 450_000, first_s=30, next_s=6, free_s=3),
    Price("90", "mobile", 7_777_777, first_s=1, next_s=1),
    Price("800", "toll_free", 0),
)
NUMBERS = ("+33123456789", "+33612345678", "+551133334444", "+905321234567", "+80012345678")
EMERGENCY = "112"
SECOND_PRICES = {"33": 900_000, "55": 300_000}
"""What the second version of the catalogue charges a minute instead."""


@dataclass(frozen=True)
class Payer:
    """`floor_micro`: under which its balance may not fall. `allowance_s`: of its fixed calls, a day."""

    name: str
    plan: str
    modality: str
    opening_micro: int
    floor_micro: int = 0
    limit: int | None = None
    allowance_s: int = 0
    lines: tuple[str, ...] = ()
    line_limit: int | None = None


PAYERS = (
    Payer("rich", "money", "prepaid", 500 * MICRO, lines=("1001", "1002", "1003"), line_limit=2),
    Payer("thin", "money", "prepaid", 3 * MICRO, lines=("1011", "1012"), limit=4),
    Payer("poor", "money", "prepaid", MICRO // 2, lines=("1021",)),
    Payer("empty", "money", "prepaid", 0, lines=("1031",)),
    Payer("post", "money", "postpaid", 0, floor_micro=-5 * MICRO, lines=("1041", "1042"), limit=3),
    Payer("blocked", "minutes", "allowance", 0, allowance_s=300, lines=("1051", "1052")),
    Payer("credit", "mixed", "allowance", 2 * MICRO, allowance_s=120, lines=("1061",), line_limit=3),
)
MONEY_BELOW_MICRO = (1 * MICRO, MICRO // 4)
ALLOWANCE_PERCENT = (50, 100)
LINES = {line: payer for payer in PAYERS for line in payer.lines}


def code_of(line: str) -> str:
    """The account code of a line on switches that have any."""
    return f"ACC{line}"


def price_of(number: str, version: int) -> Price:
    digits = number.removeprefix("+")
    found = max((p for p in PRICES if digits.startswith(p.prefix)), key=lambda p: len(p.prefix))
    if version == 2 and found.prefix in SECOND_PRICES:
        return Price(found.prefix, found.klass, SECOND_PRICES[found.prefix], found.connect_micro, found.first_s,
                     found.next_s, found.free_s)  # fmt: skip
    return found


def begin(seed: int) -> None:
    """Choose when the world of a seed begins: from seed `AT_EDGES_FROM` on shortly before something changes."""
    global EPOCH_S, HOURS
    random = Random(f"when {seed}")
    EPOCH_S = ORDINARY_S
    if seed >= AT_EDGES_FROM:
        edge = dt.datetime.fromisoformat(random.choice(EDGES)).replace(tzinfo=dt.UTC)
        EPOCH_S = int(edge.timestamp()) - random.randrange(10, 100)
    hours: set[int] = set()
    if seed >= WITH_HOURS_FROM:
        first = _minute("mixed", EPOCH_S * 1000)
        hours = {(first + ahead) % DAY_MINUTES for ahead in range(60) if random.random() < 0.5}
    if hours != HOURS:
        HOURS = frozenset(hours)
        catalog.cache_clear()
        wire.cache_clear()


def is_open(plan: str, at_ms: int) -> bool:
    """Whether the allowance of a plan may be drawn on at a moment."""
    if not HOURS or plan != "mixed":
        return True
    return _minute(plan, at_ms) in HOURS


def _minute(plan: str, at_ms: int) -> int:
    local = dt.datetime.fromtimestamp(at_ms / 1000, ZoneInfo(ZONES[plan]))
    return local.hour * 60 + local.minute


def _band(plan: str) -> str:
    windows = ", ".join(
        f'{{ from = "{at // 60:02d}:{at % 60:02d}", to = "{(at + 1) // 60:02d}:{(at + 1) % 60:02d}" }}'
        for at in sorted(HOURS)
    )
    return f'[[plan.{plan}.band]]\nname = "open"\nwindows = [{windows}]\n'


@cache
def cycle_starts(plan: str, from_s: int, to_s: int) -> tuple[int, ...]:
    """When the days of a plan's zone began that overlap a span, found by looking at its clock second by second."""
    zone = ZoneInfo(ZONES[plan])

    def date(at_s: int) -> dt.date:
        return dt.datetime.fromtimestamp(at_s, zone).date()

    begun_s, step_s = from_s, 3600
    while step_s:
        while date(begun_s - step_s) == date(from_s):
            begun_s -= step_s
        step_s //= 60
    return (begun_s, *(at_s for at_s in range(from_s + 1, to_s) if date(at_s) != date(at_s - 1)))


def _decimal(micro: int) -> str:
    return f"{micro // MICRO}.{micro % MICRO:06d}"


def _plan(name: str, deck: int, extra: str) -> str:
    return (
        f'[plan.{name}]\ncurrency = "EUR"\nzone = "{ZONES[name]}"\ndial_plan = "e164"\ndeck = "decks/v{deck}.csv"\n'
        f"decimals = 2\n{extra}\n"
        f"thresholds = {{ money_below = {[_decimal(m) for m in MONEY_BELOW_MICRO]}, "
        f"allowance_percent = {list(ALLOWANCE_PERCENT)} }}\n"
    )


def _allowance(plan: str, seconds: int) -> str:
    return f'[[plan.{plan}.allowance]]\nid = "minutes"\nclasses = ["fixed"]\nseconds = {seconds}\ncycle = "daily"\n'


def write(folder: Path, version: int) -> Path:
    """The catalogue's files."""
    (folder / "decks").mkdir(parents=True)
    rows = ["prefix,destination,class,price,connect_fee,first,next,free_below"]
    rows += [
        f"{price.prefix},To {price.prefix},{price.klass},{_decimal(price.per_minute_micro)},"
        f"{_decimal(price.connect_micro)},{price.first_s},{price.next_s},{price.free_s}"
        for price in (price_of(p.prefix, version) for p in PRICES)
    ]
    (folder / f"decks/v{version}.csv").write_text("\n".join(rows) + "\n")
    seconds = {payer.plan: payer.allowance_s for payer in PAYERS if payer.allowance_s}
    (folder / "plans.toml").write_text(
        _plan("money", version, "")
        + _plan("minutes", version, 'when_exhausted = "block"')
        + _allowance("minutes", seconds["minutes"])
        + _plan("mixed", version, 'when_exhausted = "credit"')
        + (_band("mixed") if HOURS else "")
        + _allowance("mixed", seconds["mixed"])
        + ('hours = ["open"]\n' if HOURS else "")
    )
    accounts = [
        f'[account.{p.name}]\nplan = "{p.plan}"\nmodality = "{p.modality}"\n'
        + f'opening = "{_decimal(p.opening_micro)}"\n'
        + (f'credit_limit = "{_decimal(-p.floor_micro)}"\n' if p.modality == "postpaid" else "")
        + (f"limits = {{ both = {p.limit} }}\n" if p.limit is not None else "")
        for p in PAYERS
    ]
    (folder / "accounts.toml").write_text("".join(accounts))
    (folder / "trunks.toml").write_text('[trunk.carrier]\npattern = "PJSIP/carrier-*"\n')
    (folder / "switches.toml").write_text("[switch.pbx1]\n[switch.pbx2]\n")
    lines = [
        f"{line},{payer.name},{line},{code_of(line)},{'' if payer.line_limit is None else payer.line_limit}"
        for line, payer in LINES.items()
    ]
    (folder / "lines.csv").write_text("\n".join(["line,account,endpoint,account_code,limit", *lines]) + "\n")
    return folder


@cache
def catalog(version: int) -> Snapshot:
    """The product's reading of those files, placed in one shard."""
    with TemporaryDirectory() as folder:
        snapshot = read_catalog(write(Path(folder) / "catalog", version))
    return snapshot.placed(dict.fromkeys(snapshot.accounts, Shard(0)), version)


@cache
def wire(version: int) -> bytes:
    """That catalogue as it travels."""
    return b"".join(to_pieces(catalog(version)))


OPENINGS = {AccountId(payer.name): payer.opening_micro for payer in PAYERS}
