"""The night rule: stricter limits in the hours when nobody looks, by the plan's own clock."""

from __future__ import annotations

import datetime as dt
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater.admission import Admitted, Rejected
from rater.calls.signals import Direction
from rater.catalog.pieces import from_pieces, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.charging.terms import SpendCap, SpendWindow
from rater.errors import CatalogError
from rater.ids import LineId
from rater.limits.off_hours import holds, tighter
from rater.money import MAX_AMOUNT_MICRO, parse_amount
from rater.rating.bands import EVERY_DAY, Band, Window
from rater.rating.timeline import Timeline
from rater.verdict import Reason
from tests.limits.site import make
from tests.limits.support import FRANCE, KINGDOM, NOON_MS, PREMIUM, attempt, catalog, decide

PARIS = ZoneInfo("Europe/Paris")
NIGHT = 'off_hours = { windows = [{ from = "20:00", to = "07:00" }], '


def at(text: str, zone: ZoneInfo = PARIS) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


DAY_MS, NIGHT_MS = at("2026-09-22T12:00"), at("2026-09-22T23:30")


def leases(snapshot: Snapshot, at_ms: int, **how: object) -> dict[str, int]:
    decision = decide(snapshot, attempt(FRANCE, **how), at_ms=at_ms)  # type: ignore[arg-type]
    assert isinstance(decision, Admitted)
    return {lease.scope: lease.limit for lease in decision.leases if not lease.shadow}


def test_the_tighter_limit_counts_and_only_at_night(tmp_path: Path) -> None:
    snapshot = catalog(
        tmp_path,
        account=NIGHT + "both = 2, out = 5, classes = { fixed = 1 } }\nlimits = { both = 9, out = 3, in = 4 }",
    )
    assert leases(snapshot, DAY_MS) == {"account:ACME": 9, "account:ACME:out": 3}
    assert leases(snapshot, NIGHT_MS) == {
        "account:ACME": 2, "account:ACME:out": 3, "account:ACME:class:fixed": 1
    }  # fmt: skip
    assert leases(snapshot, NIGHT_MS, direction=Direction.IN) == {"account:ACME": 2, "account:ACME:in": 4}


def test_limits_in_shadow_leave_the_night_rule_alone(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, account=NIGHT + 'out = 5 }\nlimits = { out = 3, enforce = "shadow" }')
    assert leases(snapshot, DAY_MS) == {}
    assert leases(snapshot, NIGHT_MS) == {"account:ACME:out": 5}


def test_classes_and_prefixes_are_barred_at_night_and_the_denial_says_so(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, account=NIGHT + 'blocked_classes = ["premium"], blocked_prefixes = ["44"] }')
    assert isinstance(decide(snapshot, attempt(PREMIUM), at_ms=DAY_MS), Admitted)
    decision = decide(snapshot, attempt(PREMIUM), at_ms=NIGHT_MS)
    assert isinstance(decision, Rejected)
    assert decision.reason is Reason.BLOCKED_DESTINATION
    assert decision.facts.detail == "in off-hours the account ACME bars the class premium"
    emergency = decide(snapshot, attempt("112"), at_ms=NIGHT_MS)
    assert isinstance(emergency, Admitted)


def caps(snapshot: Snapshot, at_ms: int) -> dict[SpendWindow, int]:
    terms = snapshot.terms(snapshot.accounts[next(iter(snapshot.accounts))].id, "fixed", at_ms)
    assert all(isinstance(cap, SpendCap) and not cap.shadow for cap in terms.spend)
    return {cap.window: cap.limit_micro for cap in terms.spend}


def test_caps_are_tighter_at_night_and_what_is_spent_by_day_is_counted(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, account=NIGHT + 'spend_hour = "5", spend_day = "30" }\nspend = { day = "20" }')
    assert caps(snapshot, DAY_MS) == {
        SpendWindow.HOUR: MAX_AMOUNT_MICRO, SpendWindow.DAY: parse_amount("20")
    }  # fmt: skip
    assert caps(snapshot, NIGHT_MS) == {SpendWindow.HOUR: parse_amount("5"), SpendWindow.DAY: parse_amount("20")}


def test_the_hours_are_the_plans(tmp_path: Path) -> None:
    rule = NIGHT + "both = 1 }"
    paris = catalog(tmp_path / "a", account=rule)
    sao_paulo = catalog(tmp_path / "b", account=rule, zone="America/Sao_Paulo")
    moment = at("2026-09-22T21:00")  # 16:00 in São Paulo
    assert leases(paris, moment) == {"account:ACME": 1}
    assert leases(sao_paulo, moment) == {}


