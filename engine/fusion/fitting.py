"""Fitting a joint space on pairs: strengths are chosen on pairs held out in turn, then all are fitted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.blas import each_in_a_thread, single_threaded
from aios_db.engine.fusion.held_out import HeldOut, banks_of
from aios_db.engine.fusion.joint_space import JointSpace, Ranking
from aios_db.engine.fusion.measuring import Recall, quality, recall_of
from aios_db.engine.fusion.pairs import Pairs
from aios_db.engine.fusion.preparing import Prepared, Strength
from aios_db.engine.fusion.refining import Trial, refined
from aios_db.engine.fusion.relating import Relation, relations
from aios_db.schema.errors import DataError
from aios_db.schema.progress import Progress, silent

log = logging.getLogger("aios_db.engine.fusion")

FEWEST = 8
"""Items with a modality and the pivot, under which there is nothing to fit."""
MOST_TRIED = 4_000
"""Items that strengths are chosen on."""
_FOLDS, _MANY_FOLDS = 4, 8
_FEW_ITEMS, _FEWEST_IN_FOLD = 120, 4
_RIDGES = ((3.0, 1.0), (3.0, 3.0), (1.0, 1.0), (10.0, 3.0))
_CLEARLY = 1.02
_MOSTLY = 0.85
_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
_SURELY = 2.575829  # standard errors of a gain: one in 200 is as large by chance
_WORTH = 0.01  # of the score: a space of all pairs is better in each modality, and a small gain is gone there
_NONE = np.empty(0, np.int64)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fitted:
    """A space, and what it found of pairs that were held out from its like."""

    space: JointSpace
    recalls: tuple[Recall, ...]
    relations: tuple[Relation, ...]
    strengths: Mapping[str, Strength]
    trial: Trial | None = None


@single_threaded()  # of many small products, which wait for each other on a busy machine
def fit(
    pairs: Pairs,
    encoders: Mapping[str, str],
    *,
    mlp: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Fitted:
    """Fit a joint space.

    Parameters
    ----------
    pairs
        At least `FEWEST` items that have the pivot and another modality.
    encoders
        By modality, the version of the weights that made the features.
    mlp
        Train a fusion MLP, too, which is used where it is better on held-out pairs.
    seed
        Of the folds and of training.

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
    progress("trying the space on pairs that are held out", 0, 0)
    tried = _few(pairs, seed)
    held = _held_out(tried, strengths, encoders, seed + 1)
    rankings = _rankings(held, pairs.modalities)
    progress("fitting all pairs", 0, 0)
    space, trial = Prepared(pairs).space(strengths, encoders), None
    if mlp:
        space, held, trial = refined(space, tried, held, rankings, seed, progress)
        rankings = _rankings(held, pairs.modalities)
    shares = _shares(held, rankings, pairs.modalities)
    recalls = tuple(_recalls(held, rankings, shares, pairs.modalities))
    space = replace(space, rankings=rankings, shares=shares)
    space = replace(space, banks=banks_of(space, pairs, seed))
    return Fitted(space, recalls, relations(held, rankings, pairs.pivot, names), strengths, trial)


def _few(pairs: Pairs, seed: int) -> Pairs:
    """Return pairs to try strengths on."""
    present = np.unique(np.concatenate([rows.items for rows in pairs.rows.values()]))
    if len(present) <= MOST_TRIED:
        return pairs
    chosen = np.zeros(len(pairs), np.bool_)
    chosen[np.random.default_rng(seed).permutation(present)[:MOST_TRIED]] = True
    return pairs.of(chosen)


