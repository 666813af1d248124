"""What an event costs under another catalogue, event by event; and that the same catalogue changes nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.catalog.model import Rated, Refused
from rater.catalog.snapshot import Snapshot
from rater.ids import LineId, PlanId
from rater.money import MICRO, cumulative_micro
from rater.rerate.model import Numbers
from tests.catalog.support import FILES, catalog
from tests.rating.test_normalise_brazil import READ
from tests.rerate.support import BRAZIL, FRANCE, T0, event, outcomes, rerate

PARIS = ZoneInfo("Europe/Paris")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def ms(text: str, zone: ZoneInfo = PARIS) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


FRENCH = st.sampled_from(
    ["0145678901", "0612345678", "0033612345678", "+442079460000", "0012125551234", "0800123456", "3900",
     "900145678901", "+390612345678", "+4915112345678", "112", "+3310"]
)  # fmt: skip
BRAZILIAN = st.sampled_from([dialled for dialled, *_ in READ])
MOMENTS = st.integers(ms("2026-06-01"), ms("2027-06-01")) | st.sampled_from(
    [ms("2026-11-24T07:59:30"), ms("2026-11-24T18:59:59"), ms("2026-10-25T02:30"), ms("2027-03-28T01:59:30"),
     ms("2026-12-31T23:59:50"), ms("2026-11-24T20:59:30", SAO_PAULO), ms("2027-02-28T23:59:59", SAO_PAULO)]
)  # fmt: skip


@st.composite
def legs(draw: Any, catalogue: Snapshot, numbers: st.SearchStrategy[str]) -> dict[str, Any]:
    seconds = draw(st.integers(1, 200) | st.integers(1, 14_400))
    cuts = sorted(draw(st.lists(st.integers(0, seconds), max_size=4)))
    return {
        "plan": draw(st.sampled_from(sorted(catalogue.plans))),
        "dialled": draw(numbers),
        "seconds": seconds,
        "at_ms": draw(MOMENTS) + draw(st.integers(0, 1999)),
        "line": draw(st.sampled_from(["", *sorted(catalogue.lines)])),
        "allowances": list(zip(cuts[::2], cuts[1::2], strict=False)),
        "account": draw(st.sampled_from(["acme", "bob"])),
    }


def allowed(catalogue: Snapshot, leg: dict[str, Any]) -> bool:
    area = catalogue.lines[LineId(leg["line"])].area if leg["line"] else ""
    rated = catalogue.rate(PlanId(leg["plan"]), leg["dialled"], area=area, at_ms=leg["at_ms"])
    return isinstance(rated, Rated) and leg["seconds"] <= rated.quote.horizon_s


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("catalogue", [FRANCE, BRAZIL], ids=["france", "brazil"])
def test_the_same_catalogue_changes_nothing(catalogue: Snapshot, data: st.DataObject) -> None:
    numbers = FRENCH if catalogue is FRANCE else BRAZILIAN
    drawn = data.draw(st.lists(legs(catalogue, numbers), min_size=1, max_size=25))
    made = [event(catalogue, **leg, leg=f"pbx1.b.{i}") for i, leg in enumerate(drawn) if allowed(catalogue, leg)]
    if not made:
        return
    rerated = rerate(made, catalogue)
    assert rerated.priced.all(), outcomes(rerated)
    assert rerated.new_micro.tolist() == [one.amount_micro for one in made]
    assert rerated.new_billed_s.tolist() == rerated.events.billed_s.tolist()
    named = [i for i, outcome in enumerate(outcomes(rerated)) if outcome == "rerated"]
    assert [rerated.new_texts["class"][i].as_py() for i in named] == [made[i].class_ for i in named]
    assert [rerated.new_texts["prefix"][i].as_py() for i in named] == [made[i].prefix for i in named]
    assert [rerated.new_texts["number"][i].as_py() for i in named] == [made[i].number for i in named]


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize(("old", "new"), [("seconde", "bureau"), ("bureau", "forfait"), ("basico", "horario")])
def test_another_plan_prices_as_its_quotes_do(old: str, new: str, data: st.DataObject) -> None:
    catalogue, numbers = (BRAZIL, BRAZILIAN) if old == "basico" else (FRANCE, FRENCH)
    drawn = data.draw(st.lists(legs(catalogue, numbers), min_size=1, max_size=25))
    drawn = [leg | {"plan": old} for leg in drawn]
    drawn = [leg for leg in drawn if allowed(catalogue, leg)]
    if not drawn:
        return
    made = [event(catalogue, **leg, leg=f"pbx1.b.{i}") for i, leg in enumerate(drawn)]
    rerated = rerate(made, catalogue, {old: new})
    for i, (leg, outcome) in enumerate(zip(drawn, outcomes(rerated), strict=True)):
        if outcome in ("allowance", "emergency", "unanswered"):
            assert rerated.new_micro[i] == made[i].amount_micro
            continue
        area = catalogue.lines[LineId(leg["line"])].area if leg["line"] else ""
        rated = catalogue.rate(PlanId(new), leg["dialled"], area=area, at_ms=leg["at_ms"])
        if isinstance(rated, Refused):
            assert outcome == rated.reason.code
            assert rerated.new_micro[i] == 0
            continue
        assert outcome == "rerated"
        horizon_s = rated.quote.horizon_s
        expected = sum(
            cumulative_micro(rated.quote, min(piece.to_s, horizon_s))
            - cumulative_micro(rated.quote, min(piece.from_s, horizon_s))
            for piece in made[i].money
        )
        assert rerated.new_micro[i] == expected


@given(st.sampled_from(READ), st.sampled_from(["11", "21", "51"]))
def test_the_number_reached_reads_as_the_number_dialled(row: tuple[str, str, str], area: str) -> None:
    line = {"11": "2001", "21": "2101", "51": "2201"}[area]
    read = BRAZIL.plans[PlanId("basico")].dial_plan.read(row[0], area=area, at_ms=T0)
    again = [
        rerate([event(BRAZIL, "basico", row[0], 40, line=line)], BRAZIL, numbers=numbers)
        for numbers in Numbers
        if isinstance(BRAZIL.rate(PlanId("basico"), row[0], area=area, at_ms=T0), Rated)
    ]
    for rerated in again:
        assert rerated.new_micro[0] == rerated.events.amount_micro[0], read
        assert rerated.priced[0]


def dearer(**changes: Any) -> Snapshot:
    """The French catalogue with other terms for its plan `seconde`, at the prices of `bureau`."""
    plans = dict(FRANCE.content.plans)
    plans[PlanId("seconde")] = replace(plans[PlanId("bureau")], id=PlanId("seconde"), **changes)
    decks = {**FRANCE.content.plan_decks, PlanId("seconde"): FRANCE.content.plan_decks[PlanId("bureau")]}
    return Snapshot(replace(FRANCE.content, plans=plans, plan_decks=decks), FRANCE.decks, 2)


def test_money_pays_the_same_stretches_and_allowances_stay() -> None:
    """A connection fee lies in the first second: a leg that an allowance began does not pay it."""
    whole = event(dialled="0145678901", seconds=120)
    begun_free = event(dialled="0145678901", seconds=120, allowances=[(0, 60)], leg="pbx1.b.2")
    split = event(dialled="0145678901", seconds=180, allowances=[(60, 120)], leg="pbx1.b.3")
    rerated = rerate([whole, begun_free, split], dearer())
    minute = 10_800  # in peak hours; billed by the minute, rounded to cents as a whole
    assert rerated.new_micro.tolist() == [100_000, 10_000, 90_000 + 10_000]
    assert 80_000 + 2 * minute == 101_600
    assert rerated.new_billed_s.tolist() == [120, 60, 120]


def test_a_leg_longer_than_the_new_plan_allows_is_priced_up_to_there() -> None:
    rerated = rerate([event(seconds=500)], dearer(max_call_s=120))
    assert rerated.beyond_limit.tolist() == [True]
    assert rerated.new_micro[0] == rerate([event(seconds=120)], dearer()).new_micro[0]
    assert rerated.new_micro[0] < rerate([event(seconds=500)], dearer()).new_micro[0]


def test_what_no_tariff_prices_is_kept() -> None:
    made = [
        event(seconds=0, answered_at_ms=None, disposition="busy", leg="a"),
        event(dialled="112", leg="b"),
        event(dialled="0145678901", direction="in", leg="c"),
        event(seconds=30, allowances=[(0, 30)], leg="d"),
        event(seconds=30, leg="e"),
    ]
    rerated = rerate(made, dearer())
    assert outcomes(rerated) == ["unanswered", "emergency", "inbound", "allowance", "rerated"]
    assert rerated.new_micro.tolist()[:4] == [0, 0, 0, 0]
    assert rerated.priced.all()


def test_an_event_without_a_new_price_says_why() -> None:
    made = [
        event(plan="forfait", leg="a"),
        event(dialled="+8801712345678", leg="b"),
        event(dialled="+390612345678", leg="c"),
        event(leg="d"),
    ]
    only_mobiles = replace(
        FRANCE.content,
        plans={
            PlanId("seconde"): replace(
                FRANCE.content.plans[PlanId("seconde")],
                blocked_prefixes=("39",), blocked_classes=(made[1].class_, "satellite"),
            )
        },
    )  # fmt: skip
    rerated = rerate(made, Snapshot(only_mobiles, FRANCE.decks))
    assert outcomes(rerated) == ["no_plan", "blocked_destination", "blocked_destination", "rerated"]
    details = rerated.new_texts["detail"].to_pylist()
    assert details[0] == "the catalogue has no plan forfait"
    assert f"bars the class {made[1].class_}" in details[1]
    assert "begin with 39" in details[2]
    assert details[3] == ""
    assert rerated.priced.tolist() == [False, False, False, True]


def test_currencies_are_not_mixed() -> None:
    pounds = replace(FRANCE.content.plans[PlanId("seconde")], currency="GBP")
    content = replace(FRANCE.content, plans={**FRANCE.content.plans, PlanId("seconde"): pounds})
    rerated = rerate([event(), event(plan="forfait", leg="b")], Snapshot(content, FRANCE.decks))
    assert outcomes(rerated) == ["other_currency", "rerated"]
    assert rerated.new_micro[0] == 0


def test_a_number_that_needs_its_lines_area_needs_the_line() -> None:
    made = [event(BRAZIL, "basico", "33334444", 60, line="2101")]
    without = Snapshot(replace(BRAZIL.content, lines={}), BRAZIL.decks)
    assert outcomes(rerate(made, without)) == ["no_line"]
    french = [event(line="1001")]
    assert outcomes(rerate(french, Snapshot(replace(FRANCE.content, lines={}), FRANCE.decks))) == ["rerated"]


def test_versions_of_a_plan_hold_from_their_moment(tmp_path: Any) -> None:
    later = '\n[[plan.basic.version]]\nvalid_from = "2026-10-01"\ndeck = "decks/later.csv"\n'
    files = {"plans": FILES["plans.toml"] + later}
    (tmp_path / "decks").mkdir()
    (tmp_path / "decks/later.csv").write_text("prefix,destination,class,price\n33,France,fixed,0.60\n")
    versions = catalog(tmp_path, **files)
    before, after = ms("2026-09-30T23:59:59"), ms("2026-10-01T00:00:00")
    made = [
        event(versions, "basic", "33145678901", 60, at_ms=before, leg="a"),
        event(versions, "basic", "33145678901", 60, at_ms=after, leg="b"),
    ]
    rerated = rerate(made, versions)
    assert rerated.new_micro.tolist() == [20_000, 600_000]
    assert [one.amount_micro for one in made] == [20_000, 600_000]


def test_amounts_up_to_the_limit_add_up_exactly() -> None:
    from rater.rerate.tally import _grouped

    values = np.array([9_000_000_000_000_000] * 5000 + [1, 0, 7], np.int64)
    (total,) = _grouped(np.zeros(len(values), np.int32), 1, (values,))
    assert total == (45_000_000_000 * MICRO * 1000 + 8,)
