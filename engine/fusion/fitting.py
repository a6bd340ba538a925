"""Fitting a joint space on pairs: strengths are chosen on pairs held out in turn, then all are fitted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.fusion.closed_form import Canonical, Kernel, Matrix, Side, canonical, hubness
from aios_db.engine.fusion.joint_space import JointSpace, Projection, Ranking
from aios_db.engine.fusion.measuring import Recall, quality, ranks_of_classes, recall_of
from aios_db.engine.fusion.pairs import Pairs, Rows
from aios_db.schema.errors import DataError

log = logging.getLogger("aios_db.engine.fusion")

FEWEST = 8
"""Items with a modality and the pivot, under which there is nothing to fit."""
MOST_DIRECTIONS = 100
MOST_TRIED = 4_000
"""Items that strengths are chosen on."""
BANK = 1_024
_FOLDS, _MANY_FOLDS = 4, 8
_FEW_ITEMS = 120
_RIDGES = ((3.0, 1.0), (3.0, 3.0), (1.0, 1.0), (10.0, 3.0))
_CLEARLY = 1.02
_CROSS_RIDGE = 1.0
_KERNEL_RIDGE = 0.1
_LANDMARKS = 1_000
_MOSTLY = 0.85
_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)

_T = TypeVar("_T")
Progress = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True)
class Strength:
    """How a block is fitted.

    Attributes
    ----------
    ridges
        Of the block's modality and of the pivot, in mean eigenvalues.
    nearest
        Whether of several texts of an item only the nearest belongs to the other side: it is what was said.
    """

    ridges: tuple[float, float] = (3.0, 3.0)
    nearest: bool = False


@dataclass(frozen=True)
class Fitted:
    """A space, and what it found of pairs that were held out from its like."""

    space: JointSpace
    recalls: tuple[Recall, ...]
    strengths: Mapping[str, Strength]


class _Prepared:
    """Some pairs, centred and scaled, with the decompositions that all strengths share."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.mean: dict[str, Matrix] = {}
        self.scale: dict[str, Matrix] = {}
        self.sides: dict[str, Side] = {}
        for name in pairs.modalities:
            rows = np.asarray(pairs.rows[name].features, np.float64)
            self.mean[name] = rows.mean(0)
            deviation = rows.std(0)
            scale = deviation + 1e-3 * float(deviation.mean()) + 1e-12
            if name == pairs.pivot:  # a vector, whose directions are as they should be
                scale = np.full(rows.shape[1], float(deviation.mean()) + 1e-12)
            self.scale[name] = scale
            self.sides[name] = Side((rows - self.mean[name]) / scale)

    def block(self, name: str, strength: Strength) -> Canonical:
        """Return the canonical correlation of a modality with the pivot."""
        pairs, pivot = self.pairs, self.pairs.pivot
        mine, theirs = pairs.rows[name], pairs.rows[pivot]
        with_both = np.isin(mine.items, theirs.items)
        left = Side(self.sides[name].rows[with_both]) if not with_both.all() else self.sides[name]
        items = mine.items[with_both]
        right = self.sides[pivot]
        partners = _mean_of(right.rows, theirs.items, items)
        found = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        if strength.nearest and len(theirs.items) > len(np.unique(theirs.items)):
            for _ in range(2):
                told = _unit(right.rows @ found.right)
                partners = _nearest_of(right.rows, told, theirs.items, items, _unit(left.rows @ found.left))
                found = canonical(left, right, partners, strength.ridges, MOST_DIRECTIONS)
        return found

    def partners(self, name: str, block: Canonical | None) -> tuple[NDArray[np.bool_], Matrix]:
        """Return which rows of a modality have a pivot, and those: the nearest by ``block``, or a mean."""
        mine, theirs = self.pairs.rows[name], self.pairs.rows[self.pairs.pivot]
        with_both = np.isin(mine.items, theirs.items)
        items, right = mine.items[with_both], self.sides[self.pairs.pivot].rows
        if block is None:
            return with_both, _mean_of(right, theirs.items, items)
        asked = _unit(self.sides[name].rows[with_both] @ block.left)
        return with_both, _nearest_of(right, _unit(right @ block.right), theirs.items, items, asked)

    def space(self, strengths: Mapping[str, Strength], encoders: Mapping[str, str]) -> JointSpace:
        """Return the space of these strengths, without what is known of questions."""
        pivot = self.pairs.pivot
        blocks = {name: self.block(name, strength) for name, strength in strengths.items()}
        parts: dict[str, list[Matrix]] = {name: [] for name in self.pairs.modalities}
        reliabilities: dict[str, list[float]] = {name: [] for name in self.pairs.modalities}
        ends, end = [], 0
        for name, block in blocks.items():
            end += block.right.shape[1]
            ends.append((name, end))
            for other, projections in parts.items():
                if other == pivot:
                    projections.append(block.right)
                    reliabilities[other].append(1.0)
                elif other == name:
                    projections.append(block.left)
                    reliabilities[other].append(float(block.correlations.mean()))
                else:
                    own = blocks[other] if strengths[other].nearest else None
                    with_both, partners = self.partners(other, own)
                    side = self.sides[other] if with_both.all() else Side(self.sides[other].rows[with_both])
                    projections.append(side.regression(partners @ block.right, _CROSS_RIDGE))
                    reliabilities[other].append(0.5 * float(blocks[other].correlations.mean()))
        kernels = {
            name: self._kernel(name, blocks, nearest=strength.nearest) for name, strength in strengths.items()
        }
        return JointSpace(
            encoders={name: encoders[name] for name in parts},
            blocks=tuple(ends),
            projections={
                name: Projection(self.mean[name], self.scale[name], np.hstack(found), kernels.get(name))
                for name, found in parts.items()
            },
            reliabilities={name: tuple(found) for name, found in reliabilities.items()},
        )

    def _kernel(self, name: str, blocks: Mapping[str, Canonical], *, nearest: bool) -> Kernel:
        """Return the regression of a modality on its pivot's coordinates in all blocks."""
        with_both, partners = self.partners(name, blocks[name] if nearest else None)
        targets = np.hstack([_unit(partners @ block.right) for block in blocks.values()])
        return Kernel.fitted(self.sides[name].rows[with_both], targets, _KERNEL_RIDGE, _LANDMARKS)


