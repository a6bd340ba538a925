"""Features: what encoders make of texts, pictures and sounds, and an error in the place of a bad item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.encoders.audio_encoder import SAMPLE_RATE, AudioEncoder
from aios_db.engine.encoders.codebook import Codebook
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.engine.encoders.plugged import AdmittedEncoder, Modality, pooled
from aios_db.engine.frontends.audio import decode_audio, without_trailing_silence
from aios_db.engine.frontends.image import load_pixels, normalised
from aios_db.engine.frontends.views import VIEWS, nine_views
from aios_db.schema import deadlines
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, ProgrammingError

Item: TypeAlias = "bytes | str"
"""A text, or the bytes of a file."""
Vector = NDArray[np.float32]
Read: TypeAlias = "Vector | DataError"

RECIPE = 4
"""Of how features are made of items: those of another recipe are not compared, nor kept for a fit."""
SHORTEST_S = 0.02
_SOUNDS, _OWN = 32, 64  # items in memory at a time
_PICTURES = 8  # whose views are in memory at a time


class Features(Protocol):
    """What makes features of one modality; safe to use from several threads."""

    @property
    def modality(self) -> Modality:
        """What it takes."""
        ...

    @property
    def version(self) -> str:
        """The encoder's weight version."""
        ...

    @property
    def key(self) -> str:
        """What features are known by: the version, and the codebook that they are told by."""
        ...

    def read(self, items: Sequence[Item]) -> list[Read]:
        """Return float32 ``(width,)`` for each item, or what is wrong with it; the rest goes on."""
        ...

    def own(self, items: Sequence[Item]) -> list[Read]:
        """Return the unit vector of each item in the encoder's own space, or what is wrong with it."""
        ...


class TextEncoder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def version(self) -> str:
        """Name and hash of the weights."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``."""
        ...


@dataclass
class TextFeatures:
    """A text encoder's vectors."""

    encoder: TextEncoder
    modality: Modality = "text"

    @property
    def version(self) -> str:
        """The encoder's weight version."""
        return self.encoder.version

    @property
    def key(self) -> str:
        """The version."""
        return self.version

    def read(self, items: Sequence[Item]) -> list[Read]:
        """Return the vector of each text; a blank one is an error."""
        texts = [item if isinstance(item, str) else "" for item in items]
        told = [text for text in texts if text.strip()]
        vectors = iter(self.encoder.encode(told) if told else ())
        return [next(vectors) if text.strip() else DataError("the text is blank") for text in texts]

    def own(self, items: Sequence[Item]) -> list[Read]:
        """Return the vector of each text."""
        return self.read(items)


@dataclass
class SoundFeatures:
    """Moments of the states over a sound's own frames, and how often these are near to a codebook's entries.

    A fit uses the better of these two parts.

    Attributes
    ----------
    codebook
        Of the joint space; None until a fit has made one.
    """

    encoder: AudioEncoder
    codebook: Codebook | None = None
    modality: Modality = "audio"

    @property
    def version(self) -> str:
        """The encoder's weight version."""
        return self.encoder.version

    @property
    def key(self) -> str:
        """The version, and the codebook's digest."""
        return self.version if self.codebook is None else f"{self.version}-{self.codebook.digest}"

    def read(self, items: Sequence[Item]) -> list[Read]:
        """Return features (3 * dimension + entries,) of each sound file.

        Raises
        ------
        ProgrammingError
            There is no codebook.
        """
        states = (self.states(item) for item in items)
        return [each if isinstance(each, DataError) else self.of_states(each) for each in states]

    @property
    def parts(self) -> tuple[int, int]:
        """Where the moments end, and the code."""
        moments = 3 * self.encoder.dimension
        return moments, moments + self._known_codebook.width

    def of_states(self, states: Vector) -> Vector:
        """Return the features of states (frames, dimension); see `read`."""
        return np.concatenate([pooled(states), self._known_codebook.code(states)])

    @property
    def _known_codebook(self) -> Codebook:
        if self.codebook is None:
            raise ProgrammingError("sounds have no features without a codebook, which fitting a space makes")
        return self.codebook

    def states(self, item: Item) -> Read:
        """Return the states (frames, dimension) of a sound file, or what is wrong with it."""
        deadlines.check()
        made: Read = _tried(lambda data: self.encoder.encode_states(heard(data, SAMPLE_RATE)), item)
        if isinstance(made, DataError) or np.isfinite(made).all():
            return made
        return DataError("the encoder makes NaN or infinity of it")

    def own(self, items: Sequence[Item]) -> list[Read]:
        """Return the mean of the states of each sound file, of length 1."""
        return _in_groups(
            items,
            lambda data: (decode_audio(data, SAMPLE_RATE), SAMPLE_RATE),
            self.encoder.encode_audio,
            _SOUNDS,
        )


