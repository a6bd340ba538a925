"""Train a card for a text encoder on pairs of texts that belong together, or are alike to a degree."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aios_db.engine.architectures.adapters import Adapter, LowRank
from aios_db.engine.architectures.kinds import TEXT
from aios_db.engine.architectures.sizes import model_sizes, require_kind
from aios_db.engine.encoders.batching import pad
from aios_db.engine.frontends.tokenizer import TextTokenizer
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.federation.applying import layer_names
from aios_db.federation.card import Factors, LoraCard
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, NotSupportedError, WeightsError
from aios_db.schema.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("aios_db.federation")

TARGETS = ("query", "key", "value", "dense")
"""The endings of the names of BERT's linear layers."""
_COSENT_SCALE = 20.0


class Pair(NamedTuple):
    """Two texts that belong together."""

    first: str
    second: str
    score: float | None = None
    """How alike they are, in any unit; None for pairs that just belong together."""


@dataclass(frozen=True)
class Training:
    """How a card is trained."""

    epochs: int = 1
    """Times that each pair is seen; see ``steps``."""
    steps: int | None = None
    """Steps in all, instead of ``epochs``."""
    batch_size: int = 32
    """Pairs in a step; of pairs without scores the others of a step are what does not belong together."""
    learning_rate: float = 5e-4
    """Of AdamW, after a warm-up over a tenth of the steps."""
    temperature: float = 0.05
    """Of the softmax over a step's pairs."""
    max_tokens: int = 128
    """Of a text; the rest is cut off."""
    freeze_a: bool = False
    """Train only the factors B (FFA-LoRA, Sun et al. 2024): half as much to send, and averages are exact."""
    seed: int = 0
    """Order of the pairs."""


@dataclass(frozen=True)
class Trained:
    """A card, and how it came about."""

    card: LoraCard
    samples: int
    """Different pairs that it was trained on: its weight in an average."""
    losses: tuple[float, ...]
    """One per step."""


def new_card(
    name: str,
    model: str | Path,
    *,
    rank: int = 8,
    alpha: float | None = None,
    target_modules: Sequence[str] = TARGETS,
    seed: int = 0,
) -> LoraCard:
    """Return a card that changes nothing yet, for a model directory.

    The same arguments give the same card everywhere, so agents that begin with it need not send it.

    Parameters
    ----------
    alpha
        By default twice the rank.
    target_modules
        The endings of the names of the linear layers that get factors.

    Raises
    ------
    WeightsError
        No layer is called so.
    """
    with WeightFile(ModelDirectory.open(model).weights) as file:
        shapes = {
            layer.removesuffix(".weight"): info.shape
            for layer, info in sorted(file.layers.items())
            if layer.endswith(".weight")
            and len(info.shape) == 2
            and layer.removesuffix(".weight").rpartition(".")[2] in target_modules
            and "pooler" not in layer
        }
    if not shapes:
        raise WeightsError(f"{model} has no linear layer called {' or '.join(target_modules)}")
    generator = np.random.RandomState(seed)  # of all generators the one whose numbers never change
    modules = {}
    for module, (outputs, inputs) in shapes.items():
        bound = inputs**-0.5  # as PEFT begins, so that B alone decides
        a = generator.uniform(-bound, bound, (rank, inputs)).astype(np.float32)
        modules[module] = Factors(a, np.zeros((outputs, rank), np.float32))
    return LoraCard(name, rank, float(2 * rank if alpha is None else alpha), modules, tuple(target_modules))


