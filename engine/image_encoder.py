"""`ImageEncoder`: a CLIP model directory that turns pictures into unit vectors of the joint space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.frontends.image import load_pixels
from aios_db.engine.open_model import open_model
from aios_db.engine.unit_rows import unit_rows
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    from aios_db.engine.architectures.clip import ClipImageEncoder

BATCH = 16

_ENGINE = EngineConfig()  # frozen


class ImageEncoder:
    """A picture encoder: CLIP's preprocessing, its image encoder and the projection to the joint space.

    Safe to use from several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine
        Section of the configuration.

    Attributes
    ----------
    dimension : int
        Length of the vectors.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is no CLIP image encoder.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(self, model: str | Path, *, engine: EngineConfig = _ENGINE) -> None:
        self._model = open_model(model, engine, ("ViT",))
        config = cast("ClipImageEncoder", self._model.module).config
        self._size = config.image_size
        self.dimension = config.projection_dim
        self.version = self._model.version

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
        import torch

        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        start = 0
        with torch.inference_mode():
            for pixels in _batches(self._pixels(images)):
                vectors[start : start + len(pixels)] = (
                    self._model.module(torch.from_numpy(pixels)).float().numpy()
                )
                start += len(pixels)
        return unit_rows(vectors, self._model.weights.file)

    def close(self) -> None:
        """Release the weights and close the file."""
        self._model.close()

    def _pixels(self, images: Sequence[bytes]) -> Iterator[NDArray[np.float32]]:
        for position, image in enumerate(images):
            try:
                yield load_pixels(image, self._size)
            except DataError as error:
                raise DataError(f"image {position}: {error}") from error


def _batches(pixels: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    iterator = iter(pixels)
    while batch := list(islice(iterator, BATCH)):
        yield np.stack(batch)
