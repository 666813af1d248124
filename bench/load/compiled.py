"""The load generator shares the machine with what it measures, so its hot modules run compiled: one source each,
which Cython compiles because a `NAME.pxd` stands beside `NAME.py`, as it does with those of the package.

They are built when a generator is first started, into `build/bench`, in a folder that is named after everything
that they are made of; so an edit is built anew, and the package knows nothing of it. `RATER_KERNEL=reference`, or a
machine on which they cannot be built, runs the sources: the same calls, at twice the processor time.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
BUILDS = ROOT / "build" / "bench"
TWINS = sorted(pxd.with_suffix(".py") for pxd in FOLDER.glob("*.pxd"))
SOURCES = [*TWINS, *FOLDER.glob("*.pyx")]
NAMES = [f"bench.load.{source.stem}" for source in SOURCES]
_BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
modules = [
    Extension(source.rpartition(".")[0].replace("/", "."), [source], extra_compile_args=["-g0"])
    for source in sys.argv[1:]
]
setup(
    script_args=["-q", "build_ext", "--inplace"],
    ext_modules=cythonize(
        modules, language_level=3, compiler_directives={"annotation_typing": False, "nonecheck": True}
    ),
)
"""


class Finder:
    """Finds the compiled ones in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in NAMES:
            return None
        module = self._folder.joinpath(*name.split(".")).with_suffix(EXTENSION_SUFFIXES[0])
        return importlib.util.spec_from_file_location(name, module)


def install() -> None:
    """Before the modules are imported. Builds them if need be, which takes half a minute."""
    if os.environ.get("RATER_KERNEL") == "reference":
        return
    folder = built()
    if folder is not None:
        sys.meta_path.insert(0, Finder(folder))


def built() -> Path | None:
    """Where they are; None, with a warning that says why, when they cannot be built."""
    sources = [*SOURCES, *(twin.with_suffix(".pxd") for twin in TWINS)]
    content = b"".join(path.read_bytes() for path in (Path(__file__), *sources))
    folder = BUILDS / hashlib.sha256(content + sys.version.encode()).hexdigest()[:16]
    done, package = folder / "done", folder / "bench" / "load"
    if done.exists():
        return folder
    package.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several may start at once
        if not done.exists():
            for source in sources:
                shutil.copy(source, package)
            command = [sys.executable, "-c", _BUILD, *(f"bench/load/{source.name}" for source in SOURCES)]
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if ended.returncode:
                warnings.warn(f"the load generator runs from its sources, slowly: {ended.stderr}", stacklevel=2)
                return None
            done.touch()
    return folder