@dataclass(frozen=True)
class _HeldOut:
    """What a fold's space makes of the pairs that were held out, and of those it was fitted on."""

    space: JointSpace
    coordinates: Mapping[str, Matrix]
    banks: Mapping[str, Matrix]
    rows: Mapping[str, Rows]
    classes: NDArray[np.int64]

    @classmethod
    def of(cls, space: JointSpace, held: Pairs, fitted: Pairs) -> _HeldOut:
        found = {
            name: space.coordinates(name, held.rows[name].features)
            for name in held.modalities
            if name in space.projections
        }
        return cls(space, found, banks_of(space, fitted, 0), held.rows, held.classes)

    def similar(self, asks: str, finds: str, blocks: Sequence[float]) -> Matrix:
        """Return (queries, candidates): scores less hubness."""
        weights = np.zeros(self.space.dimension)
        for span, weight in zip(self.space.spans, blocks, strict=True):
            weights[span] = weight
        points = self.coordinates[finds]
        return self.coordinates[asks] * weights @ points.T - hubness(self.banks[asks] * weights, points) / 2

    def said_ranks(self, asks: str, finds: str, blocks: Sequence[float]) -> NDArray[np.int64]:
        """Return the ranks of the items' queries, of several texts of an item the one that scores highest.

        Of what was said in one of several texts, the others are no question.
        """
        similar, asked = self.similar(asks, finds, blocks), self.rows[asks].items
        items = np.unique(asked)
        if len(items) < len(asked):
            own = self.classes[asked][:, None] == self.classes[self.rows[finds].items][None]
            score = np.where(own, similar, -np.inf).max(1)
            order = np.lexsort((score, asked))
            last = np.searchsorted(asked[order], items, side="right") - 1
            similar, asked = similar[order[last]], items
        return self.ranks(similar, asked, finds)

    def ranks(self, similar: Matrix, asks: NDArray[np.int64], finds: str) -> NDArray[np.int64]:
        """Return the rank of the first candidate with each query's class."""
        return ranks_of_classes(similar, self.classes[asks], self.classes[self.rows[finds].items])


def fit(
    pairs: Pairs, encoders: Mapping[str, str], *, seed: int = 0, progress: Progress = lambda _: None
) -> Fitted:
    """Fit a joint space.

    Parameters
    ----------
    pairs
        At least `FEWEST` items that have the pivot and another modality.
    encoders
        By modality, the version of the weights that made the features.
    seed
        Of the folds.

    Raises
    ------
    DataError
        There are too few pairs.
    """
    names = [name for name in pairs.modalities if name != pairs.pivot] if pairs.modalities else []
    paired = {
        name: len(np.intersect1d(pairs.rows[name].items, pairs.rows[pairs.pivot].items)) for name in names
    }
    names = [name for name in names if paired[name] >= FEWEST]
    if not names:
        told = ", ".join(f"{count} of {name}" for name, count in paired.items()) or "none"
        raise DataError(f"too few pairs to fit a joint space: {told}; give {FEWEST} with a text at least")
    pairs = Pairs({each: pairs.rows[each] for each in (pairs.pivot, *names)}, pairs.classes, pairs.groups)
    strengths = {name: _chosen(pairs, name, seed, progress) for name in names}
    progress("trying the space on pairs that are held out")
    tried = _few(pairs, seed)
    held = list(_held_out(tried, strengths, encoders, seed + 1))
    rankings = _rankings(held, pairs.modalities)
    shares = _shares(held, rankings, pairs.modalities)
    recalls = tuple(_recalls(held, rankings, shares, pairs.modalities))
    progress("fitting all pairs")
    space = _Prepared(pairs).space(strengths, encoders)
    space = replace(space, rankings=rankings, shares=shares)
    return Fitted(replace(space, banks=banks_of(space, pairs, seed)), recalls, strengths)


