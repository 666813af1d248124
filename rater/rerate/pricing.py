"""The bulk of re-rating: stretches of seconds priced by the compiled kernel, thousands in one call.

Money that was taken for the seconds `a` to `b` of a leg is compared with C(b) − C(a) of the new price, C being the
price of a whole leg that long, begun at the same moment. What allowances paid stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rater.catalog.pricing import PricedPlan
from rater.catalog.snapshot import Snapshot
from rater.errors import InputError
from rater.ids import LineId, PlanId
from rater.rating.compiled import pack
from rater.rerate.checks import sums_by
from rater.rerate.model import PLACE, Events, Int64s, Numbers, Outcome, Rerated, distinct
from rater.rerate.numbers import ANY_CLASS, EMERGENCY_CLASS, NumberReader, Readings

_KEPT = np.int8(-1)
"""An event that has no outcome yet: it is to be priced."""
_NO_LINE = "the line, whose area it takes to read the number, is not in the catalogue"


class BulkPricer:
    """One plan's prices for many stretches at once."""

    def __init__(self, plan: PricedPlan) -> None:
        self.plan = plan
        self.deck = deck = plan.tariff.deck
        self._class_group = np.full(len(deck.classes) + 1, -1, np.int32)  # the last: a class not in the deck
        for name, prefix in plan.class_rows.items():
            group = int(np.searchsorted(deck.keys, np.uint64(pack(prefix))))
            self._class_group[deck.classes.index(name)] = group
        self.blocked = np.array([name in plan.plan.blocked_classes for name in deck.classes], np.bool_)

    def cost(
        self, key: npt.NDArray[np.uint64], at_ms: Int64s, seconds: Int64s,
        wanted: npt.NDArray[np.int16], otherwise: npt.NDArray[np.int16],
    ) -> tuple[Int64s, Int64s, npt.NDArray[np.int32]]:  # fmt: skip
        """Amounts, seconds billed and first rows (−1: no rate) of calls from their beginning to `seconds`."""
        pricer = self.plan.tariff.pricer
        try:
            amount, billed, row = pricer.cost_many(key, at_ms, seconds, wanted, self._class_group)
            again = np.flatnonzero((row < 0) & (otherwise != ANY_CLASS))
            if len(again):
                amount[again], billed[again], row[again] = pricer.cost_many(
                    np.zeros(len(again), np.uint64), at_ms[again], seconds[again], otherwise[again],
                    self._class_group,
                )  # fmt: skip
        except OverflowError as error:
            raise InputError(
                f"a price of the plan {self.plan.plan.id} leaves the exact range: {error}",
                hint="Look at its deck's prices: rater catalog check DIR.",
            ) from error
        return amount, billed.astype(np.int64), row


