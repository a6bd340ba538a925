"""Regularised canonical correlation and ridge regression, with their decompositions kept for other strengths.

Canonical correlation (Hotelling, 1936) regularised as by Vinod (1976): the covariance of each side gets a
ridge of so many times its mean eigenvalue. Coordinates are weighted by their correlation, so that the inner
product of both sides counts each by its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError

Matrix = NDArray[np.float64]
_BLOCK = 4096


@dataclass(frozen=True)
class Side:
    """Centred rows (n, width), and the eigenvectors of their covariance."""

    rows: Matrix

    @cached_property
    def _spectrum(self) -> tuple[Matrix, Matrix]:
        """Eigenvalues (r,) and eigenvectors (width, r), r of n and width at most."""
        n, width = self.rows.shape
        if n >= width:
            values, vectors = np.linalg.eigh(self.rows.T @ self.rows / n)
            return np.maximum(values, 0), vectors
        values, left = np.linalg.eigh(self.rows @ self.rows.T / n)
        values = np.maximum(values, 0)
        if not values.any():
            raise DataError("all items are alike in one modality: there is nothing to tell them apart by")
        scale = np.sqrt(n * np.maximum(values, values.max() * 1e-12))
        return values, self.rows.T @ left / scale

    @cached_property
    def turned(self) -> Matrix:
        """The rows in the directions of the eigenvectors, (n, r)."""
        return self.rows @ self.directions

    @property
    def directions(self) -> Matrix:
        """The eigenvectors, (width, r)."""
        return self._spectrum[1]

    def variances(self, ridge: float) -> Matrix:
        """Return (r,): the eigenvalues with a ridge of so many times their mean over all directions."""
        values, _ = self._spectrum
        return values + ridge * float(values.sum() / self.rows.shape[1]) + 1e-12

    def of(self, chosen: NDArray[np.bool_]) -> Side:
        """Return the side of some of the rows; bool (n,)."""
        return self if chosen.all() else Side(self.rows[chosen])

    def regression(self, targets: Matrix, ridge: float) -> Matrix:
        """Return (width, d): the ridge regression of centred targets (n, d) on the rows."""
        inner = self.turned.T @ targets / len(self.rows)
        return self.directions @ (inner / self.variances(ridge)[:, None])


@dataclass(frozen=True)
class Canonical:
    """Both sides of a canonical correlation.

    Attributes
    ----------
    left, right
        (width, d): projections of centred rows, weighted by the correlations.
    correlations
        (d,), of the regularised sides, the highest first.
    """

    left: Matrix
    right: Matrix
    correlations: Matrix


def canonical(left: Side, right: Side, partners: Matrix, ridges: tuple[float, float], most: int) -> Canonical:
    """Return the directions in which two sides vary together.

    Parameters
    ----------
    left, right
        The sides; they may have different numbers of rows.
    partners
        (rows of left, width of right): what belongs to each row of the left side, centred as the right side.
    ridges
        Of both sides, in mean eigenvalues.
    most
        Directions at most.
    """
    deviations = np.sqrt(left.variances(ridges[0])), np.sqrt(right.variances(ridges[1]))
    cross = (left.turned / deviations[0]).T @ (partners @ right.directions / deviations[1]) / len(partners)
    u, correlations, v = _weighted_svd(cross, min(most, *cross.shape, max(1, len(partners) - 1)))
    return Canonical(
        left.directions @ (u / deviations[0][:, None]),
        right.directions @ (v / deviations[1][:, None]),
        correlations,
    )


def _weighted_svd(cross: Matrix, count: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the first left singular vectors (n, count) times their values, the values, and so the right.

    They are made of the eigenvectors of the smaller product of the matrix (n, m) with itself, in half the
    time of a whole decomposition. Small values are less exact by that, and count as little as they are.
    """
    if cross.shape[0] < cross.shape[1]:
        v, values, u = _weighted_svd(cross.T, count)
        return u, values, v
    squares, vectors = np.linalg.eigh(cross.T @ cross)
    right = vectors[:, ::-1][:, :count]
    values = np.sqrt(np.maximum(squares[::-1][:count], 0))
    return cross @ right, values, right * values