def banks_of(space: JointSpace, pairs: Pairs, seed: int) -> dict[str, Matrix]:
    """Return coordinates of some of the pairs, by modality."""
    random = np.random.default_rng(seed)
    found = {}
    for name in space.projections:
        features = pairs.rows[name].features
        some = np.sort(random.permutation(len(features))[:BANK])
        found[name] = space.coordinates(name, features[some])
    return found


def _few(pairs: Pairs, seed: int) -> Pairs:
    """Return pairs to try strengths on."""
    present = np.unique(np.concatenate([rows.items for rows in pairs.rows.values()]))
    if len(present) <= MOST_TRIED:
        return pairs
    chosen = np.zeros(len(pairs), np.bool_)
    chosen[np.random.default_rng(seed).permutation(present)[:MOST_TRIED]] = True
    return pairs.of(chosen)


def _fold_count(pairs: Pairs) -> int:
    return _MANY_FOLDS if len(pairs) < _FEW_ITEMS else _FOLDS


def _chosen(pairs: Pairs, name: str, seed: int, progress: Progress) -> Strength:
    """Return the strength with which a modality and the pivot find each other best when held out."""
    progress(f"choosing how strongly to fit {name}")
    pivot = pairs.pivot
    pairs = _few(Pairs({each: pairs.rows[each] for each in (pivot, name)}, pairs.classes, pairs.groups), seed)
    several = len(pairs.rows[pivot].items) > len(np.unique(pairs.rows[pivot].items))
    said = several and name == "audio"  # who speaks says one thing, and a picture shows many
    options = [
        Strength(ridges, nearest) for ridges in _RIDGES for nearest in dict.fromkeys((said, several, False))
    ]
    folds = [
        (_Prepared(pairs.of(~chosen)), pairs.of(chosen))
        for chosen in pairs.folds(_fold_count(pairs), seed)
        if _enough(pairs.of(~chosen), pairs.of(chosen), name)
    ]
    best = _clearly_best(options, lambda strength: _tried(folds, name, strength))
    log.info("%s is fitted with %s", name, best)
    return best


def _clearly_best(options: Sequence[_T], score: Callable[[_T], float]) -> _T:
    """Return the first of some options, or another that is better by more than chance would make it."""
    scores = [score(option) for option in options]
    best = int(np.argmax(scores))
    return options[best if scores[best] > _CLEARLY * scores[0] else 0]


def _tried(folds: Sequence[tuple[_Prepared, Pairs]], name: str, strength: Strength) -> float:
    """Return how well a modality and the pivot find each other when held out."""
    score = 0.0
    for prepared, held in folds:
        pivot = held.pivot
        space = prepared.space({name: strength}, dict.fromkeys(prepared.pairs.modalities, ""))
        out = _HeldOut.of(space, held, prepared.pairs)
        score += sum(quality(out.said_ranks(*each, (1.0,))) for each in ((name, pivot), (pivot, name)))
    return score


def _enough(fitted: Pairs, held: Pairs, *names: str) -> bool:
    pivot = fitted.pivot
    return all(
        len(np.intersect1d(fitted.rows[name].items, fitted.rows[pivot].items)) >= 2
        and len(np.intersect1d(held.rows[name].items, held.rows[pivot].items)) >= 1
        for name in names
    )


def _held_out(
    pairs: Pairs, strengths: Mapping[str, Strength], encoders: Mapping[str, str], seed: int
) -> Iterator[_HeldOut]:
    for chosen in pairs.folds(_fold_count(pairs), seed):
        fitted, held = pairs.of(~chosen), pairs.of(chosen)
        if _enough(fitted, held, *strengths):
            yield _HeldOut.of(_Prepared(fitted).space(strengths, encoders), held, fitted)