# -- of a line ---------------------------------------------------------------------------------------------------

RULE = '[off_hours.night]\nwindows = [{ from = "20:00", to = "07:00" }]\n'


def test_the_rule_of_a_line_is_its_own_and_holds_at_night_only(tmp_path: Path) -> None:
    rule = RULE + "both = 2\nout = 5\nin = 1\nclasses = { fixed = 1 }"
    snapshot = catalog(
        tmp_path, more=rule, account="limits = { both = 9 }", line="limit=4;limit_out=3;off_hours=night"
    )
    assert leases(snapshot, DAY_MS) == {"line:1001": 4, "line:1001:out": 3, "account:ACME": 9}
    assert leases(snapshot, NIGHT_MS) == {
        "line:1001": 2, "line:1001:out": 3, "line:1001:class:fixed": 1, "account:ACME": 9
    }  # fmt: skip
    assert leases(snapshot, NIGHT_MS, direction=Direction.IN) == {
        "line:1001": 2, "line:1001:in": 1, "account:ACME": 9
    }  # fmt: skip


def test_what_a_line_is_barred_at_night_is_told_with_its_name(tmp_path: Path) -> None:
    rule = RULE + 'blocked_classes = ["premium"]\nblocked_prefixes = ["44"]'
    snapshot = catalog(tmp_path, more=rule, line="off_hours=night")
    for number, detail in (
        (PREMIUM, "in off-hours the line 1001 bars the class premium"),
        (KINGDOM, "in off-hours the line 1001 bars numbers that begin with 44"),
    ):
        assert isinstance(decide(snapshot, attempt(number), at_ms=DAY_MS), Admitted)
        decision = decide(snapshot, attempt(number), at_ms=NIGHT_MS)
        assert isinstance(decision, Rejected)
        assert (decision.reason, decision.facts.detail) == (Reason.BLOCKED_DESTINATION, detail)
    assert isinstance(decide(snapshot, attempt("112"), at_ms=NIGHT_MS), Admitted)


def test_of_line_and_account_each_has_its_own(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, account=NIGHT + "out = 5 }", more=RULE + "out = 1", line="off_hours=night")
    assert leases(snapshot, NIGHT_MS) == {"line:1001:out": 1, "account:ACME:out": 5}


def test_the_hours_of_a_line_are_its_accounts_plans(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, more=RULE + "both = 1", line="off_hours=night", zone="America/Sao_Paulo")
    assert leases(snapshot, at("2026-09-22T21:00")) == {}
    assert leases(snapshot, at("2026-09-22T21:00", ZoneInfo("America/Sao_Paulo"))) == {"line:1001": 1}


def test_the_rule_of_a_line_survives_publication(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, more=RULE + "both = 1", line="off_hours=night")
    assert from_pieces(to_pieces(snapshot)).lines == snapshot.lines
    assert snapshot.lines[LineId("1001")].off_hours is not None


@pytest.mark.parametrize(
    ("rule", "place", "expected"),
    [
        (RULE + "both = 1", ("lines.csv", 2, 4), "unknown off-hours 'nihgt'"),
        ("", ("lines.csv", 2, 4), "unknown off-hours 'nihgt'"),
        (RULE + 'both = 1\nspend_hour = "5"', ("accounts.toml", 10, 14), "not of a line"),
        (RULE, ("accounts.toml", 7, 1), "off-hours that limit nothing"),
        ("[off_hours.night]\nboth = 1", ("accounts.toml", 7, 1), "off-hours without hours"),
        ("[off_hours.'a b']\nboth = 1", ("accounts.toml", 7, 1), "no name"),
    ],
)
def test_a_lines_rule_that_cannot_be_is_named_with_its_place(
    tmp_path: Path, rule: str, place: tuple[str, int, int], expected: str
) -> None:
    with pytest.raises(CatalogError, match=expected) as refused:
        catalog(tmp_path, more="\n" + rule, line="off_hours=nihgt")
    found = {(p.file, p.line, p.column): p.message for p in refused.value.problems}
    assert expected in found.get(place, ""), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("both = 1 }", "windows"),
        ('windows = [{ from = "25:00" }], both = 1 }', "a time such as"),
        ('windows = [{ from = "20:00", to = "07:00" }] }', "off-hours that limit nothing"),
        ('windows = [{ from = "20:00" }], blocked_classes = ["nope"] }', "nope"),
        ('windows = [{ from = "20:00" }], per_second = 1 }', "per_second"),
        ('windows = [{ holidays = "only", calendars = ["fr"] }], both = 1 }', "fr"),
    ],
)
def test_a_rule_that_cannot_be_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CatalogError, match=expected) as refused:
        catalog(tmp_path, account="off_hours = { " + text)
    assert all(problem.file == "accounts.toml" and problem.line for problem in refused.value.problems)