@dataclass(frozen=True)
class Kernel:
    """A kernel ridge regression with Gaussians around some of the rows (Nystroem, where these are not all).

    Attributes
    ----------
    landmarks
        (m, width).
    width
        Squared distance at which the kernel has fallen to 1/e.
    weights, offset
        (m, d) and (d,): what a row is mapped to is its kernel values times the weights, and the offset.
    """

    landmarks: Matrix
    width: float
    weights: Matrix
    offset: Matrix

    def __call__(self, rows: Matrix) -> Matrix:
        """Return (n, d) for rows (n, width)."""
        found: Matrix = _gaussians(rows, self.landmarks, self.width) @ self.weights + self.offset
        return found


class Landmarks:
    """Some of the rows (n, width) of a side, around which kernels of any targets are fitted.

    Parameters
    ----------
    rows
        Centred.
    most
        Landmarks at most; of more rows as many are drawn by lot.
    """

    def __init__(self, rows: Matrix, most: int, seed: int = 0) -> None:
        some = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
        self._rows, self._landmarks = rows, rows[some]
        apart = _distances(self._landmarks, self._landmarks)
        self._width = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
        self._among: Matrix = np.exp(-apart / self._width)

    def kernel(self, targets: Matrix, ridge: float) -> Kernel:
        """Return the ridge regression of targets (n, d) on the rows."""
        landmarks, among, offset = self._landmarks, self._among, targets.mean(0)
        if len(landmarks) == len(self._rows):
            weights = np.linalg.solve(among + ridge * np.eye(len(landmarks)), targets - offset)
        else:
            inner, right = np.zeros_like(among), np.zeros((len(landmarks), targets.shape[1]))
            for start in range(0, len(self._rows), _BLOCK):
                values = _gaussians(self._rows[start : start + _BLOCK], landmarks, self._width)
                inner += values.T @ values
                right += values.T @ (targets[start : start + _BLOCK] - offset)
            weights = np.linalg.solve(inner + ridge * among + 1e-6 * np.eye(len(landmarks)), right)
        return Kernel(landmarks, self._width, weights, offset)


def _gaussians(rows: Matrix, landmarks: Matrix, width: float) -> Matrix:
    """Return (n, m): how near each row (n, d) is to each landmark (m, d), 1 at a distance of 0."""
    near: Matrix = np.exp(-_distances(rows, landmarks) / width)
    return near


def _distances(first: Matrix, second: Matrix) -> Matrix:
    """Return the squared distances (n, m) of rows."""
    found: Matrix = first @ second.T
    found *= -2
    found += np.einsum("nd,nd->n", first, first)[:, None]
    found += np.einsum("nd,nd->n", second, second)
    return np.maximum(found, 0, out=found)


def unit(rows: Matrix) -> Matrix:
    """Return rows of length 1, zeros for zeros."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def in_blocks(rows: Matrix, spans: Sequence[slice]) -> Matrix:
    """Return rows (n, dimension) of length 1 in each block."""
    return np.hstack([unit(rows[:, span]) for span in spans])


def hubness(bank: Matrix, points: Matrix, neighbours: int = 10) -> Matrix:
    """Return (n,): the mean similarity of each point (n, d) to its nearest in a bank (m, d).

    What many queries find near is a hub; cross-domain similarity local scaling (CSLS; Conneau et al., 2018)
    takes this off.
    """
    count = min(neighbours, len(bank))
    if not count:
        return np.zeros(len(points))
    similar = points @ bank.T
    found: Matrix = np.partition(similar, similar.shape[1] - count, axis=1)[:, -count:].mean(1)
    return found
