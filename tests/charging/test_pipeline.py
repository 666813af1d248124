"""Answers of Redis, many in one read, and more under way than Redis takes from one connection in a turn."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

import rater.charging.pipeline as pipeline_module
from rater.charging.call import Call
from rater.charging.pipeline import ANSWERS_AT_ONCE, BATCH, LANES, LOADED, Pipeline, Reading

MANY = 2 * ANSWERS_AT_ONCE + 5
HALF = b"x" * (BATCH // 2)


class Wire:
    """A transport that keeps what is written, or takes nothing any more."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing


class Wide(Pipeline):
    """Has as many connections as were opened; counts how often a further one was wanted."""

    def __init__(self, lanes: int) -> None:
        self.handed: list[tuple[Call, Any]] = []
        self.handed_at: list[int] = []
        self.wanted = 0
        Pipeline.__init__(
            self,
            1.0,
            lambda call, reply: self.handed.append((call, reply)),
            lambda: self.handed_at.append(len(self.handed)),
        )
        self.wires = [Wire() for _ in range(lanes)]
        for wire in self.wires:
            self.open(Reading(self), wire)  # type: ignore[arg-type]
        self.up = True

    def widen(self) -> None:
        self.wanted += 1

    def send(self, *calls: Call) -> None:
        for call in calls:
            self.queue(call)
        self.flush()

    def answer(self, lane: int, answers: int) -> None:
        reader = hiredis.Reader()
        reader.feed(b"".join(b":%d\r\n" % number for number in range(answers)))
        self.answers(self.lanes[lane], reader.gets)


def test_what_answers_lead_to_is_not_held_back_until_the_last_of_very_many() -> None:
    pipeline = Wide(1)
    pipeline.send(*(Call(b"") for _ in range(MANY)))
    pipeline.answer(0, MANY)
    assert [reply for _, reply in pipeline.handed] == list(range(MANY))
    assert pipeline.handed_at == [ANSWERS_AT_ONCE, 2 * ANSWERS_AT_ONCE, MANY]


def test_a_few_answers_lead_to_one_write() -> None:
    pipeline = Wide(1)
    pipeline.send(*(Call(b"") for _ in range(ANSWERS_AT_ONCE)))
    pipeline.answer(0, ANSWERS_AT_ONCE)
    assert pipeline.handed_at == [ANSWERS_AT_ONCE]


def test_an_answer_to_nothing_is_an_error() -> None:
    pipeline = Wide(1)
    pipeline.send(Call(b"one"))
    with pytest.raises(hiredis.ProtocolError):
        pipeline.answer(0, 2)


def test_what_goes_into_a_turn_goes_over_one_connection() -> None:
    pipeline = Wide(3)
    pipeline.send(Call(b"a", row=1), Call(b"b", row=2))
    pipeline.send(Call(b"c", row=3))
    assert [wire.written for wire in pipeline.wires] == [[b"ab", b"c"], [], []]
    assert not pipeline.wanted


def test_what_exceeds_a_turn_goes_over_the_next() -> None:
    pipeline = Wide(3)
    calls = [Call(HALF, row=row) for row in range(8)]
    pipeline.send(*calls)
    assert [call.lane for call in calls] == [0, 0, 1, 1, 2, 2, 0, 1]
    assert pipeline.wanted == 2
    pipeline.answer(1, 3)
    pipeline.send(late := Call(b"z", row=9))
    assert late.lane == 1


def test_a_row_keeps_its_order() -> None:
    pipeline = Wide(2)
    first, second, third = Call(HALF, row=5), Call(HALF, row=5), Call(b"z", row=5)
    pipeline.send(first, second, Call(HALF, row=6), third)
    assert [first.lane, second.lane, third.lane] == [0, 0, 0], "though the second connection has more room"
    pipeline.answer(0, 3)
    pipeline.send(Call(HALF, row=7), Call(HALF, row=8), again := Call(b"z", row=5))
    assert again.lane == 1, "nothing of the row was under way"


def test_no_more_connections_than_there_may_be() -> None:
    pipeline = Wide(LANES)
    pipeline.send(*(Call(HALF, row=row) for row in range(2 * LANES + 2)))
    assert not pipeline.wanted
    assert all(wire.written for wire in pipeline.wires)


def test_what_is_unanswered_when_they_break_is_sent_again_in_order() -> None:
    pipeline = Wide(2)
    calls = [Call(HALF, row=row) for row in range(4)] + [Call(b"z", row=1)]
    pipeline.send(*calls)
    pipeline.answer(1, 1)
    pipeline.queue(later := Call(b"later", row=1))
    readings = [lane.reading for lane in pipeline.lanes]
    pipeline.shut()
    assert [reading.lane for reading in readings] == [None, None]
    assert not pipeline.idle
    readings[0].data_received(b":7\r\n")
    assert len(pipeline.handed) == 1, "what an old connection still delivers is nobody's answer"

    wire = Wire()
    pipeline.open(Reading(pipeline), wire)  # type: ignore[arg-type]
    pipeline.up = True
    pipeline.flush()
    expected = [calls[0], calls[1], calls[4], calls[3], later]
    assert wire.written == [b"".join(call.data for call in expected)]
    pipeline.answer(0, 5)
    assert [call for call, _ in pipeline.handed[1:]] == expected
    assert pipeline.idle


class Timed(Wide):
    """One connection, its clock turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(pipeline_module, "monotonic", lambda: self.now_s)
        Wide.__init__(self, 1)

    def ask(self, calls: int) -> None:
        self.send(*(Call(b"") for _ in range(calls)))

    def read(self, times: int, answers: int, every_s: float) -> None:
        for _ in range(times):
            self.now_s += every_s
            self.answer(0, answers)


def test_how_long_an_answer_will_take_is_known_by_how_fast_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Timed(monkeypatch)
    pipeline.ask(1)
    pipeline.read(1, 1, every_s=0.05)
    assert pipeline.expected_wait_s(0) == 0.0, "a single one tells nothing"

    pipeline.ask(2000)
    pipeline.read(1, 1, every_s=1.0)
    pipeline.read(100, 10, every_s=0.01)
    assert pipeline.expected_wait_s(0) == pytest.approx(999 / 1000, rel=0.15), "a pause is no measure"
    pipeline.read(30, 30, every_s=0.01)
    assert pipeline.expected_wait_s(0) == pytest.approx(99 * 0.01 / 20, rel=0.3)
    pipeline.shut()
    pipeline.take_back()
    assert pipeline.expected_wait_s(0) == 0.0


def test_a_wrong_idea_of_how_long_it_takes_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes by it asks for less, and what little is asked for must not keep it."""
    pipeline = Timed(monkeypatch)
    pipeline.ask(LOADED + 100)
    pipeline.read(100, 1, every_s=0.05)
    assert pipeline.expected_wait_s(0) == pytest.approx(LOADED * 0.05, rel=0.01)
    pipeline.read(1, 1, every_s=0.05)
    assert pipeline.expected_wait_s(0) == 0.0, "few wait"
    pipeline.ask(LOADED)
    for _ in range(20):
        pipeline.read(1, 10, every_s=0.01)
        pipeline.ask(10)
    assert pipeline.expected_wait_s(0) < LOADED * 0.02
    pipeline.now_s += 3.0
    assert pipeline.expected_wait_s(0) == 0.0, "that was long ago"


def test_a_connection_that_is_being_closed_is_written_nothing_and_loses_nothing() -> None:
    pipeline = Wide(1)
    pipeline.wires[0].closing = True
    call = Call(b"one")
    pipeline.send(call)
    pipeline.shut()
    assert pipeline.take_back() == [call]
    assert pipeline.idle
