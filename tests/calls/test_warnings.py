"""Warnings before a cut, and what the dialplan is told of it: the session alone, its wake-ups followed."""

from __future__ import annotations

import dataclasses

import pytest

from rater.calls.commands import AnnounceEnd, Command, ExtendSlice, WakeAt, Warn
from rater.calls.session import Session
from rater.calls.signals import Answered, Due, Extended, Mode, MoneyArrived, Reserved
from rater.events.rated import LegFacts
from rater.verdict import Reason
from tests.calls.test_session import LEG, T0, dialled, facts


class Call:
    """A call with so many seconds of money, in slices as the store gives them; the clock jumps."""

    def __init__(
        self, money_s: int, *, first_s: int = 90, long_s: int = 120, warn_s: tuple[int, ...] = (60, 10),
        leg: LegFacts | None = None,
    ) -> None:  # fmt: skip
        self.money_s, self.long_s = money_s, long_s
        self.told: list[tuple[float, Command]] = []
        self.session = Session(leg or facts(), mode=Mode.GATE, horizon_s=3600, warn_s=warn_s)
        self.now_ms = self.wake_ms = T0
        self.session.begin(T0)
        granted = min(first_s, money_s)
        self._take(self.session.handle(Reserved(LEG, Reason.ALLOWED, granted, granted == money_s), T0))
        self._take(self.session.handle(dialled(T0), T0))
        self._take(self.session.handle(Answered(LEG, T0), T0))

    def _take(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case WakeAt():
                    self.wake_ms = command.at_ms
                case Warn() | AnnounceEnd():
                    self.told.append(((self.now_ms - T0) / 1000, command))
        for command in commands:
            if isinstance(command, ExtendSlice):
                self._extend(command.elapsed_s)

    def _extend(self, elapsed_s: int) -> None:
        """Like the store: plenty while there is, near the end half of what is left, but at least two seconds."""
        granted = self.session.granted_s
        left = self.money_s - granted
        goal = max(granted, min(elapsed_s + self.long_s, granted + max(left // 2, min(2, left))))
        self._take(self.session.handle(Extended(LEG, goal, goal == self.money_s), self.now_ms))

    def run(self, until_s: float) -> Call:
        for _ in range(2000):
            if self.wake_ms > T0 + until_s * 1000:
                break
            self.now_ms = self.wake_ms
            self._take(self.session.handle(Due(LEG), self.now_ms))
        else:
            pytest.fail("it wakes without end")
        self.now_ms = T0 + int(until_s * 1000)
        return self

    @property
    def warnings(self) -> list[tuple[float, int]]:
        return [(at_s, command.seconds) for at_s, command in self.told if isinstance(command, Warn)]

    @property
    def ends(self) -> list[tuple[float, str, int]]:
        found = [(at_s, c) for at_s, c in self.told if isinstance(c, AnnounceEnd)]
        return [(at_s, c.cut, (c.at_ms - T0) // 1000 if c.cut else 0) for at_s, c in found]


@pytest.mark.parametrize("money_s", [61, 75, 90, 100, 200, 333, 1000])
def test_each_span_before_the_end_is_told_once_and_on_time(money_s: int) -> None:
    call = Call(money_s).run(money_s - 0.5)
    assert [seconds for _, seconds in call.warnings] == [60, 10]
    for at_s, seconds in call.warnings:
        assert at_s == pytest.approx(money_s - seconds, abs=0.6)


@pytest.mark.parametrize("money_s", [61, 100, 1000])
def test_the_dialplan_learns_of_the_end_as_soon_as_it_is_certain(money_s: int) -> None:
    call = Call(money_s).run(money_s - 0.5)
    ((at_s, cut, end_s),) = call.ends
    assert (cut, end_s) == ("credit", money_s)
    assert at_s < money_s - 59


def test_with_money_enough_nothing_is_told_and_it_wakes_seldom() -> None:
    call = Call(3600 * 24)
    wakes = 0
    while call.now_ms < T0 + 1_800_000:
        call.run((call.wake_ms - T0) / 1000)
        wakes += 1
    assert not call.told
    assert wakes < 1800 / 40


def test_a_call_that_is_short_from_the_start_is_warned_only_of_what_lies_ahead() -> None:
    assert [seconds for _, seconds in Call(30).run(29).warnings] == [10]
    assert not Call(8).run(7).warnings
    assert not Call(100, warn_s=()).run(99).warnings


def test_an_end_that_moves_away_is_told_anew() -> None:
    call = Call(70).run(65)
    assert [seconds for _, seconds in call.warnings] == [60, 10]
    call.money_s = 170
    call._take(call.session.handle(MoneyArrived(LEG), call.now_ms))
    call.run(169)
    assert [seconds for _, seconds in call.warnings] == [60, 10, 60, 10]
    assert call.warnings[2][0] == pytest.approx(110, abs=0.6)
    assert [cut for _, cut, _ in call.ends] == ["credit", "", "credit"]


def test_the_longest_call_is_warned_of_its_end_too() -> None:
    call = Call(3600, first_s=3600).run(3599)
    assert [seconds for _, seconds in call.warnings] == [60, 10]
    assert [cut for _, cut, _ in call.ends] == ["max_length"]


@pytest.mark.parametrize(
    "leg", [facts("in"), dataclasses.replace(facts(), emergency=True)], ids=["in", "emergency"]
)
def test_nobody_is_warned_of_what_costs_nothing(leg: LegFacts) -> None:
    assert not Call(3600, first_s=3600, leg=leg).run(3599).told


def test_a_daemon_that_takes_over_warns_rather_twice_than_never() -> None:
    session = Session(facts(), mode=Mode.GATE, horizon_s=3600, warn_s=(60, 10))
    session.facts.dialled_at_ms = T0
    session.resume(granted_s=100, final=True, answered_at_ms=T0, seen_at_ms=T0 + 50_000)
    assert Warn(LEG, 60) in session.handle(Due(LEG), T0 + 55_000)
    assert not [c for c in session.handle(Due(LEG), T0 + 55_000) if isinstance(c, Warn)]
