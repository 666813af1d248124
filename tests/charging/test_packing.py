"""Values and commands as bytes: the compiled writer and its twin write the same, and msgpack reads it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import hiredis
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater import packing_reference
from rater.charging.rules import denial_value
from rater.events.facts import LegFacts
from rater.verdict import Reason

native = pytest.importorskip("rater_native.packing")
WAYS = (native, packing_reference)
EDGES = st.sampled_from([edge + by for bits in (5, 7, 8, 15, 16, 31, 32, 53, 63) for edge in (1 << bits, -1 << bits)
                         for by in (-1, 0, 1) if -(1 << 63) <= edge + by < 1 << 64])  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), EDGES, st.text(),
    st.sampled_from([31, 32, 40]).map("x".__mul__), st.binary(max_size=40), st.floats(),
    st.sampled_from(list(Reason)),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=8
)


@given(st.lists(VALUES, max_size=20))
def test_both_ways_write_the_same_values(values: list[Any]) -> None:
    packer = msgpack.Packer(use_bin_type=False)
    expected = b"".join(packer.pack(value) for value in values)
    for way in WAYS:
        assert way.sequence(values) == expected
        assert way.sequence(tuple(values)) == expected


@given(st.dictionaries(st.text(max_size=40), VALUES, min_size=1, max_size=8))
def test_both_ways_write_the_same_map(values: dict[str, Any]) -> None:
    names = tuple(msgpack.packb(name) for name in values)
    for way in WAYS:
        assert way.named(bytes((0x80 + len(values),)), names, tuple(values.values())) == msgpack.packb(values)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_lengths_at_the_edges_of_their_forms(way: Any, length: int) -> None:
    values = ["x" * length, b"y" * length, [1] * length, {n: n for n in range(length)}]
    assert msgpack.unpackb(b"\x94" + way.sequence(values), strict_map_key=False) == [
        values[0], "y" * length, values[2], values[3]
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, object(), "\ud800"])
def test_what_cannot_be_written_is_refused(way: Any, value: object) -> None:
    with pytest.raises((OverflowError, TypeError, UnicodeEncodeError)):
        way.sequence((value,))


def test_values_without_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for way in WAYS:
        with pytest.raises((ValueError, RecursionError)):
            way.sequence((endless,))


COMMANDS = (pytest.importorskip("rater_native.command").Command(), packing_reference.Command())
"""One writes call after call."""
WORDS = st.lists(st.one_of(st.text(), st.binary(max_size=40)), max_size=12)


@given(st.tuples(st.text(), st.binary()), st.lists(st.tuples(st.text(), st.text())), WORDS)
def test_both_ways_write_the_same_call(
    head: tuple[str, bytes], names: list[tuple[str, str]], arguments: list[Any]
) -> None:
    keys = [prefix + name for prefix, name in names]
    for command in COMMANDS:
        command.begin()
        for prefix, name in names:
            command.key(prefix, name)
        for argument in arguments:
            command.argument(argument)
        assert command.call(head) == hiredis.pack_command((*head, len(keys), *keys, *arguments))
        words = tuple(word if isinstance(word, bytes) else word.encode() for word in arguments)
        assert command.parts() == (tuple(keys), words)


VALUE = st.one_of(
    st.tuples(st.just("text"), st.text() | st.sampled_from([31, 32, 255, 256]).map("é".__mul__)),
    st.tuples(st.just("number"), st.integers(-(1 << 63), (1 << 63) - 1) | EDGES.filter(lambda n: n < 1 << 63)),
    st.tuples(st.just("digits"), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just("data"), st.binary(max_size=40) | st.sampled_from([300, 70_000]).map(bytes)),
)


@given(st.lists(VALUE, max_size=8), st.lists(VALUE, max_size=8), st.lists(VALUE, max_size=3))
def test_both_ways_make_arguments_of_the_same_values(
    before: list[Any], within: list[Any], after: list[Any]
) -> None:
    def packed(values: list[Any]) -> bytes:
        plain = [str(value) if kind == "digits" else value for kind, value in values]
        return b"".join(msgpack.packb(value, use_bin_type=False) for value in plain)

    for command in COMMANDS:
        command.begin()
        for kind, value in before:
            getattr(command, kind)(value)
        command.begin_inner()
        for kind, value in within:
            getattr(command, kind)(value)
        command.end_inner()
        command.end_argument()
        for kind, value in after:
            getattr(command, kind)(value)
        assert command.values() == packed(after)
        inner = msgpack.packb(packed(within), use_bin_type=False)
        assert command.parts() == ((), (packed(before) + inner,))


@given(st.text(), st.lists(st.text() | st.sampled_from([31, 32, 255, 256, 65_536]).map("x".__mul__), max_size=6))
def test_both_ways_name_keys_by_packed_texts(prefix: str, texts: list[str]) -> None:
    for way, command in zip(WAYS, COMMANDS, strict=True):
        for form in (msgpack.packb, way.sequence):
            data = b"".join(form(text) if form is msgpack.packb else form((text,)) for text in texts)
            command.begin()
            assert command.keys_in(prefix, data) == len(texts[1:])
            assert command.parts() == (tuple(prefix + text for text in texts[1:]), ())
            if texts:
                assert way.first_text(data) == texts[0]


@pytest.mark.parametrize(
    "data", [b"\xa1", b"\xa0\xa2x", b"\xa0\x01", b"\xc0", b"\xa0\xa1\xff", b"\xa0\xd9", b"\xa0\xda\x00"]
)
def test_what_are_no_texts_names_no_keys(data: bytes) -> None:
    for way, command in zip(WAYS, COMMANDS, strict=True):
        command.begin()
        with pytest.raises(ValueError, match=r"text|value|utf-8"):
            command.keys_in("x:", data)
        with pytest.raises(ValueError, match=r"text|value|utf-8"):
            way.first_text(data[1:] if data[:1] == b"\xa0" else data)


def test_a_call_that_is_not_complete_is_refused() -> None:
    for command in COMMANDS:
        command.begin()
        command.text("x")
        with pytest.raises(ValueError, match="ended"):
            command.call(("EVALSHA", "0"))
        command.begin_inner()
        for unfinished in (command.begin_inner, command.end_argument, command.values):
            with pytest.raises(ValueError, match="within"):
                unfinished()
        command.begin()
        with pytest.raises(ValueError, match="begun"):
            command.end_inner()
        command.argument("x")
        for key in (lambda to: to.key("x:", "y"), lambda to: to.keys_in("x:", b"\xa0\xa0")):
            with pytest.raises(ValueError, match="before"):
                key(command)
        with pytest.raises((TypeError, AttributeError)):
            command.argument(1)
        command.begin()
        assert command.call(("A", "B")) == hiredis.pack_command(("A", "B", 0)), "of the others nothing is left"


@pytest.mark.parametrize("text", ["leg:1", "a:b:17", "9", "x:000", f"x:{(1 << 63) - 1}", "x:999999999999999999"])
def test_both_ways_read_the_number_at_the_end(text: str) -> None:
    for way in WAYS:
        assert way.trailing_number(text) == int(text.rpartition(":")[2])


@pytest.mark.parametrize("text", ["", "x", ":", "1:", "1:x", "1:2x"])
def test_a_text_without_a_number_at_its_end_is_refused(text: str) -> None:
    for way in WAYS:
        with pytest.raises(ValueError, match="int"):
            way.trailing_number(text)


def test_facts_are_a_map_of_all_their_fields() -> None:
    facts = LegFacts(**{field.name: f"{place}" for place, field in enumerate(fields(LegFacts))})  # type: ignore[arg-type]
    facts.steps = ["a: b", "c"]
    expected = asdict(facts)
    for _ in range(2):  # what is kept packed from the first time on is packed the same
        assert msgpack.unpackb(facts.pack()) == expected
        assert facts.pack() == msgpack.packb(expected)
        assert LegFacts.unpack(facts.pack()) == facts
        assert list(facts.steps) == ["a: b", "c"]


def some_facts(reason: str, detail: str) -> LegFacts:
    values = {field.name: f"its {field.name}" for field in fields(LegFacts)[:16]} | {"catalog_version": 7}
    facts = LegFacts(**values, steps=["a: b"], emergency=False, attempted_at_ms=1_790_000_000_000)  # type: ignore[arg-type]
    facts.reason, facts.detail = reason, detail
    return facts


@pytest.mark.parametrize("detail", ["", "Ŧreason", "reason", "its reason" * 40])
@pytest.mark.parametrize("reason", list(Reason))
def test_the_reason_of_a_denial_is_told_by_its_facts(reason: Reason, detail: str) -> None:
    assert denial_value(some_facts(reason.code, detail).pack()) == reason
    assert denial_value(msgpack.packb({"detail": detail, "reason": reason.name})) == reason


@pytest.mark.parametrize("facts", [{}, {"reason": None}, {"reason": "none"}, {"detail": "Ŧreason\xa8no_rate"}])
def test_facts_that_name_no_reason_have_the_value_of_none(facts: dict[str, Any]) -> None:
    assert denial_value(msgpack.packb(facts)) == 0
    assert denial_value(some_facts("", "Ŧreason").pack()) == 0


def test_each_value_has_one_name() -> None:
    for way in WAYS:
        with pytest.raises(ValueError, match=r"name|argument"):
            way.named(b"\x81", (b"\xa1a",), (1, 2))


WHOLE = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), EDGES.filter(lambda value: value < 1 << 63))


@given(st.lists(WHOLE, max_size=10), st.sets(st.integers(0, 9)))
def test_both_ways_read_the_same_numbers(values: list[int], doubled: set[int]) -> None:
    """Redis' Lua writes numbers beyond its integers as doubles."""
    written = [
        float(value) if place in doubled and abs(value) <= 1 << 53 else value for place, value in enumerate(values)
    ]
    data = b"".join(msgpack.packb(value) for value in written)
    for way in WAYS:
        assert way.numbers(data, len(values)) == tuple(values)
        assert all(type(value) is int for value in way.numbers(data, len(values)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("values", [(), (1, 2, 3), (1, "2"), (1, None), (1, 0.5), (1, True), (1, [2])])
def test_what_are_not_so_many_whole_numbers_is_refused(way: Any, values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"number|value"):
        way.numbers(b"".join(msgpack.packb(value) for value in values), 2)
    with pytest.raises(ValueError, match=r"number|value"):
        way.numbers(b"\x01\xd2\x00", 2)


@given(st.lists(st.text(), max_size=20))
def test_texts_packed_ahead_are_written_as_they_would_be(texts: list[str]) -> None:
    for way in WAYS:
        packed = way.Packed(texts)
        assert way.named(b"\x81", (b"\xa1a",), (packed,)) == msgpack.packb({"a": texts})
        assert list(packed) == texts
        assert packed == texts
        assert packed != [*texts, ""]


def test_a_long_text_leaves_nothing_behind_for_the_next() -> None:
    for way in WAYS:
        assert way.sequence(("x" * 200_000, 1))[-1:] == b"\x01"
        assert way.sequence((1, "y")) == b"\x01\xa1y"
