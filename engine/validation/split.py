"""What a quantizer may see: each text's own hash decides, so calibration and validation never meet.

The SHA-256 of a text, after Unicode and white-space normalisation, puts it on one side for good: in another
order, in another file, in a later run it is on the same side. Nobody has to remember what was used for what.
So does the SHA-256 of a sound's or a picture's bytes, whatever the file is called.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

from aios_db.engine.weights.files import file_sha256


def is_validation_text(text: str) -> bool:
    """Tell whether ``text`` may only be validated on; about half of all texts are."""
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1


def calibration_side(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts that a quantizer may be calibrated on, in their order; no empty ones."""
    return [text for text in dict.fromkeys(texts) if text.strip() and not is_validation_text(text)]


def validation_side(texts: Iterable[str]) -> list[str]:
    """Return the distinct texts that only the validator may use, in their order; no empty ones."""
    return [text for text in dict.fromkeys(texts) if text.strip() and is_validation_text(text)]


def is_validation_file(path: str | Path) -> bool:
    """Tell whether a sound or picture file may only be validated on, by its bytes; about half of all are."""
    return int(file_sha256(Path(path))[:2], 16) % 2 == 1


def calibration_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that a quantizer may be calibrated on, in their order."""
    return [Path(path) for path in dict.fromkeys(paths) if not is_validation_file(path)]


def validation_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that only the validator may use, in their order."""
    return [Path(path) for path in dict.fromkeys(paths) if is_validation_file(path)]


@cache
def bundled_texts() -> tuple[str, ...]:
    """Return sentences of many kinds to validate on where a user has too few; all on the validation side."""
    source = resources.files("aios_db.engine.validation").joinpath("texts.txt")
    return tuple(source.read_text(encoding="utf-8").splitlines())
