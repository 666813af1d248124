"""Which modules run compiled, and that none runs from its source unseen."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from rater import compiled
from rater.errors import ConfigError

TWINS = sorted(pxd.with_suffix(".py") for pxd in compiled.ROOT.rglob("*.pxd"))
NAME = "rater.calls.session"
SHOW = (
    "import rater.calls.session as s; from rater.compiled import slow_modules; print(s.__file__, *slow_modules())"
)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    values = {key: value for key, value in os.environ.items() if key != "RATER_KERNEL"}
    return subprocess.run(
        [sys.executable, "-c", code], env=values | environment, capture_output=True, text=True, timeout=60
    )


def test_every_declaration_has_its_source() -> None:
    assert NAME.replace(".", "/") + ".py" in {str(twin.relative_to(compiled.ROOT.parent)) for twin in TWINS}
    assert all(twin.exists() for twin in TWINS)


def test_what_was_built_is_used() -> None:
    if compiled.Finder("")._unfit(NAME, compiled.ROOT / "calls/session.py"):
        pytest.skip("the session machine was edited since it was built")
    done = run(SHOW)
    assert done.stdout.split()[0].endswith(tuple(EXTENSION_SUFFIXES)), done.stderr
    assert NAME not in done.stdout.split()[1:]


def test_reference_runs_the_sources() -> None:
    done = run(SHOW, RATER_KERNEL="reference")
    assert done.stdout.split()[0].endswith("session.py"), done.stderr
    assert NAME in done.stdout.split()[1:]
    assert "slowly" not in done.stderr, "who asks for it is not warned"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one module, declared to be compiled."""
    (tmp_path / "some.py").write_text("x = 1\n")
    (tmp_path / "some.pxd").write_text("")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "NOTES", tmp_path / "compiled.json")
    return tmp_path


def build(folder: Path) -> None:
    (folder / "some.py").with_suffix(EXTENSION_SUFFIXES[0]).write_text("")
    note = compiled.digest(folder / "some.py")
    (folder / "compiled.json").write_text(f'{{"rater.some": "{note}"}}')


def test_what_is_not_built_runs_from_its_source_and_says_so(elsewhere: Path) -> None:
    with pytest.warns(compiled.SlowModule, match=r"rater\.some is not compiled"):
        spec = compiled.Finder("").find_spec("rater.some", [])
    assert spec is not None
    assert spec.origin == str(elsewhere / "some.py")


def test_what_was_edited_since_runs_from_its_source_and_says_so(elsewhere: Path) -> None:
    build(elsewhere)
    assert compiled.Finder("").find_spec("rater.some", []) is None, "left to those who find what is built"
    (elsewhere / "some.py").write_text("x = 2\n")
    with pytest.warns(compiled.SlowModule, match="compiled from another source"):
        assert compiled.Finder("").find_spec("rater.some", []) is not None


def test_compiled_is_a_demand(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match="is not compiled") as caught:
        compiled.Finder("compiled").find_spec("rater.some", [])
    assert "RATER_KERNEL=reference" in caught.value.hint


def test_other_modules_are_left_alone(elsewhere: Path) -> None:
    for finder in map(compiled.Finder, ("", "compiled", "reference")):
        assert finder.find_spec("rater.other", []) is None
        assert finder.find_spec("elsewhere.some", []) is None


def test_another_choice_is_an_error() -> None:
    done = run("import rater", RATER_KERNEL="fast")
    assert done.returncode != 0
    assert "RATER_KERNEL is 'fast'" in done.stderr


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.stem)
def test_declarations_name_every_field(twin: Path) -> None:
    """A field that is missing there would not compile; who edits only the source is told here."""
    fields_of = re.compile(r"cdef (?:readonly|public) (?:long long|\w+) (.+)")
    declared = {
        match[1]: set(re.findall(r"\w+", " ".join(fields_of.findall(match[2]))))
        for match in re.finditer(
            r"^cdef class (\w+):\n((?:    .*\n|\n)*)", twin.with_suffix(".pxd").read_text(), re.M
        )
    }
    for node in ast.parse(twin.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name in declared and node.decorator_list:
            fields = {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}  # type: ignore[union-attr]
            assert declared[node.name] == fields, f"{node.name} in {twin.with_suffix('.pxd').name}"


def test_what_goes_by_the_structures_of_an_edited_module_runs_from_its_source(
    elsewhere: Path,
) -> None:
    (elsewhere / "other.py").write_text("from rater.some import x\n")
    (elsewhere / "other.pxd").write_text("from rater.some cimport x\n")
    (elsewhere / "other.py").with_suffix(EXTENSION_SUFFIXES[0]).write_text("")
    build(elsewhere)
    notes = {f"rater.{name}": compiled.digest(elsewhere / f"{name}.py") for name in ("some", "other")}
    (elsewhere / "compiled.json").write_text(json.dumps(notes))
    assert compiled.Finder("").find_spec("rater.other", []) is None
    (elsewhere / "some.py").write_text("x = 2\n")
    with pytest.warns(compiled.SlowModule, match=r"rater\.other was compiled with another rater\.some"):
        assert compiled.Finder("").find_spec("rater.other", []) is not None
