"""Percent-encoding is undone as the standard library does it."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rater_native import percent

from rater.switch.gate import arguments_of

PIECES = st.sampled_from(["%", "%4", "%41", "%C3%A9", "%c3", "%FF", "%0A", "%%41", "%zz", "é", "a", "+", "x%3A"])


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_the_compiled_one_reads_as_the_standard_library(text: str) -> None:
    assert percent.unquote(text) == unquote(text)


@pytest.mark.parametrize("text", ["", "plain", "Renée: 100 %\n", "a\x00b", "%41"])
def test_what_was_encoded_comes_back(text: str) -> None:
    assert percent.unquote(quote(text)) == text


LINES = st.sampled_from(
    [
        "agi_request: async", "agi_threadid: 1", "agi_arg_1: +33", "agi_arg_2:in", "agi_arg_3:  x", "",
        "agi_arg_", "agi_arg_01: x", "agi_callerid: a:b", ":", "no colon", "agi_arg_10: x", "agi_arg_2: out\r",
        "agi_arg_1\0: y", "agi_arg_1:",
    ]
)  # fmt: skip


@given(st.lists(LINES | st.text(st.characters(max_codepoint=127), max_size=12), max_size=percent.LINES // 2))
def test_both_read_the_same_question_in_it(lines: list[str]) -> None:
    text = "\n".join(lines)
    if text.count("\n") < percent.LINES:
        assert percent.arguments(text) == arguments_of(text)


@pytest.mark.parametrize("count", range(11))
def test_both_count_the_arguments(count: int) -> None:
    text = "agi_threadid: 1\n" + "".join(f"agi_arg_{number + 1}: {number}\n" for number in range(count))
    assert percent.arguments(text) == arguments_of(text) == [str(number) for number in range(count)]