def _fold_count(pairs: Pairs) -> int:
    """Return how many folds: more of few items, but of some items each, since one alone is found always."""
    return min(_MANY_FOLDS, max(2, len(pairs) // _FEWEST_IN_FOLD)) if len(pairs) < _FEW_ITEMS else _FOLDS


def _chosen(pairs: Pairs, name: str, seed: int, progress: Progress) -> Strength:
    """Return the strength with which a modality and the pivot find each other best when held out."""
    progress(f"choosing how strongly to fit {name}", 0, 0)
    pivot = pairs.pivot
    pairs = _few(Pairs({each: pairs.rows[each] for each in (pivot, name)}, pairs.classes, pairs.groups), seed)
    several = len(pairs.rows[pivot].items) > len(np.unique(pairs.rows[pivot].items))
    said = several and name == "audio"  # who speaks says one thing, and a picture shows many
    options = [
        Strength(ridges, nearest, part)
        for part in range(max(1, len(pairs.rows[name].parts)))
        for ridges in _RIDGES
        for nearest in dict.fromkeys((said, several, False))
    ]
    folds = [
        (Prepared(pairs.of(~chosen)), pairs.of(chosen))
        for chosen in pairs.folds(_fold_count(pairs), seed)
        if _enough(pairs.of(~chosen), pairs.of(chosen), name)
    ]
    tried = each_in_a_thread(lambda each: _tried(*each[1], name, each[0]), product(options, folds))
    scores = np.reshape(tried, (len(options), len(folds))).sum(1)
    best = _clearly_best(options, dict(zip(options, scores.tolist(), strict=True)).__getitem__)
    log.info("%s is fitted with %s", name, best)
    return best


def _clearly_best(options: Sequence[_T], score: Callable[[_T], float]) -> _T:
    """Return the first of some options, or another that is better by more than chance would make it."""
    scores = [score(option) for option in options]
    best = int(np.argmax(scores))
    return options[best if scores[best] > _CLEARLY * scores[0] else 0]


def _tried(prepared: Prepared, held: Pairs, name: str, strength: Strength) -> float:
    """Return how well a modality and the pivot find each other when held out."""
    pivot = held.pivot
    space = prepared.space({name: strength}, dict.fromkeys(prepared.pairs.modalities, ""))
    out = HeldOut.of(space, held, prepared.pairs)
    return sum(quality(out.said_ranks(*each, (1.0,))) for each in ((name, pivot), (pivot, name)))


def _enough(fitted: Pairs, held: Pairs, *names: str) -> bool:
    pivot = next(iter(fitted.rows))  # that of all pairs, of which none may be fitted
    return all(
        len(np.intersect1d(fitted.rows[name].items, fitted.rows[pivot].items)) >= 2
        and len(np.intersect1d(held.rows[name].items, held.rows[pivot].items)) >= 1
        for name in names
    )


def _held_out(
    pairs: Pairs, strengths: Mapping[str, Strength], encoders: Mapping[str, str], seed: int
) -> list[HeldOut]:
    def tried(fold: tuple[Pairs, Pairs]) -> HeldOut:
        fitted, held = fold
        return HeldOut.of(Prepared(fitted).space(strengths, encoders), held, fitted)

    folds = [(pairs.of(~chosen), pairs.of(chosen)) for chosen in pairs.folds(_fold_count(pairs), seed)]
    return each_in_a_thread(tried, [fold for fold in folds if _enough(*fold, *strengths)])


def _rankings(held: Sequence[HeldOut], modalities: Sequence[str]) -> dict[tuple[str, str], Ranking]:
    """Return which blocks count, for each two modalities, and how far scores lie apart."""
    if not held:
        raise DataError(
            f"no pairs can be held out from a fit of others so that {' and '.join(modalities[1:])} are tried "
            f"with {modalities[0]}: they are of too few groups; give more, or leave the column group out"
        )
    names = [name for name, _ in held[0].space.blocks]
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
    held: Sequence[HeldOut], rankings: Mapping[tuple[str, str], Ranking], modalities: Sequence[str]
) -> dict[tuple[str, str, str], float]:
    """Return what the first of two modalities counts that ask together; the second has the rest."""
    found = {}
    for finds in modalities:
        for first, second in combinations([each for each in modalities if each != finds], 2):
            ranks = {
                share: np.concatenate(
                    [_NONE, *(_together(each, rankings, first, second, finds, share) for each in held)]
                )
                for share in (1.0, 0.0, *_SHARES)
            }
            found[first, second, finds] = surely_best(ranks)
    return found


def surely_best(ranks: Mapping[float, NDArray[np.int64]]) -> float:
    """Return the share whose ranks are best, or the better of 0 and 1 where it may gain next to nothing.

    Parameters
    ----------
    ranks
        Of the same queries, by share.
    """

    def score(share: float) -> float:
        return quality(ranks[share])

    best, alone = max(ranks, key=score), max((1.0, 0.0), key=score)
    gain = 1 / (1 + ranks[best]) - 1 / (1 + ranks[alone])
    if not len(gain):
        return alone
    least = gain.mean() - _SURELY * gain.std() / len(gain) ** 0.5
    return best if least > _WORTH * score(alone) else alone


def _together(  # noqa: PLR0917 - what asks together
    each: HeldOut,
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
    held: Sequence[HeldOut],
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
