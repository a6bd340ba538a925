"""Refuses to make a wheel that would lack its compiled loops in silence; all else is in pyproject.toml."""

import sys
from importlib.util import find_spec

from setuptools import setup

if "bdist_wheel" in sys.argv and find_spec("Cython") is None:
    sys.exit(
        "Cython is not installed, and the wheel would be without the compiled loops of searches: "
        "pip install 'Cython>=3.1' first, or build without --no-build-isolation"
    )

setup()