def _rankings(held: Sequence[_HeldOut], modalities: Sequence[str]) -> dict[tuple[str, str], Ranking]:
    """Return which blocks count, for each two modalities, and how far scores lie apart."""
    names = [name for name, _ in held[0].space.blocks] if held else []
    found = {}
    for asks, finds in product(modalities, modalities):

        def score(blocks: tuple[float, ...], asks: str = asks, finds: str = finds) -> float:
            return sum(quality(each.said_ranks(asks, finds, blocks)) for each in held)

        own = [names.index(name) for name in dict.fromkeys((asks, finds)) if name in names]
        even = (1 / len(names),) * len(names)
        mostly = [_mostly(place, len(names)) for place in own]
        if asks == finds:
            chosen = mostly[0] if mostly else even
        elif len(own) == 1:  # one of them is the pivot
            alone = tuple(float(place == own[0]) for place in range(len(names)))
            chosen = _clearly_best([mostly[0], alone, even], score)
        else:
            chosen = _clearly_best([max(mostly, key=score), even], score)
        spreads = [each.similar(asks, finds, chosen).std() for each in held]
        found[asks, finds] = Ranking(chosen, float(np.mean(spreads)) or 1.0)
    return found


def _mostly(place: int, count: int) -> tuple[float, ...]:
    """Return weights of blocks of which one counts most, and the others a little."""
    rest = (1 - _MOSTLY) / (count - 1) if count > 1 else 0.0
    return tuple((_MOSTLY if count > 1 else 1.0) if each == place else rest for each in range(count))


def _shares(
    held: Sequence[_HeldOut], rankings: Mapping[tuple[str, str], Ranking], modalities: Sequence[str]
) -> dict[tuple[str, str, str], float]:
    """Return what two modalities count that ask together for a third: the better alone, or clearly better."""
    found = {}
    for finds in modalities:
        for first, second in combinations([each for each in modalities if each != finds], 2):

            def score(share: float, first: str = first, second: str = second, finds: str = finds) -> float:
                return sum(quality(_together(each, rankings, first, second, finds, share)) for each in held)

            better = max((1.0, 0.0), key=score)
            found[first, second, finds] = _clearly_best([better, *_SHARES], score)
    return found


def _together(  # noqa: PLR0917 - what asks together
    each: _HeldOut,
    rankings: Mapping[tuple[str, str], Ranking],
    first: str,
    second: str,
    finds: str,
    share: float,
) -> NDArray[np.int64]:
    """Return ranks where both ask: every row of the second, with the first row of its item of the first."""
    asked = [each.rows[name].items for name in (first, second)]
    items, at = np.unique(asked[0], return_index=True)
    both = np.isin(asked[1], items)
    partner = at[np.searchsorted(items, asked[1][both])]
    scores = []
    for name, rows in ((first, partner), (second, np.flatnonzero(both))):
        ranking = rankings[name, finds]
        scores.append(each.similar(name, finds, ranking.blocks)[rows] / ranking.spread)
    return each.ranks(share * scores[0] + (1 - share) * scores[1], asked[1][both], finds)


def _recalls(
    held: Sequence[_HeldOut],
    rankings: Mapping[tuple[str, str], Ranking],
    shares: Mapping[tuple[str, str, str], float],
    modalities: Sequence[str],
) -> Iterator[Recall]:
    """Yield recall@1 and recall@10 of each question for each other modality, on what was held out."""
    for asks, finds in permutations(modalities, 2):
        ranks, candidates = [], []
        for each in held:
            similar = each.similar(asks, finds, rankings[asks, finds].blocks)
            ranks.append(each.ranks(similar, each.rows[asks].items, finds))
            candidates.append(len(np.unique(each.classes[each.rows[finds].items])))
        for k in (1, 10):
            yield recall_of(asks, finds, np.concatenate(ranks), float(np.mean(candidates)), k)
    for (first, second, finds), share in shares.items():
        ranks = [_together(each, rankings, first, second, finds, share) for each in held]
        candidates = [len(np.unique(each.classes[each.rows[finds].items])) for each in held]
        yield recall_of(f"{first}+{second}", finds, np.concatenate(ranks), float(np.mean(candidates)))


def _unit(rows: Matrix) -> Matrix:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _mean_of(rows: Matrix, items: NDArray[np.int64], wanted: NDArray[np.int64]) -> Matrix:
    """Return (wanted, width): the mean of the rows of each item that is wanted."""
    names, place = np.unique(items, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, place, rows)
    return (sums / np.bincount(place)[:, None])[np.searchsorted(names, wanted)]


def _nearest_of(
    rows: Matrix, told: Matrix, items: NDArray[np.int64], wanted: NDArray[np.int64], asked: Matrix
) -> Matrix:
    """Return (wanted, width): of each item the row whose coordinates are nearest to what asks."""
    order = np.argsort(items, kind="stable")
    starts = np.searchsorted(items[order], wanted)
    stops = np.searchsorted(items[order], wanted, side="right")
    chosen = np.empty(len(wanted), np.int64)
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        some = order[start:stop]
        chosen[row] = some[int((told[some] @ asked[row]).argmax())]
    return rows[chosen]