@dataclass
class PictureFeatures:
    """The mean of CLIP's vectors of nine views."""

    encoder: ImageEncoder
    modality: Modality = "image"

    @property
    def version(self) -> str:
        """The encoder's weight version."""
        return self.encoder.version

    @property
    def key(self) -> str:
        """The version."""
        return self.version

    def read(self, items: Sequence[Item]) -> list[Read]:
        """Return features (dimension,) of each picture file."""
        size = self.encoder.image_size
        return _in_groups(items, lambda data: nine_views(data, size), self._of_views, _PICTURES)

    def own(self, items: Sequence[Item]) -> list[Read]:
        """Return CLIP's vector of each picture file."""
        size = self.encoder.image_size
        return _in_groups(items, lambda data: load_pixels(data, size), self.encoder.encode_pixels, _OWN)

    def _of_views(self, views: list[NDArray[np.uint8]]) -> Vector:
        pixels = (normalised(view) for picture in views for view in picture)
        vectors = self.encoder.encode_pixels(pixels)
        means: Vector = vectors.reshape(len(views), VIEWS, -1).mean(1)
        return means


@dataclass
class PluggedFeatures:
    """A user's encoder; of a picture, the mean over nine views."""

    admitted: AdmittedEncoder

    @property
    def modality(self) -> Modality:
        """What the encoder takes."""
        return self.admitted.encoder.modality

    @property
    def version(self) -> str:
        """The encoder's weight version."""
        return self.admitted.version

    @property
    def key(self) -> str:
        """The version."""
        return self.version

    def read(self, items: Sequence[Item]) -> list[Read]:
        """Return features (width,) of each item."""
        encoder = self.admitted.encoder
        if encoder.modality == "text":
            return _in_groups(items, _told, self.admitted.run, encoder.batch)
        if encoder.modality == "audio":
            clip = lambda data: without_trailing_silence(heard(data, encoder.rate))  # noqa: E731
            return _in_groups(items, clip, self.admitted.run, encoder.batch)
        return _in_groups(items, lambda data: nine_views(data, encoder.size), self._of_views, _PICTURES)

    def own(self, items: Sequence[Item]) -> list[Read]:
        """Return the features of each item, of length 1."""
        return [each if isinstance(each, DataError) else _of_length_1(each) for each in self.read(items)]

    def _of_views(self, views: list[NDArray[np.uint8]]) -> Vector:
        encoder = self.admitted.encoder
        flat = np.concatenate(views)
        parts = []
        for start in range(0, len(flat), encoder.batch):
            deadlines.check()
            parts.append(self.admitted.run(flat[start : start + encoder.batch]))
        means: Vector = np.concatenate(parts).reshape(len(views), VIEWS, -1).mean(1)
        return means


def heard(data: bytes, rate: int) -> Vector:
    """Decode a sound that lasts at least 20 ms."""
    samples = decode_audio(data, rate)
    if len(samples) < SHORTEST_S * rate:
        raise DataError(
            f"audio of {amount(len(samples), 'sample')} at {rate} Hz is shorter than {SHORTEST_S:g} s"
        )
    return samples


def _of_length_1(features: Vector) -> Read:
    norm = float(np.linalg.norm(features))
    return features / np.float32(norm) if norm > 0 else DataError("its features are all 0")


def _told(item: Any) -> str:
    if not (isinstance(item, str) and item.strip()):
        raise DataError("the text is blank")
    return item


def _tried(read: Callable[[Any], Any], item: Item) -> Any:
    try:
        return read(item)
    except DataError as error:
        return error


def _in_groups(
    items: Sequence[Item], read: Callable[[Any], Any], run: Callable[[list[Any]], Vector], size: int
) -> list[Read]:
    """Read some items at a time and run those that can be read, so that memory is bounded.

    Raises
    ------
    OperationalError
        The statement that needs them has no time left, or was interrupted.
    """
    found: list[Read] = []
    left: Iterator[Any] = (_tried(read, item) for item in items)
    while group := list(islice(left, size)):
        deadlines.check()
        good = [each for each in group if not isinstance(each, DataError)]
        vectors = iter(run(good) if good else ())
        found += [each if isinstance(each, DataError) else next(vectors) for each in group]
    return found
