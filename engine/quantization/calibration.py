"""What a model is calibrated with: texts, or for encoders of sounds and pictures files of that kind."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aios_db.engine.architectures.clip import ClipImageEncoder
from aios_db.engine.architectures.whisper import WhisperEncoder
from aios_db.engine.encoders.media_files import media_architecture, media_files
from aios_db.engine.frontends.audio import decode_audio
from aios_db.engine.frontends.image import load_pixels
from aios_db.engine.frontends.log_mel import log_mel
from aios_db.engine.quantization.checkpoint import texts_sha256
from aios_db.engine.quantization.subject import Batch
from aios_db.engine.quantization.training_texts import TrainingTexts
from aios_db.engine.validation.split import calibration_files, calibration_side
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


def open_calibration(directory: ModelDirectory, given: Sequence[str | Path]) -> Calibration:
    """Return what of ``given`` suits the model and may be calibrated on: texts (str), or files and folders.

    Raises
    ------
    NotSupportedError
        The model takes neither text nor sounds nor pictures.
    """
    if directory.tokenizer is not None:
        texts = (each for each in given if isinstance(each, str))
        return Texts(directory.tokenizer, calibration_side(texts))
    architecture = media_architecture(directory)
    if architecture is None:
        raise NotSupportedError(
            f"{directory.path} has no tokenizer, so it takes no text, and takes neither sounds nor pictures"
        )
    paths = media_files((each for each in given if isinstance(each, Path)), architecture)
    return MediaFiles(calibration_files(paths))


class Texts:
    """Texts for a text encoder or a language model."""

    def __init__(self, tokenizer: Path, texts: Sequence[str]) -> None:
        self._tokenizer, self._texts = tokenizer, texts
        self.sha256 = texts_sha256(texts)

    def batches(self, model: nn.Module, *, tokens: int, seed: int) -> Sequence[Batch]:
        """Return whole texts and pieces of texts."""
        return TrainingTexts(model, self._tokenizer, self._texts, tokens=tokens, seed=seed)


class MediaFiles:
    """Sound files for Whisper, picture files for CLIP; at most 4,000, files that cannot be read left out."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = random.Random(0).sample(files, min(len(files), MOST_FILES))
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        self.sha256 = digest.hexdigest()

    def batches(self, model: nn.Module, *, tokens: int, seed: int) -> list[Batch]:
        """Return windows of several sounds each, or pictures."""
        if isinstance(model, WhisperEncoder):
            batches = list(self._sounds(model, tokens))
        else:
            assert isinstance(model, ClipImageEncoder)
            batches = list(self._pictures(model, tokens))
        if not batches:
            raise DataError("quantization needs calibration files: there are none that can be read")
        random.Random(seed).shuffle(batches)
        return batches

    def _sounds(self, model: WhisperEncoder, batch_tokens: int) -> Iterator[Batch]:
        positions, mels = model.config.max_source_positions, model.config.num_mel_bins
        count = max(1, batch_tokens // positions)
        for windows in _chunks(_windows(self._decoded_sounds(), positions * FRAME), count):
            samples = np.zeros((len(windows), positions * FRAME), np.float32)
            for row, window in zip(samples, windows, strict=True):
                row[: window.size] = window
            ends = torch.tensor([[-(-window.size // FRAME)] for window in windows])
            mask = torch.arange(positions) < ends
            yield Batch((log_mel(torch.from_numpy(samples), mels),), mask, int(mask.sum()))

    def _decoded_sounds(self) -> Iterator[NDArray[np.float32]]:
        for file in self._files:
            try:
                yield decode_audio(file.read_bytes(), SAMPLE_RATE)
            except DataError as error:
                log.warning("%s is left out of the calibration: %s", file, error)

    def _pictures(self, model: ClipImageEncoder, batch_tokens: int) -> Iterator[Batch]:
        sizes = model.config
        positions = 1 + (sizes.image_size // sizes.patch_size) ** 2
        for pixels in _chunks(self._decoded_pictures(sizes.image_size), max(1, batch_tokens // positions)):
            yield Batch((torch.stack(pixels),), None, len(pixels) * positions)

    def _decoded_pictures(self, size: int) -> Iterator[Tensor]:
        for file in self._files:
            try:
                yield torch.from_numpy(load_pixels(file.read_bytes(), size))
            except DataError as error:
                log.warning("%s is left out of the calibration: %s", file, error)


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
