"""Whatever is done to a catalogue's files: it is read, or refused with problems; never a traceback."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rater.errors import Problem

from .support import FILES, problems

QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120)
_PIECES = st.sampled_from(
    ["", '"', "'", "[", "]", "{", "}", "=", ",", ";", "\n", "-", "0", "99999999999999999999", "1.5", "true", "nan",
     "\x00", "é", "[plan.x]\n", "x = 1\n", "[[plan.basic.band]]\n", "#", "2026-01-01", '"""', "inf", "\t", " "]
)  # fmt: skip


def check(found: tuple[Problem, ...]) -> None:
    for problem in found:
        assert problem.message
        assert problem.expected
        assert problem.line >= 0
        assert problem.column >= 0
        assert str(problem)


@QUIET
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2000), st.integers(0, 12), _PIECES)
def test_an_edit_anywhere_is_read_or_refused(tmp_path: Path, name: str, at: int, cut: int, piece: str) -> None:
    text = FILES[name]
    at %= len(text)
    check(problems(tmp_path, FILES | {name: text[:at] + piece + text[at + cut :]}))


@QUIET
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=80))
def test_any_content_is_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    check(problems(tmp_path, {**FILES, name: content}))


@QUIET
@given(st.sampled_from(["plans.toml", "accounts.toml", "switches.toml", "trunks.toml"]), st.data())
def test_any_value_in_place_of_another_is_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    lines = FILES[name].split("\n")
    at = data.draw(st.sampled_from([i for i, line in enumerate(lines) if " = " in line]))
    value = data.draw(
        st.sampled_from(["1", "-1", "1.5", "true", '""', '"x"', "[]", "[[]]", "[{}]", "{}", "{ a = 1 }",
                         "1979-05-27", "inf", '["x", 1]', "9223372036854775807", '"' + "9" * 40 + '"'])
    )  # fmt: skip
    lines[at] = lines[at].split(" = ")[0] + " = " + value
    check(problems(tmp_path, {**FILES, name: "\n".join(lines)}))


_CELLS = st.lists(st.text(st.sampled_from('ab1,;"\t é0x\r'), max_size=8), max_size=9)


@QUIET
@given(st.lists(_CELLS, max_size=4), st.sampled_from(",;"))
def test_any_lines_file_is_read_or_refused(tmp_path: Path, rows: list[list[str]], separator: str) -> None:
    text = "line,account,endpoint\n" + "\n".join(separator.join(row) for row in rows)
    check(problems(tmp_path, {**FILES, "lines.csv": text}))
