"""Actions and those that are under way: the compiled ones and their twins do the same."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rater_native import actionbytes, amievent
from rater_native.amiframe import FrameParser

from rater.switch import sent as twins
from rater.switch.ami_parse import SELECTION
from rater.switch.frames import serialize

BOTH = pytest.mark.parametrize("kind", [twins, actionbytes], ids=["reference", "compiled"])
VALUES = st.text(max_size=24) | st.sampled_from(["PJSIP/1001-0000002f", "", "é", "a\nb", "x" * 992, "x" * 2000])


def _written(action: object) -> bytes | str:
    try:
        return serialize(action)  # type: ignore[arg-type]
    except ValueError as error:
        return str(error)


@given(st.lists(VALUES, min_size=1, max_size=3), VALUES, st.integers(0, 2**63 - 1))
def test_an_action_is_the_mapping_and_the_bytes_of_its_twin(values: list[str], prefix: str, number: int) -> None:
    names = ("Channel", "Variable", "Value")[: len(values)]
    one = actionbytes.made(actionbytes.shape("Setvar", names), prefix, number, *values)
    twin = twins.made(twins.shape("Setvar", names), prefix, number, *values)
    assert one == twin and dict(one) == twin and list(one) == list(twin) and len(one) == len(twin)
    assert one["ActionID"] == one.get("ActionID") == f"{prefix}-{number}" and one.get("Cause", "") == ""
    assert "Value" in one or len(values) < 3
    assert _written(one) == _written(twin)


def test_a_mapping_without_that_header_says_so() -> None:
    one = actionbytes.made(actionbytes.shape("Hangup", ("Channel",)), "a", 1, "x")
    with pytest.raises(KeyError, match="Cause"):
        one["Cause"]


@pytest.mark.parametrize("names", [(), ("A", "B", "C", "D"), ("A:",), ("A\r\n",), ("",)])
def test_no_shape_has_a_bad_name(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        actionbytes.shape("Setvar", names)


@pytest.mark.parametrize("ms", [0, 1, 9, 10, 999, 1000, 1234, 86_400_000, 2**62])
def test_a_span_is_written_in_seconds(ms: int) -> None:
    assert actionbytes.seconds_of(ms) == twins.seconds_of(ms)
    with pytest.raises(ValueError, match="no span"):
        actionbytes.seconds_of(-1 - ms)


@given(st.text(max_size=20), st.text(max_size=20))
def test_texts_differ_as_python_says(text: str, other: str) -> None:
    assert amievent.differ(text, other) == (text != other)
    assert not amievent.differ(text, "".join(text))
    assert amievent.differ(text + "a", text + "b") and amievent.differ(text, text + "a")


@BOTH
def test_what_was_sent_is_found_by_its_id_and_once(kind: ModuleType) -> None:
    sent, timer = kind.Sent(), kind.shape("AbsoluteTimeout", ("Channel", "Timeout"))
    sent.put([kind.made(timer, "a", number, "x", "1") for number in (1, 2, 12)], 100)
    sent.put([kind.made(timer, "b", 2, "x", "1"), {"Action": "Originate", "ActionID": "a-3"}], 200)
    assert len(sent) == 5
    for name in ("a-01", "a-", "a", "", "a-2 ", "a-99999999999999999999", "b-1", "a-1\0", "a-4"):
        assert sent.pop(name, None) is None
    assert sent.pop("a-2", None) == (100, "AbsoluteTimeout") and sent.pop("a-2", None) is None
    assert sent.pop("b-2", None) == (200, "AbsoluteTimeout")
    assert sent.overdue(150) == ["AbsoluteTimeout", "AbsoluteTimeout"] and len(sent) == 1
    assert sent.overdue(201) == ["Originate"] and len(sent) == 0
    sent.put([kind.made(timer, "a", 5, "x", "1")], 300)
    sent.clear()
    assert not len(sent) and sent.pop("a-5", None) is None


def test_success_takes_out_what_has_that_id() -> None:
    sent, hang_up = actionbytes.Sent(), actionbytes.shape("Hangup", ("Channel",))
    sent.put([actionbytes.made(hang_up, "a", number, "x") for number in (1, 2)], 100)
    parser = FrameParser(SELECTION, sent)
    assert parser.feed(b"Response: Success\r\nActionID: a-2\r\nMessage: Hungup\r\n\r\n") == []
    foreign = b"Response: Success\r\nActionID: a-02\r\n\r\n"
    assert [dict(frame) for frame in parser.feed(foreign)] == [{"Response": "Success", "ActionID": "a-02"}]
    assert len(sent) == 1 and sent.pop("a-1", None) == (100, "Hangup")
