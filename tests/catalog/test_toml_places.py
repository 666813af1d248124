"""Every key and value that tomllib finds has its place."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rater.catalog.toml_places import Inexact, TomlFile, Where, read_toml
from rater.errors import Problem

HARD = """\
# a comment with = and [brackets]
title = "a \\"quoted\\" # no comment"   # a comment
a.b.'c d' = '''
many
lines'''
"quoted key" = [ # comment
  1, 2,
  [3, "x]y"], # ]
  { k = "v,}", l = [4] },
]
multi = \"\"\"one \\
  \"two\" \"\"\"\"

[ table . "sub.x" ]
when = 2026-11-24T10:00:00Z
empty = []
none = {}

[[list]]
n = 1
[list.inner]
m = 2
[[list]]
n = 3
[[list.more]]
deep = 4
"""


def paths(value: Any, path: Where = ()) -> Iterator[Where]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def read(folder: Path, text: str) -> TomlFile | Problem:
    path = folder / "x.toml"
    path.write_bytes(text.encode())
    return read_toml(path, "x.toml")


def test_every_value_of_a_hard_file_has_its_place(tmp_path: Path) -> None:
    file = read(tmp_path, HARD)
    assert isinstance(file, TomlFile)
    for path in paths(file.data):
        assert path in file.values or path in file.keys, path
    lines = HARD.splitlines()
    expected = {
        ("title",): (2, 9),
        ("a", "b", "c d"): (3, 13),
        ("quoted key", 1): (7, 6),
        ("quoted key", 2, 1): (8, 7),
        ("quoted key", 3, "l", 0): (9, 21),
        ("multi",): (11, 9),
        ("table", "sub.x", "when"): (15, 8),
        ("list", 1, "n"): (24, 5),
        ("list", 1, "more", 0, "deep"): (26, 8),
    }
    assert {path: file.place(path) for path in expected} == expected
    assert file.place(("list", 1, "more", 0, "deep"), of_key=True) == (26, 1)
    assert file.place(("list", 0, "inner")) == (21, 1)
    assert file.place(("list", 0, "inner", "missing")) == (21, 1)
    assert lines[20] == "[list.inner]"


def test_floats_keep_their_text(tmp_path: Path) -> None:
    file = read(tmp_path, "a = 12.50\nb = 1e3\n")
    assert isinstance(file, TomlFile)
    assert (file.data["a"], file.data["b"]) == ("12.50", "1e3")
    assert all(isinstance(value, Inexact) for value in file.data.values())


_KEY = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text(max_size=4))
_VALUE = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    escaped = "".join(f"\\U{ord(c):08X}" if c in '"\\' or ord(c) < 32 or c == "\x7f" else c for c in text)
    return f'"{escaped}"'


def dump(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[" + ",\n  ".join(dump(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {dump(item)}" for key, item in value.items()) + " }"
    return str(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(_KEY, st.dictionaries(_KEY, _VALUE, max_size=4), max_size=4))
def test_any_file_can_be_located(tmp_path: Path, tables: dict[str, dict[str, Any]]) -> None:
    text = ""
    for name, table in tables.items():
        text += f"[{quoted(name)}] # table\n" + "".join(f"{quoted(k)} = {dump(v)}\n" for k, v in table.items())
    try:
        text.encode()
        tomllib.loads(text)
    except (UnicodeEncodeError, tomllib.TOMLDecodeError):
        return
    file = read(tmp_path, text)
    assert isinstance(file, TomlFile)
    lines = text.split("\n")
    for path in paths(file.data):
        line, column = file.place(path)
        assert 1 <= column <= len(lines[line - 1])
        assert path in file.values or path in file.keys


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), st.text(st.sampled_from("[]{}=\"'#.,ab1 \n\\\r\t"), max_size=60).map(str.encode)
    )
)
def test_any_bytes_are_read_or_refused_with_a_place(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    outcome = read_toml(path, "x.toml")
    if isinstance(outcome, Problem):
        assert outcome.line >= 1
        assert outcome.column >= 1
        assert outcome.message


def test_missing_file_is_a_problem(tmp_path: Path) -> None:
    outcome = read_toml(tmp_path / "none.toml", "none.toml")
    assert isinstance(outcome, Problem)
    assert "cannot be read" in outcome.message


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = 1" + "0" * 5000])
def test_monstrous_values_are_problems_not_tracebacks(tmp_path: Path, text: str) -> None:
    outcome = read(tmp_path, text)
    assert isinstance(outcome, (Problem, TomlFile))
    if text.startswith("a = ["):
        assert isinstance(outcome, Problem)
