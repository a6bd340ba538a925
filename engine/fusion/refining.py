"""The fusion MLP: perceptrons that move the closed form's coordinates, tried on held-out pairs against it.

The coordinates of pairs that a space was fitted on are nearer to each other than those of others, and nothing
could be learned from them. So perceptrons are trained on coordinates of pairs that were held out, which the
closed form of each fold has made; a rotation brings these into the space of all pairs (orthogonal
Procrustes, Schoenemann, 1966, on the pivot's coordinates).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from aios_db.engine.fusion.closed_form import Matrix
from aios_db.engine.fusion.held_out import HeldOut
from aios_db.engine.fusion.joint_space import JointSpace, Ranking
from aios_db.engine.fusion.measuring import quality
from aios_db.engine.fusion.pairs import Pairs
from aios_db.engine.fusion.perceptron import Perceptron
from aios_db.schema.progress import Progress

if TYPE_CHECKING:
    from aios_db.engine.fusion.perceptron_training import Examples

log = logging.getLogger("aios_db.engine.fusion")

FEWEST_FOLDS = 3
"""To train on, to stop by, and to be tried on."""
_CLEARLY = 1.02  # times the closed form, in the mean: what chance makes of some hundred pairs is less
_WORSE = 0.95  # of the closed form, for one question: less than chance makes of a few hundred pairs

Rankings = Mapping[tuple[str, str], Ranking]


@dataclass(frozen=True)
class Trial:
    """What the fusion MLP found of pairs that were held out, beside the closed form.

    Attributes
    ----------
    closed_form, mlp
        Mean reciprocal rank by ``asks -> finds``.
    epochs
        After which training was best, in each fold.
    is_used
        Whether the space has it: it is clearly better in the mean, and clearly worse for no question.
    """

    closed_form: Mapping[str, float]
    mlp: Mapping[str, float]
    epochs: tuple[int, ...]
    is_used: bool

    def __str__(self) -> str:
        told = "is used" if self.is_used else "is not used, and the closed form stays"
        each = (f"{name} {found:.3f}/{self.closed_form[name]:.3f}" for name, found in self.mlp.items())
        return (
            f"the fusion MLP {told}: mean reciprocal rank on held-out pairs {_mean(self.mlp):.3f}, "
            f"{_mean(self.closed_form):.3f} of the closed form ({', '.join(each)})"
        )


def refined(  # noqa: PLR0917 - what a trial takes
    space: JointSpace,
    pairs: Pairs,
    held: Sequence[HeldOut],
    rankings: Rankings,
    seed: int,
    progress: Progress,
) -> tuple[JointSpace, list[HeldOut], Trial | None]:
    """Return a space with a fusion MLP, what its folds make of held-out pairs, and how it was tried.

    The space and the folds are returned as they are where the MLP is not used.

    Parameters
    ----------
    space
        Of all pairs.
    held
        What the closed form of each fold makes of the pairs that were held out.
    rankings
        Of the closed form.
    seed
        Of the training.
    """
    from aios_db.engine.fusion.perceptron_training import trained

    if len(held) < FEWEST_FOLDS:
        log.warning("too few pairs for a fusion MLP: the closed form is used")
        return space, list(held), None
    turned = [_turned(each, space, pairs) for each in held]
    moved, epochs = [], []
    for place, asked in enumerate(turned):
        progress("training the fusion MLP", place, len(turned) + 1)
        stops = turned[(place + 1) % len(turned)]
        others = [each for each in turned if each is not asked and each is not stops]
        found, best = trained(
            _examples(others),
            space.spans,
            rankings,
            seed=seed,
            judge=lambda made, stops=stops: _mean(_measured([_moved(stops, made)], rankings)),  # type: ignore[misc]
        )
        moved.append(_moved(asked, found))
        epochs.append(best)
    closed_form, mlp = _measured(held, rankings), _measured(moved, rankings)
    is_used = _mean(mlp) > _CLEARLY * _mean(closed_form) and all(
        mlp[each] >= _WORSE * closed_form[each] for each in mlp
    )
    trial = Trial(closed_form, mlp, tuple(epochs), is_used)
    log.info("%s", trial)
    if not is_used:
        return space, list(held), trial
    progress("training the fusion MLP", len(turned), len(turned) + 1)
    most = round(float(np.median(epochs)))
    perceptrons, _ = trained(_examples(turned), space.spans, rankings, seed=seed, epochs=most)
    return _with(space, perceptrons), moved, trial


def _examples(held: Sequence[HeldOut]) -> Examples:
    """Return what several folds make of the pairs that were held out."""
    from aios_db.engine.fusion.perceptron_training import Examples

    having = {name: [each for each in held if name in each.coordinates] for name in held[0].space.projections}
    having = {name: folds for name, folds in having.items() if folds}
    return Examples(
        {name: np.vstack([each.coordinates[name] for each in folds]) for name, folds in having.items()},
        {name: np.vstack([_scaled(each, name) for each in folds]) for name, folds in having.items()},
        {name: np.concatenate([each.rows[name].items for each in folds]) for name, folds in having.items()},
        held[0].classes,
    )


def _scaled(held: HeldOut, name: str) -> Matrix:
    return held.space.projections[name].scaling(held.rows[name].features)


def _turned(held: HeldOut, space: JointSpace, pairs: Pairs) -> HeldOut:
    """Return what a fold makes of pairs, turned into the space of all pairs."""
    pivot = pairs.pivot
    features = pairs.rows[pivot].features
    mine, whole = held.space.coordinates(pivot, features), space.coordinates(pivot, features)
    rotations = []
    for span, into in zip(held.space.spans, space.spans, strict=True):
        left, _, right = np.linalg.svd(mine[:, span].T @ whole[:, into], full_matrices=False)
        rotations.append(left @ right)

    def turn(rows: Matrix) -> Matrix:
        spans = zip(held.space.spans, rotations, strict=True)
        return np.hstack([rows[:, span] @ rotation for span, rotation in spans])

    return replace(
        held,
        space=space,
        coordinates={name: turn(rows) for name, rows in held.coordinates.items()},
        banks={name: turn(rows) for name, rows in held.banks.items()},
    )


def _moved(held: HeldOut, perceptrons: Mapping[str, Perceptron]) -> HeldOut:
    """Return what a fold makes of pairs with perceptrons."""
    spans, projections = held.space.spans, held.space.projections
    return replace(
        held,
        coordinates={
            name: perceptrons[name](rows, _scaled(held, name), spans)
            for name, rows in held.coordinates.items()
        },
        banks={
            name: perceptrons[name](rows, projections[name].scaling(held.known[name]), spans)
            for name, rows in held.banks.items()
        },
    )


def _with(space: JointSpace, perceptrons: Mapping[str, Perceptron]) -> JointSpace:
    return replace(
        space,
        projections={
            name: replace(projection, perceptron=perceptrons[name])
            for name, projection in space.projections.items()
        },
    )


def _measured(held: Sequence[HeldOut], rankings: Rankings) -> dict[str, float]:
    """Return the mean reciprocal rank over the folds, by what asks and what is looked for."""
    names = [name for name in held[0].space.projections if all(name in each.coordinates for each in held)]
    return {
        f"{asks} -> {finds}": float(
            np.mean([quality(each.said_ranks(asks, finds, rankings[asks, finds].blocks)) for each in held])
        )
        for asks, finds in permutations(names, 2)
    }


def _mean(measured: Mapping[str, float]) -> float:
    return float(np.mean(list(measured.values())))
