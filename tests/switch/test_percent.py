"""What the gate asks is read in its percent-encoding as it is read when that is undone."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rater_native import percent

from rater.switch.gate import arguments_of, question_hash

LINES = st.sampled_from(
    [
        "agi_request: async", "agi_threadid: 1", "agi_arg_1: +33", "agi_arg_2:in", "agi_arg_3:  x", "",
        "agi_arg_", "agi_arg_01: x", "agi_callerid: a:b", ":", "no colon", "agi_arg_10: x", "agi_arg_2: out\r",
        "agi_arg_1\0: y", "agi_arg_1:", "agi_calleridname: Renée", "agi_arg_1: é", "agi_arg_1: " + 200 * "1",
    ]
)  # fmt: skip
PIECES = st.sampled_from(
    ["%", "%4", "%41", "%C3%A9", "%c3", "%FF", "%0A", "%0a", "%%41", "%zz", "é", "a", "%3A", "\n"]
)


def _is_one_of(env: str) -> None:
    """What is read at once is right; None may also stand for a closer look."""
    read = percent.plain_arguments(env)
    assert read is None or read == arguments_of(unquote(env))


@given(st.lists(LINES | st.text(max_size=12), max_size=20), st.sampled_from(["", ":", " /+:"]))
def test_both_read_the_same_question(lines: list[str], left: str) -> None:
    _is_one_of(quote("\n".join(lines), safe=left))


@given(st.lists(PIECES | st.just("agi_threadid%3A1%0Aagi_arg_1%3A"), max_size=20).map("".join))
@example("agi_threadid%3A1%0Aagi_arg_1%3A%")
@example("agi_threadid%3A1%0Aagi_arg_1%3A%4")
def test_both_read_the_same_in_what_is_badly_encoded(env: str) -> None:
    _is_one_of(env)


@pytest.mark.parametrize("count", range(10))
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_plain_question_is_read_at_once(count: int, end: str) -> None:
    lines = ["agi_request: async", "agi_calleridname: Renée: 100 %", "agi_threadid: 1"]
    lines += [f"agi_arg_{number + 1}: +{number}" for number in range(count)]
    assert percent.plain_arguments(quote("\n".join(lines) + end, safe="")) == [f"+{n}" for n in range(count)]


@pytest.mark.parametrize("more", [0, 1])
def test_a_key_that_comes_twice_is_seen_among_many(more: int) -> None:
    lines = [f"agi_{number}: x" for number in range(percent.LINES - 1)] + ["agi_threadid: 1"]
    assert percent.plain_arguments(quote("\n".join(lines))) == []
    for number in range(0, percent.LINES - 1, 7):
        lines[-1] = f"agi_{number}: y"
        assert percent.plain_arguments(quote("\n".join(lines))) is None
    lines[-1] = "agi_threadid: 1\n" * more + "another: 1"
    assert (percent.plain_arguments(quote("\n".join(lines))) is None) == bool(more)


@given(st.text(max_size=20), st.text(max_size=40), st.text(max_size=20), st.text(max_size=40))
def test_a_question_is_told_from_another(stamp: str, env: str, other_stamp: str, other_env: str) -> None:
    for of in (question_hash, percent.question_hash):
        assert of(stamp, env) == of("".join(stamp), "".join(env))
        if stamp + env != other_stamp + other_env:
            assert of(stamp, env) != of(other_stamp, other_env)
