"""Percent-encoding is undone as the standard library does it."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rater_native import percent

PIECES = st.sampled_from(["%", "%4", "%41", "%C3%A9", "%c3", "%FF", "%0A", "%%41", "%zz", "é", "a", "+", "x%3A"])


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_the_compiled_one_reads_as_the_standard_library(text: str) -> None:
    assert percent.unquote(text) == unquote(text)


@pytest.mark.parametrize("text", ["", "plain", "Renée: 100 %\n", "a\x00b", "%41"])
def test_what_was_encoded_comes_back(text: str) -> None:
    assert percent.unquote(quote(text)) == text
