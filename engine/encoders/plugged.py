"""Encoders that users bring: a name, a modality, a length, and a function from a batch to an array."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.encoders.sample_media import sample_picture, sample_sound
from aios_db.schema.amounts import amount
from aios_db.schema.errors import OperationalError, ProgrammingError, ValidationError

Modality = Literal["text", "image", "audio"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TEXTS = ("a dog runs over the grass", "two people talk", "the clock strikes nine in the old town hall")
_TOLERANCE = 1e-3  # of a feature, relative to the longest: what a batch may change
_SAME = 1e-6  # of a feature, relative to the longest: what is no difference between samples
_SKETCH = 16  # numbers that an encoder without a version is known by


@dataclass(frozen=True)
class MediaEncoder:
    """A user's encoder.

    Attributes
    ----------
    name
        Lower case letters, digits and underscores; ``embed_<name>`` is its SQL function.
    modality
        What it takes: ``text``, ``image`` or ``audio``.
    dimension
        Length of what it makes of an item, or of each of an item's tokens.
    encode
        Called with a batch: texts; pictures, uint8 ``(n, size, size, 3)`` in RGB; or sounds, a list of
        float32 ``(samples,)`` at `rate`. Returns an array ``(n, dimension)``, or a list of n arrays
        ``(tokens, dimension)``, which are pooled to mean, deviation and maximum.
    version
        Of its weights, in any words; by default it is known by what it makes of three samples.
    size
        Pixels of a side of the pictures that it takes.
    rate
        Samples per second of the sounds that it takes.
    batch
        Items in a call, at most.

    Raises
    ------
    ProgrammingError
        A value makes no sense.
    """

    name: str
    modality: Modality
    dimension: int
    encode: Callable[[Any], Any]
    version: str | None = None
    size: int = 224
    rate: int = 16_000
    batch: int = 32

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise ProgrammingError(
                f"an encoder cannot be called {self.name!r}: give lower case letters, digits and underscores"
            )
        if self.modality not in MODALITIES:
            raise ProgrammingError(f"modality is {self.modality!r}; it is one of {', '.join(MODALITIES)}")
        if not callable(self.encode):
            raise ProgrammingError(f"encoder {self.name!r}: encode is no function")
        for name in ("dimension", "size", "rate", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ProgrammingError(
                    f"encoder {self.name!r}: {name} is {value!r}; give a whole number from 1"
                )

    def run(self, items: Any) -> NDArray[np.float32]:
        """Return float32 ``(n, width)``: what `encode` makes of a batch, its tokens pooled.

        Raises
        ------
        ValidationError
            It returned another number of rows, or another length, or what is not finite.
        """
        made = self.encode(items)
        rows = [np.asarray(each, np.float32) for each in made]
        if len(rows) != len(items):
            raise ValidationError(
                f"encoder {self.name!r} returned {amount(len(rows), 'row')} for {amount(len(items), 'item')}"
            )
        for row in rows:
            if row.ndim not in (1, 2) or row.shape[-1] != self.dimension or not row.size:
                raise ValidationError(
                    f"encoder {self.name!r} returned shape {row.shape} for an item; give ({self.dimension},) "
                    f"or (tokens, {self.dimension})"
                )
            if not np.isfinite(row).all():
                raise ValidationError(f"encoder {self.name!r} returned NaN or infinity")
        return np.stack([row if row.ndim == 1 else pooled(row) for row in rows])

    def admitted(self) -> AdmittedEncoder:
        """Return the encoder past its gate: on three samples it must answer as it should.

        Raises
        ------
        ValidationError
            It raises; shapes or numbers are wrong; its answer depends on what else is in the batch, or not on
            the item at all.
        """
        samples = self.samples()
        try:
            found = self.run(samples)
        except ValidationError:
            raise
        except Exception as error:
            raise ValidationError(f"encoder {self.name!r} fails on samples: {error!r}") from error
        scale = float(np.abs(found).max()) or 1.0
        if np.abs(found - found[0]).max() <= _SAME * scale:
            raise ValidationError(f"encoder {self.name!r} answers the same, whatever it is given")
        for place in range(len(samples)):
            alone = self.run(samples[place : place + 1])[0]
            if alone.shape != found[place].shape or np.abs(alone - found[place]).max() > _TOLERANCE * scale:
                raise ValidationError(
                    f"encoder {self.name!r} answers otherwise for an item alone than in a batch: let it "
                    "compute each item by itself, without dropout and without statistics of the batch"
                )
        return AdmittedEncoder(
            self, self._version(found / scale), found.shape[1], rooted=bool(found.min() >= 0)
        )

    def samples(self) -> Any:
        """Return three items that it is tried on."""
        if self.modality == "text":
            return list(_TEXTS)
        if self.modality == "image":
            return np.stack([sample_picture(seed, self.size) for seed in range(3)])
        return [sample_sound(seed, 0.5 + 0.25 * seed, self.rate) for seed in range(3)]

    def _version(self, found: NDArray[np.float32]) -> str:
        random = np.random.default_rng(0).normal(size=(found.shape[1], _SKETCH)) / found.shape[1] ** 0.5
        sketch = np.round(found @ random, 2).tolist() if self.version is None else self.version
        known = [self.name, self.modality, self.dimension, self.size, self.rate, sketch]
        return f"{self.name}@{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class AdmittedEncoder:
    """A user's encoder that has passed its gate; its function is called by one thread at a time.

    Attributes
    ----------
    version
        ``name@`` and 12 hex digits.
    width
        Length of an item's features: the dimension, or three times that where tokens are pooled.
    rooted
        Whether features are no less than 0: counts of a kind, with few great ones, whose root is taken.
    """

    encoder: MediaEncoder
    version: str
    width: int
    rooted: bool
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def run(self, items: Any) -> NDArray[np.float32]:
        """Return float32 ``(n, width)``, see `MediaEncoder.run`."""
        with self._lock:
            found = self.encoder.run(items)
        return np.sqrt(np.maximum(found, 0)).astype(np.float32) if self.rooted else found

    def check_works(self) -> None:
        """Refuse an encoder that fails on the samples that it was admitted with: no item is at fault then.

        Raises
        ------
        OperationalError
            It fails on them now.
        """
        try:
            self.run(self.encoder.samples())
        except Exception as error:
            raise OperationalError(
                f"encoder {self.encoder.name!r} fails now, on its samples, too: {error!r}; see what it "
                "needs, a service or memory, and try again"
            ) from error


def pooled(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mean, deviation and maximum over (tokens, dimension): (3 * dimension,)."""
    return np.concatenate([tokens.mean(0), tokens.std(0), tokens.max(0)])


def encoder_from(found: object, where: str) -> MediaEncoder:
    """Return what a module or an entry point offers as an encoder.

    Raises
    ------
    ProgrammingError
        It is none.
    """
    made = found() if callable(found) and not isinstance(found, MediaEncoder) else found
    if not isinstance(made, MediaEncoder):
        raise ProgrammingError(
            f"{where} is a {type(made).__name__}; give an aios_db.MediaEncoder, or make one"
        )
    return made
