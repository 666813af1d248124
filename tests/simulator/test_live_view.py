"""The live view fills any terminal exactly and says what matters at every size."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from rater.commands.live_data import BalanceRow, EventRow, LiveState, Rates, Totals
from rater.commands.live_view import LiveView

AT_MS = 1_790_000_000_000


def call(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "leg": f"pbx1.t.{number}", "account": "ACME-LTDA", "line": f"10{number:02d}", "direction": "out",
        "number": "5511987654321", "destination": "Brazil, São Paulo mobile", "class": "mobile_local",
        "state": "talking", "talked_s": 40 + number, "cost": "0.1234", "currency": "BRL", "granted_s": 90,
        "seconds_left": 17, "last_slice": False, "paid_by": "money",
    }  # fmt: skip
    return {**row, **changes}


def event(kind: str = "rated", text: str = "answered", **changes: Any) -> EventRow:
    row: dict[str, Any] = {
        "at_ms": AT_MS, "kind": kind, "account": "ACME-LTDA", "line": "1001", "direction": "out",
        "number": "5511987654321", "destination": "São Paulo", "text": text, "duration_s": 63,
        "amount_micro": 372_000, "currency": "BRL", "cut": "",
    }  # fmt: skip
    return EventRow(**{**row, **changes})


def state(calls: int) -> LiveState:
    rows = [call(number) for number in range(calls)]
    rows[1:3] = [call(77, last_slice=True, seconds_left=4), call(78, state="ringing", talked_s=0)]
    totals = Totals(
        answered=41, unanswered=9, cut=3, denied=Counter(line_limit=4), charged_micro=Counter(BRL=5_250_000)
    )
    return LiveState(
        at_ms=AT_MS,
        watched_s=60.0,
        catalog_version=3,
        calls=rows,
        balances=[
            BalanceRow("PREPAID-1", "prepaid", "BRL", 120_000, 120_000, 0, None),
            BalanceRow("FRANQUIA", "allowance", "BRL", 0, 0, 5_000_000, 754),
            *(
                BalanceRow(f"ACCOUNT-{n:02d}", "postpaid", "BRL", -n * 10**6, 0, 90_000_000, None)
                for n in range(40)
            ),
        ],
        events=[
            event(cut="credit"),
            event(text="busy", duration_s=0, amount_micro=0),
            event(kind="threshold", text="balance under 5.00", line="", number=""),
            *(event() for _ in range(40)),
        ],
        denials=[event("denied", "insufficient_credit")] * 30,
        totals=totals,
        rates=Rates(ended=3.4, denied=0.5, charged_micro={"BRL": 71_666.7}),
    )


def drawn(shown: LiveState, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(LiveView(shown), end="")
    return captured.get().removesuffix("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (116, 40), (140, 40), (200, 60), (50, 16)])
def test_the_view_fills_the_terminal_exactly(width: int, height: int) -> None:
    lines = drawn(state(30), width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_what_matters_is_there_at_both_sizes(width: int, height: int) -> None:
    text = "\n".join(drawn(state(30), width, height))
    for wanted in (
        "29 talking", "1 ringing", "3.4 ended/s", "0.5 denied/s", "3 cut",
        "1000", "5511987654321", "0.1234", "0:40", "0:17", "rings",
        "insufficient credit", "PREPAID-1", "0.12", "cut: credit", "0.3720 BRL", "busy", "balance under 5.00",
        "41 answered", "5.2500 BRL",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_columns_are_whole_or_left_out() -> None:
    narrow, wide = drawn(state(30), 80, 24), drawn(state(30), 140, 40)
    assert not [line for line in narrow if "ACME-LTDA" in line and "1000" in line], "no account beside the call"
    assert [line for line in wide if "ACME-LTDA" in line and "1000" in line]
    assert [line for line in wide if "12:34" in line and "FRANQUIA" in line], "minutes of the allowance"


def test_more_calls_than_rows_are_counted() -> None:
    title = next(line for line in drawn(state(300), 80, 24) if "Calls" in line)
    assert "Calls  300" in title
    assert "more" in title


def test_an_idle_system_says_so() -> None:
    idle = LiveState(AT_MS, 1.0, None, [], [], [], [], Totals(), Rates(0.0, 0.0, {}))
    text = "\n".join(drawn(idle, 80, 24))
    for wanted in ("No calls at this moment.", "No account yet.", "None denied.", "No leg has ended yet."):
        assert wanted in text
