"""What a few texts say, in their own sentences: those that are central among them, and say different things.

Centrality is that of LexRank (Erkan and Radev, 2004, https://arxiv.org/abs/1109.2128): where a walk over the
sentences, by the cosines of their vectors, comes to rest. They are chosen one by one as in maximal marginal
relevance (Carbonell and Goldstein, 1998), with a reward for names, numbers and denials not said yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aios_db.lifecycle.salience import negates, salient, sentences
from aios_db.lifecycle.small_talk import tells_something

_DAMPING = 0.85
_ROUNDS = 30
_LEAST_COSINE = 0.1  # a weaker likeness is none
_NOVELTY, _COVERAGE = (
    0.5,
    0.35,
)  # what likeness to what is said costs, and what is new of names and numbers is worth
_LONGEST = 400  # characters of a sentence that is quoted
_SHORT = 4  # words: a sentence of fewer says little by itself


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``."""
        ...


@dataclass(frozen=True)
class Quotation:
    """A sentence, and which of the texts it stands in."""

    text: str
    place: int


def quotations(
    texts: Sequence[str],
    count: int,
    encoder: Encoder,
    vectors: Sequence[NDArray[np.float32] | None] | None = None,
) -> list[Quotation]:
    """Return the sentences that say most of what some texts say, in the order in which they stand there.

    Parameters
    ----------
    texts
        What is to be summed up.
    count
        How many sentences at most.
    encoder
        Makes the vectors of sentences.
    vectors
        Those of the texts, float32 ``(dimension,)`` of unit length, which are that of a text's only
        sentence.
    """
    found: list[Quotation] = []
    for place, text in enumerate(texts):
        said = {each.text for each in found}
        found += [Quotation(each, place) for each in sentences(text) if each not in said]
    found = [each for each in found if len(each.text) <= _LONGEST] or found
    found = [each for each in found if tells_something(each.text)] or found
    if not found or count < 1:
        return []
    chosen = _chosen(found, _vectors(found, texts, encoder, vectors), count)
    return [found[number] for number in sorted(chosen)]


def summary(texts: Sequence[str], count: int, encoder: Encoder) -> str:
    """Return `quotations` as one text."""
    return " ".join(each.text for each in quotations(texts, count, encoder))


def _vectors(
    found: Sequence[Quotation],
    texts: Sequence[str],
    encoder: Encoder,
    known: Sequence[NDArray[np.float32] | None] | None,
) -> NDArray[np.float32]:
    made: dict[int, NDArray[np.float32]] = {}
    for number, each in enumerate(found):
        vector = None if known is None else known[each.place]
        if vector is not None and each.text == texts[each.place].strip():
            made[number] = vector
    missing = [number for number in range(len(found)) if number not in made]
    if missing:
        made.update(zip(missing, encoder.encode([found[number].text for number in missing]), strict=True))
    return np.stack([made[number] for number in range(len(found))])


def _chosen(found: Sequence[Quotation], vectors: NDArray[np.float32], count: int) -> list[int]:
    cosines = vectors @ vectors.T
    worth = _centrality(cosines) * np.array([_weight(each.text) for each in found])
    worth /= worth.max() or 1.0
    items = [salient(each.text) for each in found]
    most = max(map(len, items)) or 1
    said: set[str] = set()
    chosen: list[int] = []
    left = set(range(len(found)))
    while left and len(chosen) < count:
        gains = {
            number: float(worth[number])
            - _NOVELTY * max((float(cosines[number, other]) for other in chosen), default=0.0)
            + _COVERAGE * len(items[number] - said) / most
            for number in left
        }
        best = min((-gain, number) for number, gain in gains.items())[1]
        chosen.append(best)
        said |= items[best]
        left.remove(best)
    return chosen


def _centrality(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how often a walk from sentence to sentence comes by each."""
    weights = np.where(cosines >= _LEAST_COSINE, cosines, 0.0).astype(np.float64)
    np.fill_diagonal(weights, 0.0)
    sums = weights.sum(axis=1, keepdims=True)
    count = len(weights)
    steps = np.divide(weights, sums, out=np.full_like(weights, 1 / count), where=sums > 0)
    rank = np.full(count, 1 / count)
    for _ in range(_ROUNDS):
        rank = (1 - _DAMPING) / count + _DAMPING * rank @ steps
    return rank * count


def _weight(sentence: str) -> float:
    """Return what a sentence is worth by its form: questions say little."""
    words = sentence.split()
    weight = 1.0 if len(words) >= _SHORT else 0.4
    if sentence.rstrip("\"'”’)").endswith("?"):
        weight *= 0.4
    if not salient(sentence):
        weight *= 0.7 if sentence.endswith("!") else 0.85
    return weight * (1.1 if negates(sentence) else 1.0)
