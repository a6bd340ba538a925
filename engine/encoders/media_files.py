"""Models that take sounds or pictures, and such files in folders, by the names their formats have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aios_db.engine.architectures.sizes import model_sizes
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

SUFFIXES: dict[str, tuple[str, ...]] = {
    "Whisper": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"),
    "ViT": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
}
"""Of the files that a model of each architecture takes."""


def media_architecture(directory: ModelDirectory) -> str | None:
    """Return the architecture of an encoder of sounds ('Whisper') or pictures ('ViT'); None for others."""
    name = directory.architecture
    if name is None:
        file = WeightFile(directory.weights)
        try:
            name, _ = model_sizes(directory, file)
        except WeightsError:  # without metadata, and tensors that tell nothing
            return None
        finally:
            file.close()
    return name if name in SUFFIXES else None


def media_files(paths: Iterable[str | Path], architecture: str) -> list[Path]:
    """Return the files that ``architecture`` takes, at and under ``paths``, sorted within each folder.

    A file that is named itself is taken whatever its name; hidden files in folders are not.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES[architecture])
        found += [file for file in inside if not file.name.startswith(".") and file.is_file()]
    return found