class Rerater:
    """Prices events under `catalog`. `plans`: the plan to use instead of one that an event names."""

    def __init__(
        self, catalog: Snapshot, plans: Mapping[str, str] | None = None, numbers: Numbers = Numbers.DIALLED
    ) -> None:
        self._catalog = catalog
        self._plans = plans or {}
        self._numbers = numbers
        self._pricers: dict[PricedPlan, tuple[BulkPricer, NumberReader]] = {}

    def rerate(self, events: Events) -> Rerated:
        """Every event with its outcome and, where it has one, its new price."""
        work = _Work(events)
        work.settle_unpaid()
        codes, names = events.codes("plan")
        for code, name in enumerate(names):
            self._one_plan(work, np.flatnonzero(codes == code), self._plans.get(name, name))
        return work.done()

    def _one_plan(self, work: _Work, rows: Int64s, name: str) -> None:
        """The events at `rows`, all of one plan."""
        work.note(rows, "plan", name)
        rows = rows[work.outcome[rows] == _KEPT]
        plan = self._catalog.plans.get(PlanId(name))
        if plan is None:
            work.end(rows, Outcome.NO_PLAN, f"the catalogue has no plan {name}")
            return
        later_ms = np.array([version.plan.valid_from_ms for version in plan.versions[1:]], np.int64)
        in_force = np.searchsorted(later_ms, work.events.rated_at_ms[rows], side="right")
        for version in np.unique(in_force).tolist():
            self._one_version(work, rows[in_force == version], plan.versions[version])

    def _one_version(self, work: _Work, rows: Int64s, plan: PricedPlan) -> None:
        """The events at `rows`, all of one version of a plan."""
        currency = plan.plan.currency
        rows = work.drop(
            rows, ~work.in_currency(rows, currency), Outcome.OTHER_CURRENCY, f"{plan.plan.id} is in {currency}"
        )
        if not len(rows):
            return
        if plan not in self._pricers:
            self._pricers[plan] = BulkPricer(plan), NumberReader(plan, self._numbers)
        pricer, reader = self._pricers[plan]
        areas, texts, known = self._areas(work.events, rows)
        if reader.needs_area:
            rows, areas = work.drop(rows, ~known, Outcome.NO_LINE, _NO_LINE), areas[known]
        if len(rows):
            codes, dialled = work.events.codes("dialled")
            reached_codes, reached = np.zeros_like(codes), [""]
            if self._numbers is Numbers.REACHED:
                reached_codes, reached = work.events.codes("number")
            readings = reader.read(
                (codes[rows], dialled),
                (reached_codes[rows], reached),
                (areas, texts),
                work.events.rated_at_ms[rows],
            )
            _price(work, rows, readings, pricer)

    def _areas(self, events: Events, rows: Int64s) -> tuple[Int64s, list[str], npt.NDArray[np.bool_]]:
        """The area of each event's line as a place in a list, and whether the line is known or none is named."""
        codes, names = events.codes("line")
        lines = [self._catalog.lines.get(LineId(name)) for name in names]
        texts = sorted({line.area for line in lines if line is not None} | {""})
        place = np.array([texts.index(line.area if line is not None else "") for line in lines], np.int64)
        known = np.array([line is not None or not name for line, name in zip(lines, names, strict=True)], np.bool_)
        return place[codes[rows]], texts, known[codes[rows]]


class _Work:
    """The answer to be, filled in plan by plan."""

    def __init__(self, events: Events) -> None:
        self.events = events
        count = len(events)
        self.outcome = np.full(count, _KEPT, np.int8)
        self.new_micro = np.zeros(count, np.int64)
        self.new_billed_s = np.zeros(count, np.int64)
        self.beyond_limit = np.zeros(count, np.bool_)
        self._texts: dict[str, list[tuple[Int64s, object]]] = {
            name: [] for name in ("plan", "number", "class", "prefix", "destination", "detail")
        }

    def settle_unpaid(self) -> None:
        """The events that no tariff prices: what was taken for them, mostly nothing, stays."""
        events = self.events
        codes, names = events.codes("direction")
        inbound = np.isin(codes, [code for code, name in enumerate(names) if name == "in"])
        paid = np.zeros(len(events), np.bool_)
        paid[events.piece_event] = True
        for outcome, which in (
            (Outcome.UNANSWERED, events.duration_s == 0),
            (Outcome.INBOUND, inbound),
            (Outcome.EMERGENCY, events.emergency),
            (Outcome.ALLOWANCE, ~paid),
        ):
            self.outcome[which & (self.outcome == _KEPT)] = PLACE[outcome]
        kept = self.outcome != _KEPT
        self.new_micro[kept] = events.amount_micro[kept]
        self.new_billed_s[kept] = events.billed_s[kept]

    def in_currency(self, rows: Int64s, currency: str) -> npt.NDArray[np.bool_]:
        codes, names = self.events.codes("currency")
        same = np.array([name == currency for name in names], np.bool_)
        return same[codes[rows]]

    def drop(self, rows: Int64s, which: npt.NDArray[np.bool_], outcome: Outcome, detail: str) -> Int64s:
        """The rows that go on when those at `which` end so."""
        self.end(rows[which], outcome, detail)
        return rows[~which]

    def end(self, rows: Int64s, outcome: Outcome, detail: str) -> None:
        self.outcome[rows] = PLACE[outcome]
        self.note(rows, "detail", detail)

    def note(self, rows: Int64s, name: str, text: object) -> None:
        """`text`: one for all rows, or an Arrow column with one for each."""
        if len(rows):
            self._texts[name].append((rows, text))

    def done(self) -> Rerated:
        texts = {name: _joined(parts, len(self.events)) for name, parts in self._texts.items()}
        return Rerated(self.events, self.outcome, self.new_micro, self.new_billed_s, self.beyond_limit, texts)


