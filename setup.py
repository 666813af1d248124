"""Builds the Cython modules: each `native/rater_native/NAME.pyx`, and of the package each `NAME.py` that has a
`NAME.pxd` beside it, of whose sources it leaves a note (`rater/compiled.py`). The rest is in pyproject.toml."""

import hashlib
import json
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = sorted(Path("native/rater_native").glob("*.pyx"))
TWINS = sorted(pxd.with_suffix(".py") for pxd in Path("rater").rglob("*.pxd"))


WITHOUT_DEBUG_INFO = ["-g0"]
"""It would take the compiler a third more time, and names of functions stay in the modules without it."""


def module_of(source: Path) -> str:
    return ".".join(source.with_suffix("").parts)


class BuildAndNote(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        super().run()
        notes = {
            module_of(source): hashlib.sha256(
                source.read_bytes() + source.with_suffix(".pxd").read_bytes()
            ).hexdigest()
            for source in TWINS
        }
        folder = Path("rater") if self.inplace else Path(self.build_lib, "rater")
        (folder / "compiled.json").write_text(json.dumps(notes, indent=1))


setup(
    cmdclass={"build_ext": BuildAndNote},
    ext_modules=[
        *cythonize(
            [
                Extension(f"rater_native.{source.stem}", [str(source)], extra_compile_args=WITHOUT_DEBUG_INFO)
                for source in NATIVE
            ],
            language_level=3,
            include_path=["native"],  # what depends on what is looked up once, with the paths of the first call
        ),
        # In the package types are what the .pxd says; annotations are for people and mypy. None where an object is
        # declared raises, as it does in the source, instead of ending the process.
        *cythonize(
            [
                Extension(module_of(source), [str(source)], extra_compile_args=WITHOUT_DEBUG_INFO)
                for source in TWINS
            ],
            language_level=3,
            include_path=["native"],
            nthreads=os.cpu_count() or 1,
            compiler_directives={"annotation_typing": False, "nonecheck": True},
        ),
    ],
)
