"""`Perceptron`: moves the closed form's coordinates by what it makes of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aios_db.engine.fusion.closed_form import Matrix, in_blocks


@dataclass(frozen=True)
class Perceptron:
    """A layer of rectified units between the features of one modality and what is added to its coordinates.

    Attributes
    ----------
    hidden_weights, hidden_offset
        (width, units) and (units,).
    weights, offset
        (units, dimension) and (dimension,); all 0, it changes nothing.
    """

    hidden_weights: Matrix
    hidden_offset: Matrix
    weights: Matrix
    offset: Matrix

    def __call__(self, coordinates: Matrix, features: Matrix, spans: Sequence[slice]) -> Matrix:
        """Return (n, dimension) of length 1 in each block: the mean of coordinates and of those moved.

        Parameters
        ----------
        coordinates
            (n, dimension) of length 1 in each block.
        features
            (n, width), as `Projection.prepared` returns them.
        spans
            The blocks.
        """
        units = np.maximum(features @ self.hidden_weights + self.hidden_offset, 0)
        moved = in_blocks(coordinates + units @ self.weights + self.offset, spans)
        return in_blocks(coordinates + moved, spans)