def train_card(
    card: LoraCard,
    model: str | Path,
    pairs: Sequence[Pair | tuple[Any, ...]],
    training: Training = Training(),
    *,
    progress: Progress = silent,
) -> Trained:
    """Go on training a card of a text encoder's model directory.

    Pairs with scores are ranked by them (CoSENT, Su 2022): a pair that is more alike than another shall have
    the higher cosine. Pairs without are told apart from the other pairs of their step (InfoNCE, van den Oord
    et al. 2018), in both directions.

    Raises
    ------
    DataError
        There are fewer than two pairs, some have scores and some do not, or a score is not finite.
    NotSupportedError
        The model is quantized, or is no text encoder.
    WeightsError
        The card is of another model.
    """
    import torch

    examples = _checked(pairs)
    module, tokenizer, longest = _open(card, model)
    factors = list(_trainable(module, freeze_a=training.freeze_a))
    steps = training.steps or max(
        1, training.epochs * len(examples) // min(training.batch_size, len(examples))
    )
    optimizer = torch.optim.AdamW(factors, lr=training.learning_rate, weight_decay=0.0)
    warm_up = max(1, steps // 10)
    losses = []
    for step, batch in zip(range(steps), _batches(examples, training), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * min(1.0, (step + 1) / warm_up)
        most = min(longest, training.max_tokens)
        firsts, seconds = [each.first for each in batch], [each.second for each in batch]
        vectors = [_embed(module, tokenizer, texts, most) for texts in (firsts, seconds)]
        loss = _loss(vectors[0], vectors[1], batch, training.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        progress("training", step + 1, steps)
    trained = _read(card, module, model)
    log.info(
        "trained %s", trained.version, extra={"steps": steps, "pairs": len(examples), "loss": losses[-1]}
    )
    return Trained(trained, min(len(set(examples)), steps * training.batch_size), tuple(losses))


def _checked(pairs: Sequence[Pair | tuple[Any, ...]]) -> list[Pair]:
    examples = [Pair(*pair) for pair in pairs]
    if len(examples) < 2:
        raise DataError(f"{amount(len(examples), 'pair')}: too few to train a card on")
    scored = sum(each.score is not None for each in examples)
    if 0 < scored < len(examples):
        raise DataError("some pairs have a score and some have none: give all or none of them one")
    for number, each in enumerate(examples):
        if not (isinstance(each.first, str) and isinstance(each.second, str)):
            raise DataError(f"pair {number} is not of two texts")
        if each.score is not None and not np.isfinite(each.score):
            raise DataError(f"pair {number} has the score {each.score}")
    return examples


def _open(card: LoraCard, model: str | Path) -> tuple[nn.Module, TextTokenizer, int]:
    from aios_db.engine.quantization.subject import load_model

    directory = ModelDirectory.open(model)
    with WeightFile(directory.weights) as file:
        require_kind(directory, file, TEXT)
        _, config = model_sizes(directory, file)
        if directory.tokenizer is None:
            raise NotSupportedError(f"{directory.path} has no tokenizer.json: it is no text model")
        if any(info.is_quantized for info in file.layers.values()):
            raise NotSupportedError(f"{directory.path} is quantized: train on the model that it was made of")
        names = layer_names(card, file)
        module = load_model(directory, file)
    layers = {names[name]: LowRank(each.a, each.b, card.scale(name)) for name, each in card.modules.items()}
    Adapter(card.version, layers).fit(module)
    return module, TextTokenizer(directory.tokenizer), int(config["max_seq_length"])


def _trainable(module: nn.Module, *, freeze_a: bool) -> Iterator[Tensor]:
    for name, buffer in module.named_buffers():
        if name.endswith("adapter_up") or (name.endswith("adapter_down") and not freeze_a):
            yield buffer.requires_grad_()


def _batches(examples: list[Pair], training: Training) -> Iterator[list[Pair]]:
    """Yield batches without end, each pair once before any comes again."""
    order, generator = list(range(len(examples))), random.Random(training.seed)
    size, waiting = min(training.batch_size, len(examples)), list[int]()
    while True:
        while len(waiting) < size:
            generator.shuffle(order)
            waiting += order
        yield [examples[number] for number in waiting[:size]]
        waiting = waiting[size:]


def _embed(module: nn.Module, tokenizer: TextTokenizer, texts: list[str], most: int) -> Tensor:
    import torch
    from torch.nn import functional

    windows = [each[0] for each in tokenizer.windows(texts, most, 0)]
    ids, mask = pad(windows, most)
    return functional.normalize(module(torch.from_numpy(ids), torch.from_numpy(mask)), dim=-1)


def _loss(first: Tensor, second: Tensor, batch: list[Pair], temperature: float) -> Tensor:
    import torch
    from torch.nn import functional

    if batch[0].score is None:
        logits = first @ second.T / temperature
        places = torch.arange(len(batch))
        both = functional.cross_entropy(logits, places) + functional.cross_entropy(logits.T, places)
        return both / 2
    scores = torch.tensor([each.score for each in batch], dtype=torch.float64)
    cosines = (first * second).sum(-1) * _COSENT_SCALE
    # log(1 + the sum over pairs in the wrong order of exp of how wrong)
    differences = (cosines[None, :] - cosines[:, None])[scores[:, None] > scores[None, :]]
    return torch.logsumexp(torch.cat([torch.zeros(1), differences.flatten()]), dim=0)


def _read(card: LoraCard, module: nn.Module, model: str | Path) -> LoraCard:
    with WeightFile(ModelDirectory.open(model).weights) as file:
        names = layer_names(card, file)
    arrays = {}
    for name, factors in card.modules.items():
        layer: Any = module.get_submodule(names[name])
        dtype = factors.a.dtype
        arrays[f"{name}.a"] = layer.adapter_down.detach().numpy().astype(dtype)
        up = layer.adapter_up.detach().double().numpy() / (card.scale(name) or 1.0)
        arrays[f"{name}.b"] = up.astype(dtype)
    return card.with_arrays(arrays)
