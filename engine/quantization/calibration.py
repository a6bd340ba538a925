"""What a model is calibrated with: texts, or for encoders of sounds and pictures files of that kind."""

from __future__ import annotations

import hashlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aios_db.engine.architectures.clip import ClipImageEncoder
from aios_db.engine.architectures.kinds import load, media_files
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.architectures.whisper import WhisperEncoder
from aios_db.engine.frontends.audio import decode_audio
from aios_db.engine.frontends.image import load_pixels
from aios_db.engine.frontends.log_mel import log_mel
from aios_db.engine.quantization.checkpoint import texts_sha256
from aios_db.engine.quantization.subject import Batch
from aios_db.engine.quantization.training_texts import TrainingTexts
from aios_db.engine.validation.split import calibration_files, calibration_side
from aios_db.engine.weights.files import file_sha256
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.errors import DataError, NotSupportedError

log = logging.getLogger("aios_db.engine.quantization")

MOST_FILES = 4000
SAMPLE_RATE = 16_000
FRAME = 320  # samples of an encoder's position
GAP = 50
"""Positions of silence after each sound: several share a window, which would else be silent for the most."""

Item = TypeVar("Item")


class Calibration(Protocol):
    """Inputs like those the model will see, none of them open to validation."""

    sha256: str
    """Of the content, order included."""

    def batches(self, model: nn.Module, *, tokens: int, seed: int) -> Sequence[Batch]:
        """Return them as calls of ``model`` of about ``tokens`` positions, mixed; the same each time.

        Raises
        ------
        DataError
            There is nothing to calibrate with.
        """
        ...


def open_calibration(
    directory: ModelDirectory, texts: Sequence[str], files: Sequence[str | Path]
) -> Calibration:
    """Return what of ``texts``, or of ``files`` and folders of them, the model may be calibrated on.

    Raises
    ------
    NotSupportedError
        The model is of no known kind, or should read text and has no tokenizer.
    """
    kind = kind_of(directory)
    if kind is None:
        raise NotSupportedError(f"{directory.path} takes neither text nor sounds nor pictures")
    if kind.takes_files:
        given: Sequence[str] | Sequence[Path] = calibration_files(media_files(files, kind))
    else:
        if directory.tokenizer is None:
            raise NotSupportedError(f"{directory.path} has no tokenizer, so it takes no text")
        given = calibration_side(texts)
    if kind.calibration is None:
        raise NotSupportedError(f"{directory.path} holds a {kind.name} model, which is not quantized")
    calibration: Calibration = load(kind.calibration)(directory, given)
    return calibration


class Texts:
    """Texts for a text encoder."""

    causal = False

    def __init__(self, directory: ModelDirectory, texts: Sequence[str]) -> None:
        assert directory.tokenizer is not None
        self._tokenizer, self._texts = directory.tokenizer, texts
        self.sha256 = texts_sha256(texts)

    def batches(self, model: nn.Module, *, tokens: int, seed: int) -> Sequence[Batch]:
        """Return whole texts and pieces of texts."""
        return TrainingTexts(self._tokenizer, self._texts, causal=self.causal, tokens=tokens, seed=seed)


class CausalTexts(Texts):
    """Texts for a language model."""

    causal = True


class MediaFiles(ABC):
    """Files of sounds or pictures; at most 4,000, those that cannot be read left out."""

    def __init__(self, directory: ModelDirectory, files: Sequence[Path]) -> None:
        self._files = random.Random(0).sample(files, min(len(files), MOST_FILES))
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(bytes.fromhex(file_sha256(file)))
        self.sha256 = digest.hexdigest()

    def batches(self, model: nn.Module, *, tokens: int, seed: int) -> list[Batch]:
        """Return the files' content as batches in a mixed order."""
        batches = list(self._batches(model, tokens))
        if not batches:
            raise DataError("quantization needs calibration files: there are none that can be read")
        random.Random(seed).shuffle(batches)
        return batches

    @abstractmethod
    def _batches(self, model: Any, tokens: int) -> Iterator[Batch]: ...

    def _decoded(self, decode: Callable[[bytes], NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for file in self._files:
            try:
                yield decode(file.read_bytes())
            except DataError as error:
                log.warning("%s is left out of the calibration: %s", file, error)


class Sounds(MediaFiles):
    """Sounds for Whisper, several in each window."""

    def _batches(self, model: WhisperEncoder, tokens: int) -> Iterator[Batch]:
        positions, mels = model.config.max_source_positions, model.config.num_mel_bins
        count = max(1, tokens // positions)
        sounds = self._decoded(lambda content: decode_audio(content, SAMPLE_RATE))
        for windows in _chunks(_windows(sounds, positions * FRAME), count):
            samples = np.zeros((len(windows), positions * FRAME), np.float32)
            for row, window in zip(samples, windows, strict=True):
                row[: window.size] = window
            ends = torch.tensor([[-(-window.size // FRAME)] for window in windows])
            mask = torch.arange(positions) < ends
            yield Batch((log_mel(torch.from_numpy(samples), mels),), mask, int(mask.sum()))


class Pictures(MediaFiles):
    """Pictures for CLIP."""

    def _batches(self, model: ClipImageEncoder, tokens: int) -> Iterator[Batch]:
        sizes = model.config
        positions = 1 + (sizes.image_size // sizes.patch_size) ** 2
        pictures = self._decoded(lambda content: load_pixels(content, sizes.image_size))
        for pixels in _chunks(pictures, max(1, tokens // positions)):
            yield Batch((torch.from_numpy(np.stack(pixels)),), None, len(pixels) * positions)


def _windows(sounds: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """Lay sounds one after the other, a gap after each, into windows of at most ``size`` samples."""
    gap = np.zeros(min(GAP * FRAME, size // 4), np.float32)
    held: list[NDArray[np.float32]] = []
    for sound in sounds:
        for start in range(0, sound.size, size):
            part = sound[start : start + size]
            if held and sum(each.size for each in held) + part.size > size:
                yield np.concatenate(held)[:size]
                held = []
            held += [part, gap]
    if held:
        yield np.concatenate(held)[:size]


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