def _joined(parts: list[tuple[Int64s, object]], count: int) -> object:
    """One text column of parts, a later one over an earlier; empty where there is none."""
    columns = [pa.array([""], pa.string())]
    place = np.zeros(count, np.int64)
    at = 1
    for rows, text in parts:
        if isinstance(text, str):
            columns.append(pa.array([text], pa.string()))
            place[rows] = at
            at += 1
        else:
            columns.append(text)
            place[rows] = at + np.arange(len(rows))
            at += len(rows)
    return pa.concat_arrays(columns).take(pa.array(place))


def _price(work: _Work, rows: Int64s, readings: Readings, pricer: BulkPricer) -> None:
    """Events of one plan whose numbers were read."""
    work.outcome[rows] = readings.outcome
    work.note(rows, "number", readings.number)
    work.note(rows, "detail", readings.detail)
    emergency = readings.outcome == PLACE[Outcome.EMERGENCY]
    work.outcome[rows[emergency]] = PLACE[Outcome.RERATED]
    work.note(rows[emergency], "class", EMERGENCY_CLASS)
    priced = np.flatnonzero(readings.outcome == PLACE[Outcome.RERATED])
    row = _price_pieces(work, rows[priced], readings, priced, pricer)
    _name_rates(work, rows[priced], row, pricer)


def _price_pieces(
    work: _Work, rows: Int64s, readings: Readings, priced: Int64s, pricer: BulkPricer
) -> npt.NDArray[np.int32]:
    """Adds up what the money pieces of the events at `rows` cost; gives each event's first row, −1 for no rate.

    `priced`: where the events stand in `readings`.
    """
    events, limit_s = work.events, pricer.plan.plan.max_call_s
    place = np.full(len(events), -1, np.int64)
    place[rows] = np.arange(len(rows))
    pieces = np.flatnonzero(place[events.piece_event] >= 0)
    event = place[events.piece_event[pieces]]
    read = priced[event]

    def upto(seconds: Int64s, some: Int64s) -> tuple[Int64s, Int64s, npt.NDArray[np.int32]]:
        of = read[some]
        return pricer.cost(
            readings.key[of], events.rated_at_ms[rows][event[some]], np.minimum(seconds[some], limit_s),
            readings.wanted[of], readings.otherwise[of],
        )  # fmt: skip

    amount, billed, first_row = upto(events.piece_to_s[pieces], np.arange(len(pieces)))
    later = np.flatnonzero(events.piece_from_s[pieces] > 0)
    if len(later):
        before, billed_before, _ = upto(events.piece_from_s[pieces], later)
        amount[later] -= before
        billed[later] -= billed_before
    work.new_micro[rows] = sums_by(event, amount, len(rows))
    work.new_billed_s[rows] = sums_by(event, billed, len(rows))
    work.beyond_limit[rows] = events.duration_s[rows] > limit_s
    row = np.full(len(rows), -1, np.int32)
    row[event] = first_row
    return row


def _name_rates(work: _Work, rows: Int64s, row: npt.NDArray[np.int32], pricer: BulkPricer) -> None:
    """Class, prefix and destination of the rows that priced; what has no rate, or is barred by class."""
    deck, plan = pricer.deck, pricer.plan.plan
    found = row >= 0
    _withdraw(work, rows[~found], Outcome.NO_RATE, f"the plan {plan.id} has no rate in force for it")
    rows, row = rows[found], row[found]
    if not len(rows):
        return
    used, _, inverse = distinct(row)
    klass = deck.terms["class_"][deck.row_terms[used]]
    each = pa.array(inverse)
    work.note(rows, "class", pa.array([deck.classes[k] for k in klass], pa.string()).take(each))
    work.note(rows, "prefix", pa.array([deck.prefix(int(r)) for r in used], pa.string()).take(each))
    work.note(rows, "destination", pa.array([deck.destination(int(r)) for r in used], pa.string()).take(each))
    for k in np.unique(klass[pricer.blocked[klass]]):
        barred = rows[klass[inverse] == k]
        _withdraw(work, barred, Outcome.BLOCKED_DESTINATION, f"the plan {plan.id} bars the class {deck.classes[k]}")


def _withdraw(work: _Work, rows: Int64s, outcome: Outcome, detail: str) -> None:
    """Events that turn out to have no new price after all."""
    work.end(rows, outcome, detail)
    work.new_micro[rows] = 0
    work.new_billed_s[rows] = 0