def test_a_rule_survives_publication(tmp_path: Path) -> None:
    snapshot = catalog(
        tmp_path, account='off_hours = { windows = [{ days = "sat,sun" }], both = 2, spend_hour = "1" }'
    )
    assert from_pieces(to_pieces(snapshot)).accounts == snapshot.accounts


_WINDOW = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439).map(lambda m: m * 60),
    st.integers(0, 1440).map(lambda m: m * 60),
)


@given(st.lists(_WINDOW, min_size=1, max_size=3), st.integers(at("2026-01-01T00:00"), at("2027-12-31T00:00")))
def test_hours_hold_as_a_band_of_the_same_windows_does(windows: list[Window], at_ms: int) -> None:
    """The timeline of rating, built otherwise, is the oracle; nights of the changed clock lie within."""
    at_ms -= at_ms % 1000
    edges = Timeline(PARIS, [Band("night", tuple(windows))], ["night"]).around(at_ms)
    place = edges.band[edges.at_s.searchsorted(at_ms // 1000, side="right") - 1]
    assert holds(windows, at_ms, PARIS) == (place == 0)


def test_every_day_and_limits_that_are_none() -> None:
    assert holds([Window(EVERY_DAY)], NOON_MS, PARIS)
    assert [tighter(None, None), tighter(1, None), tighter(None, 2), tighter(3, 2)] == [None, 1, 2, 2]


# -- an attack ---------------------------------------------------------------------------------------------------


def attacked(folder: Path, rule: str) -> tuple[int, int]:
    """A stolen line calls a premium number again and again, ten at a time, for half an hour: what it was charged,
    and how many legs were let through."""
    site = make(folder, account=rule + "\nlimits = { both = 10 }\n")
    names = count()
    for _ in range(30):
        for _ in range(10):
            site.call(attempt(PREMIUM, leg=f"x{next(names)}"), 55)
        site.run(60)
    charged = [record["amount_micro"] for record in site.records("rated")]
    return sum(charged), sum(amount_micro > 0 for amount_micro in charged)


def test_an_attack_in_off_hours_costs_at_most_the_cap(tmp_path: Path) -> None:
    window = 'windows = [{ from = "15:00", to = "17:00" }]'  # the site's clock begins at 16:13
    unguarded, _ = attacked(tmp_path / "a", "")
    guarded, _ = attacked(tmp_path / "b", f'off_hours = {{ {window}, spend_hour = "0.50", spend_day = "0.50" }}')
    barred, legs = attacked(tmp_path / "c", f'off_hours = {{ {window}, blocked_classes = ["premium"] }}')
    assert unguarded == parse_amount("10"), "all that was there"
    assert 0 < guarded <= parse_amount("0.50")
    assert (barred, legs) == (0, 0)


def test_at_night_a_line_has_one_call_of_a_class_and_by_day_two(tmp_path: Path) -> None:
    """Through the engine and the store: the slot of the night is taken, denied, freed, and no more asked for by
    day. The clock begins at 16:13."""
    rule = '[off_hours.night]\nwindows = [{ from = "16:00", to = "16:20" }]\nclasses = { fixed = 1 }\n'
    site = make(tmp_path, more=rule, line="limit=2;off_hours=night")
    names = count()

    def tries(number: str = FRANCE) -> int:
        """How many of three at once are let through, each lasting a minute."""
        began = [f"x{next(names)}" for _ in range(3)]
        for leg in began:
            site.call(attempt(number, leg=leg), 60)
        site.run(90)
        rated = {record["id"] for record in site.records("rated") if record["disposition"] == "answered"}
        return len(rated & set(began))

    assert tries() == 1
    assert tries(KINGDOM) == 2, "of another class"
    assert {record["reason"] for record in site.records("denied")} == {Reason.CLASS_LIMIT, Reason.LINE_LIMIT}
    site.run(300)
    assert tries() == 2
