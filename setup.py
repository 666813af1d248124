"""Builds the Cython modules; everything else is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ("trie", "pricing", "amiframe")

setup(
    ext_modules=cythonize(
        [Extension(f"rater_native.{name}", [f"native/rater_native/{name}.pyx"]) for name in MODULES],
        language_level=3,
    )
)
