"""The frame parser: one table over both implementations, and both against each other on broken input."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rater_native import amiframe

from rater.errors import ConfigError
from rater.switch import ami_parse, frames
from rater.switch.ami_parse import FRAME_LIMIT, LINE_LIMIT, SELECTION, TAMPERED
from rater.switch.frames import Parser, frame_parser
from tests.switch.support import capture_bytes, capture_names

MAKERS: dict[str, Callable[[], Parser]] = {
    "reference": ami_parse.FrameParser,
    "compiled": lambda: amiframe.FrameParser(SELECTION),
}
COUNTERS = ("banner", "frames", "unknown", "garbage", "tampered", "oversized", "pending_bytes")
HANGUP = b"Event: Hangup\r\nChannel: PJSIP/1-2\r\nUniqueid: 5.5\r\nCause: 16\r\n\r\n"
HUNG_UP = {"Event": "Hangup", "Channel": "PJSIP/1-2", "Uniqueid": "5.5", "Cause": "16"}
SAMPLE = (
    b"Asterisk Call Manager/11.0.0\r\n"
    b"Response: Success\r\nActionID: a-1\r\nMessage: Authentication accepted\r\n\r\n"
    b"Event: FullyBooted\r\nPrivilege: system,all\r\nTimestamp: 1795.5\r\nUptime: 73\r\n\r\n"
    b"Event: VarSet\r\nChannel: x\r\nVariable: y\r\n\r\n"
    b"Event: DialBegin\r\nChannel: PJSIP/1-2\r\nChanVariable: A=1\r\nChanVariable: B=2\r\nDestUniqueid: 1.2\r\n\n"
    b"nonsense\r\nmore of it\r\n\r\n" + HANGUP
)


@pytest.fixture(params=MAKERS)
def parser(request: pytest.FixtureRequest) -> Parser:
    return MAKERS[request.param]()


def outcome(parser: Parser, pieces: list[bytes]) -> tuple[list[dict[str, str]], list[object]]:
    got = [frame for piece in pieces for frame in parser.feed(piece)]
    return got, [getattr(parser, name) for name in COUNTERS]


def test_a_stream_becomes_frames(parser: Parser):
    got = parser.feed(SAMPLE)
    assert got == [
        {"Response": "Success", "ActionID": "a-1", "Message": "Authentication accepted"},
        {"Event": "FullyBooted", "Timestamp": "1795.5", "Uptime": "73"},
        {"Event": "DialBegin", "Channel": "PJSIP/1-2", "ChanVariable": "A=1\nB=2", "DestUniqueid": "1.2"},
        HUNG_UP,
    ]
    assert (parser.banner, parser.frames, parser.unknown, parser.garbage) == ("11.0.0", 4, 1, 1)


def test_5_split_at_every_byte(parser: Parser):
    whole = outcome(parser, [SAMPLE])
    for name in MAKERS:
        for cut in range(len(SAMPLE) + 1):
            assert outcome(MAKERS[name](), [SAMPLE[:cut], SAMPLE[cut:]]) == whole


@pytest.mark.parametrize("name", capture_names())
def test_5_a_capture_byte_by_byte(name: str):
    data = capture_bytes(name)
    whole = outcome(MAKERS["reference"](), [data])
    assert whole[0]
    for make in MAKERS.values():
        assert outcome(make(), [data[i : i + 1] for i in range(len(data))]) == whole


@pytest.mark.parametrize("name", ["gate", "forward_optimised"])
def test_5_a_capture_in_random_pieces(name: str):
    data = capture_bytes(name)
    whole = outcome(MAKERS["reference"](), [data])
    dice = random.Random(5)
    for _ in range(20):
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(40)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for make in MAKERS.values():
            assert outcome(make(), pieces) == whole


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n\n", b"\n\n", b"\n\r\n"])
def test_7_blocks_end_in_any_empty_line(parser: Parser, end: bytes):
    assert parser.feed(HANGUP.removesuffix(b"\r\n\r\n") + end + HANGUP) == [HUNG_UP, HUNG_UP]


def test_empty_lines_between_blocks_mean_nothing(parser: Parser):
    assert parser.feed(b"\r\n\r\n\n" + HANGUP + b"\r\n\r\n" + HANGUP) == [HUNG_UP, HUNG_UP]
    assert parser.garbage == 0


def test_6_a_line_without_end_is_dropped_and_reading_goes_on(parser: Parser):
    for _ in range(100):
        assert parser.feed(b"Event: Newchannel\r\nChannel: " if parser.pending_bytes == 0 else b"x" * 10_000) == []
        assert parser.pending_bytes <= LINE_LIMIT
    assert parser.oversized == 1
    assert parser.feed(b"\r\nUniqueid: 1.1\r\n\r\n" + HANGUP) == [HUNG_UP]
    assert parser.oversized == 1


@pytest.mark.parametrize("length", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, LINE_LIMIT + 2])
def test_6_the_limit_does_not_depend_on_how_the_line_arrives(length: int):
    line = b"Channel: " + b"x" * (length - 9)
    data = b"Event: Newchannel\r\n" + line + b"\nUniqueid: 1.1\r\n\r\n" + HANGUP
    whole = outcome(MAKERS["reference"](), [data])
    assert len(whole[0]) == (2 if length <= LINE_LIMIT else 1)
    for make in MAKERS.values():
        for size in (1000, LINE_LIMIT, LINE_LIMIT + 20, len(data)):
            assert outcome(make(), [data[i : i + size] for i in range(0, len(data), size)]) == whole


def test_6_a_frame_without_end_is_dropped(parser: Parser):
    line = b"Output: " + b"x" * 1000 + b"\r\n"
    parser.feed(b"Response: Success\r\n")
    for _ in range(FRAME_LIMIT // len(line) + 10):
        assert parser.feed(line) == []
    assert parser.oversized == 1
    assert parser.feed(b"\r\n" + HANGUP) == [HUNG_UP]


def test_6_an_event_that_is_skipped_has_no_limit_of_its_own(parser: Parser):
    assert parser.feed(b"Event: VarSet\r\n" + b"Value: y\r\n" * 40_000 + b"\r\n" + HANGUP) == [HUNG_UP]
    assert (parser.oversized, parser.unknown) == (0, 1)


@pytest.mark.parametrize(
    "block",
    [
        b"\0\0\0\0\r\n",
        b"Channel: PJSIP/1-2\r\nEvent: Hangup\r\n",
        b"\xff\xfe\xfd: x\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b":\r\n",
        b"event: Hangup\r\n",
    ],
)
def test_7_garbage_is_dropped_and_counted(parser: Parser, block: bytes):
    assert parser.feed(block + b"\r\n" + HANGUP) == [HUNG_UP]
    assert parser.garbage == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"Channel: PJSIP/9-9", "a header comes twice: Channel"),
        (b"Event: Newstate", "a header comes twice: Event"),
        (b"no colon here", "a line without a colon"),
        (b"Context: a\0b", "a NUL in a line"),
    ],
)
def test_8_what_a_line_break_in_a_value_would_make_is_marked(parser: Parser, line: bytes, why: str):
    [frame, clean] = parser.feed(HANGUP.removesuffix(b"\r\n") + line + b"\r\n\r\n" + HANGUP)
    assert frame == HUNG_UP | {TAMPERED: why}
    assert clean == HUNG_UP
    assert parser.tampered == 1


def test_headers_that_nobody_reads_may_repeat(parser: Parser):
    [frame] = parser.feed(HANGUP.removesuffix(b"\r\n") + b"Context: a\r\nContext: b\r\n\r\n")
    assert frame == HUNG_UP


def test_7_bad_utf_8_harms_its_own_value_only(parser: Parser):
    [frame] = parser.feed(
        b"Event: Newstate\r\nCallerIDNum: M\xfcller\r\nAccountCode: caf\xc3\xa9\r\nExten: 1\r\n\r\n"
    )
    assert frame == {"Event": "Newstate", "CallerIDNum": "M\ufffdller", "AccountCode": "café", "Exten": "1"}


def test_values_keep_their_colons_and_inner_spaces(parser: Parser):
    [frame] = parser.feed(
        b"Event: DialBegin\r\nDialString: trunk/sip:1@h:5060\r\nExten:7\r\nAccountCode:  a b \r\n\r\n"
    )
    assert frame == {"Event": "DialBegin", "DialString": "trunk/sip:1@h:5060", "Exten": "7", "AccountCode": " a b "}


def test_channel_variables_in_the_old_style(parser: Parser):
    [frame] = parser.feed(
        b"Event: DialBegin\r\nChanVariable(PJSIP/1-2): A=1\r\nChanVariable(PJSIP/1-2): B=2\r\n"
        b"ChanVariable(PJSIP/t-3): A=3\r\n\r\n"
    )
    assert frame == {
        "Event": "DialBegin",
        "ChanVariable(PJSIP/1-2)": "A=1\nB=2",
        "ChanVariable(PJSIP/t-3)": "A=3",
    }


def test_the_output_of_a_command(parser: Parser):
    [frame] = parser.feed(
        b"Response: Success\r\nMessage: Command output follows\r\nOutput: a: b\r\nOutput: c\r\n\r\n"
    )
    assert frame == {"Response": "Success", "Message": "Command output follows", "Output": "a: b\nc"}


@pytest.mark.parametrize("end", [b"--END COMMAND--\r\n\r\n", b"\n--END COMMAND--\r\n\r\n"])
def test_the_output_of_a_command_as_it_was_before_asterisk_14(parser: Parser, end: bytes):
    data = b"Response: Follows\r\nPrivilege: Command\r\nActionID: 7\r\nName: x\n\nno colon" + end + HANGUP
    assert parser.feed(data) == [
        {"Response": "Follows", "Privilege": "Command", "ActionID": "7", "Output": "Name: x\n\nno colon"},
        HUNG_UP,
    ]


def test_both_know_the_same_rules():
    assert (amiframe.LINE_LIMIT, amiframe.FRAME_LIMIT) == (ami_parse.LINE_LIMIT, ami_parse.FRAME_LIMIT)
    assert (amiframe.TAMPERED, amiframe.REPEATABLE) == (ami_parse.TAMPERED, ami_parse.REPEATABLE)


@pytest.mark.parametrize("make", [ami_parse.FrameParser, amiframe.FrameParser])
def test_success_of_what_was_sent_is_noted_and_nothing_else_is_swallowed(make: Callable[..., Parser]):
    sent = {"a-1": "x", "a-2": "y", "a-3": "z"}
    parser = make(SELECTION, sent)
    refused = {"Response": "Error", "ActionID": "a-2", "Message": "No such channel"}
    foreign = {"Response": "Success", "ActionID": "b-1"}
    nameless = {"Response": "Success", "Message": "hello"}
    stream = b"Response: Success\r\nActionID: a-1\r\nMessage: Variable Set\r\n\r\n" + b"".join(
        b"".join(f"{key}: {value}\r\n".encode() for key, value in answer.items()) + b"\r\n"
        for answer in (refused, foreign, nameless)
    )
    assert parser.feed(stream) == [refused, foreign, nameless]
    assert sent == {"a-2": "y", "a-3": "z"}
    assert parser.frames == 4


_ANSWER_LINES = st.sampled_from(
    [
        b"Response: Success\r\n", b"Response: Success\n", b"Response:Success\r\n", b"Response: Success \r\n",
        b"Response: Error\r\n", b"ActionID: a-1\r\n", b"ActionID: a-2\r\n", b"ActionID:a-2\n", b"Message: Set\r\n",
        b"Message: \0\r\n", b"ActionID: \xff\r\n", b"no colon\r\n", b"Value: x\r\n", b"\r\n", b"\r\n", b"\n", b"\r",
        b"Message: " + b"m" * 1200 + b"\r\n", HANGUP,
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_ANSWER_LINES, max_size=24), st.integers(1, 300))
def test_both_take_the_same_answers_for_success(lines: list[bytes], size: int):
    data = b"".join(lines) + b"\r\n\r\n" + HANGUP
    results = []
    for make in (ami_parse.FrameParser, amiframe.FrameParser):
        for pieces in ([data], [data[i : i + size] for i in range(0, len(data), size)]):
            sent = dict.fromkeys(("a-1", "a-2", "\ufffd"), 1)
            parser = make(SELECTION, sent)
            results.append((outcome(parser, pieces), parser.answers, sent))
    assert results[0] == results[1] == results[2] == results[3]


def test_texts_that_come_again_are_the_same_object():
    frames = amiframe.FrameParser(SELECTION).feed(HANGUP + HANGUP)
    assert frames[0]["Channel"] is frames[1]["Channel"]
    assert frames[0] == frames[1] == HUNG_UP


@pytest.mark.parametrize("stamp", [b"1795479963.128699", b"", b"x" * 24, b"y" * 25, b"\xe9"])
def test_a_timestamp_is_told_as_it_came(parser: Parser, stamp: bytes):
    [frame] = parser.feed(b"Event: Hangup\r\nTimestamp: " + stamp + b"\r\nUniqueid: 1.1\r\n\r\n")
    for _ in range(2):
        assert frame["Timestamp"] == stamp.decode(errors="replace")
    assert list(frame) == ["Event", "Timestamp", "Uniqueid"]


_TOKENS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n\n", b":", b": ", b" ", b"\0", b"\xff", b"Event: ", b"Hangup",
        b"Event: Hangup\r\n", b"Event: DialBegin\r\n", b"Response: Success\r\n", b"Response: Follows\r\n",
        b"Channel: a", b"ChanVariable: A=1", b"ChanVariable(x): A=1", b"Output: z", b"--END COMMAND--",
        b"Uniqueid", b"x" * 300, b"y" * LINE_LIMIT, b"Asterisk Call Manager/1\r\n", b"!tampered: x\r\n",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_TOKENS | st.binary(max_size=20), max_size=40), st.integers(1, 4000))
def test_both_do_the_same_with_anything_and_recover(tokens: list[bytes], size: int):
    data = b"".join(tokens)
    ends = b"\r\n--END COMMAND--\r\n\r\n\r\n" + HANGUP
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    results = [outcome(make(), [*pieces, ends]) for make in MAKERS.values()]
    assert results[0] == results[1] == outcome(MAKERS["reference"](), [data + ends])
    assert results[0][0][-1] == HUNG_UP


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_both_do_the_same_with_a_capture_that_was_spoilt(dice: random.Random, faults: int):
    data = bytearray(capture_bytes("gate_denied"))
    for _ in range(faults):
        at = dice.randrange(len(data))
        match dice.randrange(4):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(60)]
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(20))
            case _:
                data[at:at] = data[at : at + dice.randrange(200)]
    spoilt = bytes(data) + b"\r\n\r\n" + HANGUP
    results = [outcome(make(), [spoilt]) for make in MAKERS.values()]
    assert results[0] == results[1]
    assert results[0][0][-1] == HUNG_UP


def test_the_kernel_is_chosen_and_never_silently(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RATER_KERNEL", raising=False)
    assert isinstance(frame_parser(), amiframe.FrameParser)
    monkeypatch.setenv("RATER_KERNEL", "reference")
    assert isinstance(frame_parser(), ami_parse.FrameParser)
    monkeypatch.setenv("RATER_KERNEL", "fast")
    with pytest.raises(ConfigError, match="fast"):
        frame_parser()
    monkeypatch.setenv("RATER_KERNEL", "compiled")
    monkeypatch.setitem(__import__("sys").modules, "rater_native.amiframe", None)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        frames.frame_parser()
