"""`JointSpace`: features of any modalities to a unit vector, and questions that rank such vectors.

The space has a block for each modality besides the pivot (text, where there is any): the directions in which
that modality and the pivot vary together. Every modality has coordinates in every block: the pivot and the
block's own by canonical correlation, the others by regression on the pivot's. In each block a vector has
length 1, so that a block more or less changes its scale and not its direction.

What a block is worth depends on what is asked and what is looked for: a question is therefore a matrix, with
one row for each set of modalities that a memory may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import single_threaded
from aios_db.engine.encoders.codebook import Codebook
from aios_db.engine.fusion.closed_form import Kernel, Matrix, hubness, in_blocks, unit
from aios_db.engine.fusion.perceptron import Perceptron
from aios_db.schema.modalities import MODALITIES, SETS, bits_of, names_in

Parts = Mapping[str, NDArray[np.float32]]
"""Features ``(width,)`` of one thing, by modality; those that are absent are left out."""
Pair = tuple[str, str]


@dataclass(frozen=True)
class Scaling:
    """Which features of a modality are used, and how they are made alike.

    Attributes
    ----------
    mean, scale
        (used,): features are centred and divided by these.
    start
        The first feature that is used; those before it, and those behind as many as there are means, are not.
    """

    mean: Matrix
    scale: Matrix
    start: int = 0

    def __call__(self, features: NDArray[np.floating]) -> Matrix:
        """Return (n, used) for features (n, width)."""
        used = features[:, self.start : self.start + len(self.mean)]
        return (np.asarray(used, np.float64) - self.mean) / self.scale


@dataclass(frozen=True)
class Projection:
    """From the features of one modality to the blocks.

    Attributes
    ----------
    scaling
        Makes of features what is projected.
    weights
        (used features, dimension of all blocks).
    kernel
        What is added to the linear coordinates, both of length 1 in each block; None for nothing.
    perceptron
        What moves these coordinates by the features, and is averaged with them; None for nothing.
    """

    scaling: Scaling
    weights: Matrix
    kernel: Kernel | None = None
    perceptron: Perceptron | None = None

    @single_threaded()
    def coordinates(self, features: NDArray[np.floating], spans: Sequence[slice]) -> Matrix:
        """Return (n, dimension), of length 1 in each block."""
        rows = self.scaling(features)
        found = in_blocks(rows @ self.weights, spans)
        if self.kernel is not None:
            found = in_blocks(found + in_blocks(self.kernel(rows), spans), spans)
        return found if self.perceptron is None else self.perceptron(found, rows, spans)


@dataclass(frozen=True)
class Ranking:
    """What is known of a question of one modality for another.

    Attributes
    ----------
    blocks
        Weight of each block, which add up to 1.
    spread
        Deviation of the score among unrelated ones, by which it is divided.
    """

    blocks: tuple[float, ...]
    spread: float = 1.0


@dataclass(frozen=True)
class JointSpace:
    """A fitted space.

    Attributes
    ----------
    encoders
        By modality, the weight version whose features it takes.
    blocks
        Names of the blocks, and where each ends.
    projections
        By modality.
    reliabilities
        By modality, how much its coordinates count in each block where several are fused.
    banks
        By modality, float64 (n, dimension): fitted things, unit in each block, as stand-ins for questions.
    rankings
        By what asks and what is looked for.
    shares
        By two modalities that ask together and what is looked for, the weight of the first; the second has
        the rest.
    untrained
        Whether it is CLIP's own and was not fitted: texts only ask, by the text side of CLIP.
    codebooks
        By modality, what its features are told by, where that was made of the pairs.
    """

    encoders: Mapping[str, str]
    blocks: tuple[tuple[str, int], ...]
    projections: Mapping[str, Projection]
    reliabilities: Mapping[str, tuple[float, ...]]
    banks: Mapping[str, Matrix] = field(default_factory=dict)
    rankings: Mapping[Pair, Ranking] = field(default_factory=dict)
    shares: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    untrained: bool = False
    codebooks: Mapping[str, Codebook] = field(default_factory=dict)

    @classmethod
    def of_clip(cls, encoders: Mapping[str, str], dimension: int) -> JointSpace:
        """Return the space in which the encoders of a CLIP model put texts and pictures, as it is."""
        same = Projection(Scaling(np.zeros(dimension), np.ones(dimension)), np.eye(dimension))
        return cls(
            encoders,
            (("clip", dimension),),
            dict.fromkeys(encoders, same),
            dict.fromkeys(encoders, (1.0,)),
            untrained=True,
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.blocks[-1][1]

    @property
    def spans(self) -> list[slice]:
        """Where each block lies."""
        ends = [end for _, end in self.blocks]
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def coordinates(self, modality: str, features: NDArray[np.floating]) -> Matrix:
        """Return (n, dimension): coordinates of one modality, of length 1 in each block."""
        return self.projections[modality].coordinates(features, self.spans)

    def embed(self, things: Sequence[Parts]) -> NDArray[np.float32]:
        """Return float32 (n, dimension) of length 1; zeros for a thing with no part that the space knows.

        A part that is absent is not there: it counts as nothing, and not as a vector of zeros.
        """
        summed = np.zeros((len(things), self.dimension))
        for modality in self.projections:
            rows = [row for row, parts in enumerate(things) if modality in parts]
            if rows:
                found = self.coordinates(modality, np.stack([things[row][modality] for row in rows]))
                for span, weight in zip(self.spans, self.reliabilities[modality], strict=True):
                    summed[np.ix_(rows, range(span.start, span.stop))] += weight * found[:, span]
        for span in self.spans:
            summed[:, span] = unit(summed[:, span])
        vectors: NDArray[np.float32] = unit(summed).astype(np.float32)
        return vectors

    def hubness(self, vectors: NDArray[np.float32], sets: Sequence[int]) -> NDArray[np.float32]:
        """Return float32 (n, 3): how near vectors of `embed` are to everything that each modality may ask.

        Parameters
        ----------
        vectors
            (n, dimension).
        sets
            The modalities of each, as bits.
        """
        found = np.zeros((len(vectors), len(MODALITIES)), np.float32)
        kinds = np.asarray(sets)
        for place, asks in enumerate(MODALITIES):
            for bits in np.unique(kinds).tolist():
                if asks in self.banks and bits:
                    of = np.flatnonzero(kinds == bits)
                    asked = self._scaled(self.banks[asks], asks, bits)
                    found[of, place] = hubness(asked, vectors[of].astype(np.float64))
        return found

    def question(self, parts: Parts) -> NDArray[np.float32]:
        """Return float32 (8, dimension + 3): for each set of modalities, what ranks memories of that set.

        The score of a memory is the inner product of its set's row with its vector and its hubness, one
        after the other.
        """
        rows = np.zeros((SETS, self.dimension + len(MODALITIES)), np.float32)
        asking = [modality for modality in MODALITIES if modality in parts and modality in self.projections]
        found = {asks: self.coordinates(asks, parts[asks][None]) for asks in asking}
        for bits in range(1, SETS):
            for asks, share in self._shares(asking, bits).items():
                weight = share / self._spread(asks, bits)
                rows[bits, : self.dimension] += weight * self._scaled(found[asks], asks, bits)[0]
                if asks in self.banks:
                    rows[bits, self.dimension + MODALITIES.index(asks)] -= weight / 2
        return rows

    def ranking(self, asks: str, bits: int) -> list[Ranking]:
        """Return what is known of a question for a memory with these modalities, one for each of them."""
        even = Ranking((1 / len(self.blocks),) * len(self.blocks))
        return [
            self.rankings.get((asks, finds), even) for finds in names_in(bits) if finds in self.projections
        ]

    def _scaled(self, coordinates: Matrix, asks: str, bits: int) -> Matrix:
        """Return coordinates that ask, weighted block by block; inner products are then weighted cosines."""
        known = self.ranking(asks, bits)
        weights = np.mean([each.blocks for each in known], axis=0) if known else np.ones(len(self.blocks))
        scaled: Matrix = coordinates * len(self.blocks) ** 0.5  # those of `embed` are shorter by that
        for span, weight in zip(self.spans, weights, strict=True):
            scaled[:, span] *= weight
        return scaled

    def _spread(self, asks: str, bits: int) -> float:
        return float(np.mean([each.spread for each in self.ranking(asks, bits)] or [1.0]))

    def _shares(self, asking: Sequence[str], bits: int) -> dict[str, float]:
        """Return how much each of several modalities that ask together counts."""
        shares = dict.fromkeys(asking, 1.0)
        targets = [each for each in names_in(bits) if each in self.projections]
        for first in asking:
            for second in asking:
                known = [
                    self.shares[first, second, each]
                    for each in targets
                    if (first, second, each) in self.shares
                ]
                if known:
                    shares[first] *= float(np.mean(known))
                    shares[second] *= 1 - float(np.mean(known))
        total = sum(shares.values())
        return {each: share / total for each, share in shares.items()} if total else shares

    def bits(self, parts: Parts) -> int:
        """Return the modalities of a thing that the space knows."""
        return bits_of(each for each in parts if each in self.projections)
