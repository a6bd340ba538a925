"""The kinds of model there are: what they take, and which code opens, probes and calibrates them.

Code is named as "module:name" and imported when it is used. So it costs no torch to know what a model is, and
a kind may name what lies on floors above this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What all architectures of a kind share."""

    name: str
    """Also the name of the space in which one of its versions is active."""
    encoder: str | None
    """The `Encoder` that serves it; None for models that make no vectors."""
    probe: str | None
    """``(candidate, texts or files, cpu, device) -> Probe``: how the validator asks it, if it does."""
    calibration: str | None
    """``(directory, texts or files) -> Calibration``: what it is quantized with; None where it is not."""
    suffixes: tuple[str, ...] = ()
    """Of the files that it takes; none where it takes texts."""

    @property
    def takes_files(self) -> bool:
        """Whether its inputs are files, and not texts."""
        return bool(self.suffixes)


TEXT = Kind(
    name="text",
    encoder="aios_db.engine.encoders.arrow_engine:ArrowEngine",
    probe="aios_db.engine.validation.probes:TextProbe",
    calibration="aios_db.engine.quantization.calibration:Texts",
)
AUDIO = Kind(
    name="audio",
    encoder="aios_db.engine.encoders.audio_encoder:AudioEncoder",
    probe="aios_db.engine.validation.probes:SoundProbe",
    calibration="aios_db.engine.quantization.calibration:Sounds",
    suffixes=(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"),
)
IMAGE = Kind(
    name="image",
    encoder="aios_db.engine.encoders.image_encoder:ImageEncoder",
    probe="aios_db.engine.validation.probes:PictureProbe",
    calibration="aios_db.engine.quantization.calibration:Pictures",
    suffixes=(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
)
CAPTION = Kind(
    name="caption",
    encoder="aios_db.engine.encoders.caption_encoder:CaptionEncoder",
    probe=None,
    calibration=None,
)
"""Texts in the space of the pictures: not that of the text model, whose vectors memories are stored with."""
LANGUAGE = Kind(
    name="language",
    encoder=None,
    probe="aios_db.engine.validation.probes:LossProbe",
    calibration="aios_db.engine.quantization.calibration:CausalTexts",
)
JOINT = Kind(name="joint", encoder=None, probe=None, calibration=None)
KINDS = (TEXT, AUDIO, IMAGE, CAPTION, LANGUAGE, JOINT)


def is_media_file(path: Path) -> bool:
    """Whether a file, by its name, is one that models of some kind take."""
    return any(path.suffix.lower() in kind.suffixes for kind in KINDS)


def media_files(paths: Iterable[str | Path], kind: Kind) -> list[Path]:
    """Return the files that models of ``kind`` take, at and under ``paths``, sorted within each folder.

    A file that is named itself is taken whatever its name; hidden files in folders are not.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in kind.suffixes)
        found += [file for file in inside if not file.name.startswith(".") and file.is_file()]
    return found


def load(name: str) -> Any:
    """Return what "module:name" names, importing the module."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
