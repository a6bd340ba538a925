"""`ImageEncoder`: a CLIP model directory that turns pictures into unit vectors of the joint space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.kinds import IMAGE
from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.backends.session import Session
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.encoders.sample_media import sample_pixels
from aios_db.engine.encoders.unit_rows import unit_rows
from aios_db.engine.frontends.image import load_pixels
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    from aios_db.engine.architectures.clip import ClipImageEncoder

BATCH, DEVICE_BATCH = 16, 64
"""Pictures of one forward pass, on the CPU and on another device."""
RUN = 256
"""Pictures decoded at a time."""
BULK = 64


class ImageEncoder(Encoder):
    """A picture encoder: CLIP's preprocessing, its image encoder and the projection to the joint space.

    Safe to use from several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration.

    Attributes
    ----------
    dimension : int
        Length of the vectors.
    image_size : int
        Width and height of the pictures that the model sees.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is no CLIP image encoder.
    ValidationError
        The model is quantized and has no validation report that lets it be used.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(
        self,
        model: str | Path | Candidate,
        *,
        engine: EngineConfig = DEFAULTS.engine,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
        validation: ValidationConfig = DEFAULTS.validation,
    ) -> None:
        opened = open_model(model, engine, IMAGE, cpu=cpu, device=device, validation=validation)
        config = cast("ClipImageEncoder", opened.module).config
        self.image_size = config.image_size
        self.dimension = config.projection_dim
        program = opened.program(
            ((-1, 3, self.image_size, self.image_size),),
            lambda: self._sample(range(2, 10)),
            lambda: self._sample(range(2)),
            BULK,
            quantizable=False,
        )
        self._session = Session(program, opened.cpu, device)
        super().__init__(opened, self._session)

    def encode_image(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """Return a float32 array (len(images), dimension) of unit rows, in the order of ``images``.

        Raises
        ------
        DataError
            A picture cannot be decoded; the message names its position.
        MissingExtraError
            Pillow is not installed.
        WeightsError
            The model's weights make a vector that is not finite.
        """
        return self.encode_pixels(self._pixels(images))

    def encode_pixels(self, pixels: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return a float32 array (n, dimension) of unit rows for normalised pictures (3, size, size).

        Raises
        ------
        WeightsError
            The model's weights make a vector that is not finite.
        """
        size = BATCH if self._session.is_on_cpu else DEVICE_BATCH
        left, vectors = iter(pixels), [np.empty((0, self.dimension), dtype=np.float32)]
        while batches := list(_batches(islice(left, RUN), size)):
            vectors += self._session.run(batches)
        return unit_rows(np.concatenate(vectors), self._model.file)

    def _pixels(self, images: Sequence[bytes]) -> Iterator[NDArray[np.float32]]:
        for position, image in enumerate(images):
            try:
                yield load_pixels(image, self.image_size)
            except DataError as error:
                raise DataError(f"image {position}: {error}") from error

    def _sample(self, seeds: range) -> list[Arrays]:
        return [(sample_pixels(seed, self.image_size)[None],) for seed in seeds]


def _batches(pixels: Iterable[NDArray[np.float32]], size: int) -> Iterator[Arrays]:
    iterator = iter(pixels)
    while batch := list(islice(iterator, size)):
        yield (np.stack(batch),)
