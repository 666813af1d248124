"""A catalogue in files: a folder read as a whole, every fault in it found in one run.

    plans.toml      plans, dial plans, calendars       required
    accounts.toml   who pays
    trunks.toml     channel groups to the public network
    switches.toml   how each switch is read
    lines.csv       telephone lines
    decks/*.csv     prices

In a problem the column is a character's in a TOML file, a cell's in a CSV file.
Any other file there is a fault, since a misspelt name would silently mean nothing; only ``*.md`` and names that
begin with a dot or end in ``~`` are left alone.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from rater.catalog.classes import NEVER_IN_A_DECK
from rater.catalog.content import Content
from rater.catalog.model import Line, SwitchRules, Trunk
from rater.catalog.plan import Plan
from rater.catalog.pricing import ClassRowError, PricedPlan
from rater.catalog.read_accounts import Payers, read_accounts, read_switches, read_trunks
from rater.catalog.read_lines import read_lines
from rater.catalog.read_plans import read_plans
from rater.catalog.snapshot import Snapshot
from rater.catalog.table import Table
from rater.catalog.toml_places import TomlFile, read_toml
from rater.errors import CatalogError, InputError, Problem
from rater.ids import LineId, PlanId, SwitchId, TrunkId
from rater.rating.compiled import CompiledDeck
from rater.rating.deck import import_deck

KNOWN = ("plans.toml", "accounts.toml", "trunks.toml", "switches.toml", "lines.csv", "decks")
Progress = Callable[[str], None]
"""Told each file's name before it is read."""


def read_catalog(folder: Path, progress: Progress = lambda name: None) -> Snapshot:
    """The catalogue of a folder as version 0. Raises CatalogError with every problem found; changes nothing."""
    if not folder.is_dir():
        problem = Problem(str(folder), 0, 0, "there is no such folder", "a folder with plans.toml")
        raise CatalogError([problem])
    reader = _Folder(folder, progress)
    snapshot = reader.read()
    if snapshot is None or reader.problems:
        raise CatalogError(list(dict.fromkeys(reader.problems)))
    return snapshot


class _Folder:
    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self.problems: list[Problem] = []
        self.plans_are_good = False
        """Else what depends on their details is not looked at: it would only repeat their faults elsewhere."""

    def read(self) -> Snapshot | None:
        self._strangers()
        top = self._toml("plans.toml", required=True)
        if top is None:
            return None
        plans, classes, calendars = read_plans(top)
        self.plans_are_good = not any(problem.file == "plans.toml" for problem in self.problems)
        payers = Payers()
        switches: dict[SwitchId, SwitchRules] = {}
        trunks: dict[TrunkId, Trunk] = {}
        if (table := self._toml("accounts.toml")) is not None:
            payers = read_accounts(table, plans, classes, calendars)
        if (table := self._toml("switches.toml")) is not None:
            switches = read_switches(table)
        if (table := self._toml("trunks.toml")) is not None:
            trunks = read_trunks(table, switches)
        lines = self._lines(payers, plans, classes)
        decks, plan_decks = self._decks(plans, set(classes) - NEVER_IN_A_DECK)
        if self.problems:
            return None
        return Snapshot(
            Content(plans, plan_decks, payers.accounts, lines, trunks, switches, payers.resellers, payers.groups),
            tuple(decks),
        )

    def _strangers(self) -> None:
        for path in sorted(self.folder.iterdir()):
            name = path.name
            if name in KNOWN or name.startswith(".") or name.endswith((".md", "~")):
                continue
            near = difflib.get_close_matches(name, KNOWN, 1)
            expected = f"{near[0]}, perhaps" if near else "only " + ", ".join(KNOWN)
            self.problems.append(Problem(name, 0, 0, "no part of a catalogue has this name", expected))

    def _toml(self, name: str, *, required: bool = False) -> Table | None:
        path = self.folder / name
        if not path.exists():
            if required:
                self.problems.append(Problem(name, 0, 0, "the file is missing", "a file with at least one plan"))
            return None
        self.progress(name)
        file = read_toml(path, name)
        if isinstance(file, TomlFile):
            return Table(file, (), file.data, self.problems)
        self.problems.append(file)
        return None

    def _lines(self, payers: Payers, plans: dict[PlanId, Plan], classes: Sequence[str]) -> dict[LineId, Line]:
        path = self.folder / "lines.csv"
        if not path.exists():
            return {}
        self.progress("lines.csv")
        lines, problems = read_lines(path, "lines.csv", payers, plans if self.plans_are_good else {}, classes)
        self.problems += problems
        return lines

    def _decks(self, plans: dict[PlanId, Plan], classes: set[str]) -> tuple[list[CompiledDeck], dict[PlanId, int]]:
        """Each deck once for each zone, locale and set of bands that it is used with."""
        decks: list[CompiledDeck] = []
        places: dict[object, int | None] = {}
        plan_decks: dict[PlanId, int] = {}
        for plan in [version for first in plans.values() for version in first.versions]:
            if not plan.deck:
                continue
            key = (plan.deck, plan.zone, plan.locale, plan.bands)
            if key not in places:
                deck = self._deck(plan, classes)
                places[key] = len(decks) if deck is not None else None
                decks += [deck] if deck is not None else []
            place = places[key]
            if place is not None:
                plan_decks[plan.key] = place
                if self.plans_are_good:
                    self._fit(plan, decks[place])
        return decks, plan_decks

    def _deck(self, plan: Plan, classes: set[str]) -> CompiledDeck | None:
        path = self.folder / plan.deck
        if not _is_file(path):
            problem = Problem(plan.deck, 0, 0, f"the deck of the plan {plan.id!r} is missing", "a CSV file there")
            self.problems.append(problem)
            return None
        self.progress(plan.deck)
        deck = import_deck(path, zone=ZoneInfo(plan.zone), classes=classes, bands=plan.bands, locale=plan.locale)
        if isinstance(deck, CompiledDeck):
            return deck
        self.problems += _named(deck, plan.deck)
        return None

    def _fit(self, plan: Plan, deck: CompiledDeck) -> None:
        """Whether deck and plan fit together."""
        try:
            PricedPlan(replace(plan, later=()), [deck])
        except CatalogError as error:
            self.problems += _named(error.problems, plan.deck)
        except ClassRowError as error:
            line, column = _find_prefix(self.folder / plan.deck, error.prefix)
            self.problems.append(Problem(plan.deck, line, column, error.message, error.hint.rstrip(".")))
        except InputError as error:
            self.problems.append(
                Problem(plan.deck, 0, 0, error.message, error.hint.rstrip(".") or "a deck that fits")
            )


def _is_file(path: Path) -> bool:
    """False also for a name that is none to the system: too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _named(problems: Sequence[Problem], name: str) -> list[Problem]:
    """The problems with the file's name as the catalogue has it."""
    return [Problem(name, p.line, p.column, p.message, p.expected) for p in problems]


def _find_prefix(path: Path, prefix: str) -> tuple[int, int]:
    """Line and cell of the first row with that prefix."""
    text = path.read_text(encoding="utf-8-sig")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in text.split("\n", 1)[0] else ",")
    column = [name.strip().lower() for name in next(rows)].index("prefix")
    for row in rows:
        if len(row) > column and row[column].strip() == prefix:
            return rows.line_num, column + 1
    return 0, 0
