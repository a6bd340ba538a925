"""Whether the files of a segment are what was written: sizes always, bytes as far as that is cheap."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Bytes that are read again when a segment is opened: some 20 ms. The smallest files come first, so that of a
# large index only vectors, postings and rows go unread; `verify` reads them all.
_BUDGET = 16 << 20
_BLOCK = 1 << 20
_SEAL = "crc32"

Sums = Mapping[str, tuple[int, int]]
"""Of each file its size in bytes and the CRC-32 of its content."""


def of_directory(directory: Path) -> dict[str, tuple[int, int]]:
    """Return size and checksum of every file in a directory."""
    return {path.name: (path.stat().st_size, _crc(path)) for path in sorted(directory.iterdir())}


def verify(directory: Path, sums: Sums, budget: int | None = None) -> None:
    """Compare the files of a directory with the sizes and checksums that they had.

    Parameters
    ----------
    budget
        Most bytes to read, in the smallest files; all by default. Sizes are compared in any case.

    Raises
    ------
    ValueError
        One has other bytes; it is named.
    FileNotFoundError
        One is missing.
    """
    left = float("inf") if budget is None else budget
    for name, (size, crc) in sorted(sums.items(), key=lambda item: item[1]):
        path = directory / name
        if path.stat().st_size != size:
            raise ValueError(f"{path} has not the {size} bytes that were written to it")
        left -= size
        if left >= 0 and _crc(path) != crc:
            raise ValueError(f"{path} has other bytes than were written to it")


def verify_some(directory: Path, sums: Sums) -> None:
    """`verify` all sizes, and the bytes of as many small files as take little time."""
    verify(directory, sums, _BUDGET)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a checksum of its other members added to it."""
    plain = {name: value for name, value in content.items() if name != _SEAL}
    return {**plain, _SEAL: zlib.crc32(json.dumps(plain, sort_keys=True).encode())}


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
