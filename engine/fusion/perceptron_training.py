"""Training perceptrons on pairs by InfoNCE, stopped where held-out pairs say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aios_db.engine.fusion.closed_form import Matrix
from aios_db.engine.fusion.joint_space import Ranking
from aios_db.engine.fusion.perceptron import Perceptron

UNITS = 128
MOST_EPOCHS = 200
PATIENCE = 30
"""Epochs without a better result on held-out pairs, after which it ends."""
_RATE, _DECAY, _DROPOUT, _SCALE = 1e-3, 1e-2, 0.2, 10.0
_BATCH = 512  # items, each of which is told from all others


@dataclass(frozen=True)
class Examples:
    """Pairs that are trained on.

    Attributes
    ----------
    coordinates, features
        By modality, (n, dimension) and (n, width), as `Projection.prepared` returns them.
    items
        By modality, (n,): the item of each row; several texts may belong to one.
    classes
        (all items,): items of one class are not told from each other.
    """

    coordinates: Mapping[str, Matrix]
    features: Mapping[str, Matrix]
    items: Mapping[str, NDArray[np.int64]]
    classes: NDArray[np.int64]


def trained(
    examples: Examples,
    spans: Sequence[slice],
    rankings: Mapping[tuple[str, str], Ranking],
    *,
    seed: int,
    epochs: int = MOST_EPOCHS,
    judge: Callable[[Mapping[str, Perceptron]], float] | None = None,
) -> tuple[dict[str, Perceptron], int]:
    """Return a perceptron for each modality, and after how many epochs they were best.

    Modalities that ask find their item among a batch's (InfoNCE; van den Oord et al., 2018), in both
    directions of each two. At first they change nothing.

    Parameters
    ----------
    spans, rankings
        The blocks of the space, and what they count by what asks and what is looked for.
    seed
        Of weights, batches and dropout.
    judge
        Says how good perceptrons are on held-out pairs: the best are returned, and training ends where they
        have not become better for some epochs. Without it, those after ``epochs``.
    """
    random = torch.Generator().manual_seed(seed)
    size = spans[-1].stop
    widths = {name: features.shape[1] for name, features in examples.features.items()}
    nets = {name: _Net(width, size, random) for name, width in widths.items()}
    parameters = [each for net in nets.values() for each in net.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
    best, at = _perceptrons(nets), 0
    highest = judge(best) if judge is not None else 0.0
    for epoch in range(1, epochs + 1):
        for batch in _batches(examples, random):
            loss = _loss(nets, batch, spans, rankings, random)
            if loss is not None:
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        if judge is None:
            continue
        found = _perceptrons(nets)
        score = judge(found)
        if score > highest:
            best, at, highest = found, epoch, score
        elif epoch - at >= PATIENCE:
            break
    return (best, at) if judge is not None else (_perceptrons(nets), epochs)


@dataclass(frozen=True)
class _Batch:
    """Coordinates and features of items by modality, which items have it, and their classes."""

    coordinates: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    classes: Tensor


class _Net(nn.Module):
    """What a `Perceptron` adds, which is nothing at first."""

    def __init__(self, width: int, size: int, random: torch.Generator) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(width, UNITS), nn.Linear(UNITS, size)
        with torch.no_grad():
            for parameter in self.hidden.parameters():
                parameter.uniform_(-(width**-0.5), width**-0.5, generator=random)
            for parameter in self.last.parameters():
                parameter.zero_()

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) -> (n, size)."""
        return self.last(torch.relu(self.hidden(features)))  # type: ignore[no-any-return]


def _perceptrons(nets: Mapping[str, _Net]) -> dict[str, Perceptron]:
    found = {}
    for name, net in nets.items():
        parts = (net.hidden.weight.T, net.hidden.bias, net.last.weight.T, net.last.bias)
        found[name] = Perceptron(*(each.detach().numpy().astype(np.float64) for each in parts))
    return found


def _batches(examples: Examples, random: torch.Generator) -> list[_Batch]:
    """Return all items in a new order; of several rows of an item in a modality, one by lot."""
    known = np.unique(np.concatenate(list(examples.items.values())))
    drawn = {}
    for name, owners in examples.items.items():
        order = torch.randperm(len(owners), generator=random).numpy()
        row = np.full(int(known[-1]) + 1, -1)
        row[owners[order]] = order  # the last of an item stays
        drawn[name] = row
    shuffled = known[torch.randperm(len(known), generator=random).numpy()]
    parts = np.array_split(shuffled, -(-len(shuffled) // _BATCH))

    def of(rows: Mapping[str, Matrix], part: NDArray[np.int64]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(rows[name][drawn[name][part]].astype(np.float32)) for name in drawn}

    return [
        _Batch(
            of(examples.coordinates, part),
            of(examples.features, part),
            {name: torch.from_numpy(row[part] >= 0) for name, row in drawn.items()},
            torch.from_numpy(examples.classes[part]),
        )
        for part in parts
    ]


def _loss(
    nets: Mapping[str, _Net],
    batch: _Batch,
    spans: Sequence[slice],
    rankings: Mapping[tuple[str, str], Ranking],
    random: torch.Generator,
) -> Tensor | None:
    moved = {}
    for name, features in batch.features.items():
        kept = torch.rand(features.shape, generator=random) >= _DROPOUT
        made = batch.coordinates[name] + nets[name](features * kept / (1 - _DROPOUT))
        moved[name] = [nn.functional.normalize(made[:, span], dim=1) for span in spans]
    losses = []
    for asks, finds in permutations(moved, 2):
        both = batch.present[asks] & batch.present[finds]
        if int(both.sum()) < 2:
            continue
        blocks = zip(moved[asks], moved[finds], rankings[asks, finds].blocks, strict=True)
        similar = sum(weight * (first[both] @ second[both].T) for first, second, weight in blocks)
        classes = batch.classes[both]
        same = (classes[:, None] == classes[None]) & ~torch.eye(len(classes), dtype=torch.bool)
        logits = (_SCALE * torch.as_tensor(similar)).masked_fill(same, -torch.inf)
        losses.append(nn.functional.cross_entropy(logits, torch.arange(len(classes))))
    return torch.stack(losses).mean() if losses else None
