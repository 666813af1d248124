"""Answers of Redis, many in one read."""

from __future__ import annotations

import hiredis

from rater.charging.call import Call
from rater.charging.pipeline import ANSWERS_AT_ONCE, Pipeline

MANY = 2 * ANSWERS_AT_ONCE + 5


def test_what_answers_lead_to_is_not_held_back_until_the_last_of_very_many() -> None:
    handed: list[object] = []
    written_after: list[int] = []
    pipeline = Pipeline(1.0, lambda call, reply: handed.append(reply), lambda: written_after.append(len(handed)))
    pipeline._sent.extend(Call(b"") for _ in range(MANY))
    reader = hiredis.Reader()
    reader.feed(b"".join(b":%d\r\n" % number for number in range(MANY)))
    pipeline.answers(reader.gets)
    assert handed == list(range(MANY))
    assert written_after == [ANSWERS_AT_ONCE, 2 * ANSWERS_AT_ONCE, MANY]


def test_a_few_answers_lead_to_one_write() -> None:
    written: list[bool] = []
    pipeline = Pipeline(1.0, lambda call, reply: None, lambda: written.append(True))
    pipeline._sent.extend(Call(b"") for _ in range(ANSWERS_AT_ONCE))
    reader = hiredis.Reader()
    reader.feed(b":1\r\n" * ANSWERS_AT_ONCE)
    pipeline.answers(reader.gets)
    assert written == [True]
