"""Builds the Cython modules, each `native/rater_native/NAME.pyx`; everything else is in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(Path("native/rater_native").glob("*.pyx"))

setup(
    ext_modules=cythonize(
        [Extension(f"rater_native.{source.stem}", [str(source)]) for source in SOURCES], language_level=3
    )
)
