"""Which modules of the package run compiled. They are one source each: `NAME.py`, which Cython compiles when a
`NAME.pxd` stands beside it, and which runs as it is otherwise.

``RATER_KERNEL`` chooses, for these as for the kernels of rating and of AMI frames:

- ``reference``: the sources, even where compiled modules are there;
- ``compiled``: an import fails when a module is not compiled, or was compiled from another source;
- unset: what is compiled from the source that stands there, else the source, with a `SlowModule` warning. So an
  edit takes effect at once, and is compiled with the next installation.

The build notes of which source each module was made (`compiled.json`); times of files say nothing after a checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from rater.errors import ConfigError

ROOT = Path(__file__).parent
NOTES = ROOT / "compiled.json"
_OTHERS = re.compile(r"^from (rater\.[\w.]+) cimport", re.MULTILINE)
HINT = "Build it (pip install .), or set RATER_KERNEL=reference to run the slow one knowingly."


class SlowModule(RuntimeWarning):
    """A module of the hot path runs from its source."""


def digest(source: Path) -> str:
    """Of a source and its declarations, as `setup.py` notes it."""
    return hashlib.sha256(source.read_bytes() + source.with_suffix(".pxd").read_bytes()).hexdigest()


def _source_of(name: str) -> Path:
    return ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py")


class Finder:
    """Finds the sources of modules that are not to run compiled; others are left to those who find them anyway."""

    def __init__(self, choice: str) -> None:
        if choice not in ("", "compiled", "reference"):
            raise ConfigError(
                f"RATER_KERNEL is {choice!r}", hint="Set it to compiled or reference, or leave it out."
            )
        self._choice = choice
        self._notes: dict[str, str] = json.loads(NOTES.read_text()) if NOTES.exists() else {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not name.startswith("rater."):
            return None
        source = _source_of(name)
        if not source.with_suffix(".pxd").exists():
            return None
        if self._choice != "reference":
            why = self._unfit(name, source)
            if not why:
                return None
            if self._choice == "compiled":
                raise ConfigError(f"the module {name} {why}", hint=HINT)
            warnings.warn(f"{name} {why}: it runs from its source, slowly", SlowModule, stacklevel=2)
        return spec_from_file_location(name, source, loader=SourceFileLoader(name, str(source)))

    def _unfit(self, name: str, source: Path) -> str:
        """Why the compiled module cannot be used; empty when it can. One that goes by the structures of others can
        be used with those only as they were compiled."""
        if not any(source.with_suffix(suffix).exists() for suffix in EXTENSION_SUFFIXES):
            return "is not compiled"
        if self._notes.get(name) != digest(source):
            return "was compiled from another source"
        for other in _OTHERS.findall(source.with_suffix(".pxd").read_text()):
            if self._unfit(other, _source_of(other)):
                return f"was compiled with another {other}"
        return ""


def install() -> None:
    """Done once, when the package is imported."""
    sys.meta_path.insert(0, Finder(os.environ.get("RATER_KERNEL", "")))


def slow_modules() -> list[str]:
    """The loaded modules of the hot path that run from their sources."""
    names = ("rater." + ".".join(pxd.relative_to(ROOT).with_suffix("").parts) for pxd in ROOT.rglob("*.pxd"))
    loaded = [(name, sys.modules[name]) for name in sorted(names) if name in sys.modules]
    return [name for name, module in loaded if str(module.__file__).endswith(".py")]
