"""The operators that an answer is made of, each in the ways there are here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.benchmarking.measuring import Comparison, Run, Strategy
from aios_db.schema.amounts import amount

if TYPE_CHECKING:
    import torch

SUITE = "operators"
_HEADS = 12


def comparisons(batch: int, length: int, width: int = 384, rows: int = 20_000) -> Iterator[Comparison]:
    """Yield matmul, attention, layer norm, dequantize, scan, top-k and MaxSim.

    Their inputs are made when the first strategy is.

    Parameters
    ----------
    batch, length, width
        Texts, tokens of each, and dimension of the model.
    rows
        Vectors that are scanned.
    """
    yield _matmul(batch * length, width)
    yield _attention(batch, length, width)
    yield _layer_norm(batch * length, width)
    yield _dequantize(width)
    yield _scan(width, rows)
    yield _top(rows)
    yield _maxsim(length, width)


def _normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    import torch

    return torch.from_numpy(_normal(*shape, seed=seed))


def _close(run: Run, first: Run) -> dict[str, float]:
    """Return the cosine of what a strategy computes, arrays or tensors, to what the first one does."""
    import torch

    a, b = (torch.as_tensor(each()).double().flatten().numpy() for each in (run, first))
    return {"cosine": float(a @ b / np.sqrt((a @ a) * (b @ b)))}


def _matmul(tokens: int, width: int) -> Comparison:
    x, w = partial(_normal, tokens, width), partial(_normal, 4 * width, width, seed=1)

    def in_torch(kind: str) -> Run:
        import torch
        from torch.nn.functional import linear

        return partial(linear, *(torch.from_numpy(each()).to(getattr(torch, kind)) for each in (x, w)))

    def in_numpy() -> Run:
        inputs = x(), w().T
        return lambda: inputs[0] @ inputs[1]

    return Comparison(
        SUITE, f"matmul {tokens} x {width} x {4 * width}", tokens, "tokens",
        [
            Strategy("torch fp32", partial(in_torch, "float32")),
            Strategy("torch bf16", partial(in_torch, "bfloat16"), _close),
            Strategy("numpy fp32", in_numpy, _close),
        ],
    )  # fmt: skip


def _attention(batch: int, length: int, width: int) -> Comparison:
    size = width // _HEADS

    @cache
    def inputs() -> list[torch.Tensor]:
        return [_tensor(batch, _HEADS, length, size, seed=seed) for seed in range(3)]

    def explicit() -> Run:
        import torch

        q, k, v = inputs()
        return lambda: torch.softmax(q @ k.transpose(-1, -2) * size**-0.5, -1) @ v

    def fused() -> Run:
        from torch.nn.functional import scaled_dot_product_attention

        q, k, v = inputs()
        return partial(scaled_dot_product_attention, q, k, v)

    return Comparison(
        SUITE, f"attention {batch} x {length}", batch * length, "tokens",
        [Strategy("explicit", explicit), Strategy("fused", fused, _close)],
    )  # fmt: skip


def _layer_norm(tokens: int, width: int) -> Comparison:
    def made(kind: str) -> Run:
        import torch

        return partial(
            torch.nn.functional.layer_norm, _tensor(tokens, width).to(getattr(torch, kind)), (width,)
        )

    return Comparison(
        SUITE, f"layer norm {tokens} x {width}", tokens, "tokens",
        [
            Strategy("torch fp32", partial(made, "float32")),
            Strategy("torch bf16", partial(made, "bfloat16"), _close),
        ],
    )  # fmt: skip


def _dequantize(width: int) -> Comparison:
    shape, group = (4 * width, width), 32
    count = shape[0] * shape[1]

    def inputs(quant_type: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        chance = np.random.default_rng(0)
        scales = chance.uniform(0.01, 0.02, count // group).astype(np.float32)
        least = -128 if quant_type == "int8" else -2
        return chance.integers(least, -least, count).astype(np.int8), scales

    def made(quant_type: str) -> Run:
        from aios_db.engine.weights.int2 import pack_int2
        from aios_db.engine.weights.quantized import dequantize

        integers, scales = inputs(quant_type)
        zeros = np.zeros(count // group, np.float32)
        stored = integers.tobytes() if quant_type == "int8" else pack_int2(integers).tobytes()
        return lambda: dequantize(stored, quant_type, scales, zeros, shape, group, 0)

    def right(quant_type: str, run: Run, _first: Run) -> dict[str, float]:
        integers, scales = inputs(quant_type)
        return _close(run, lambda: integers * np.repeat(scales, group))

    return Comparison(
        SUITE, f"dequantize {shape[0]} x {shape[1]}", count, "weights",
        [Strategy(name, partial(made, name), partial(right, name)) for name in ("int8", "int2")],
    )  # fmt: skip


def _scan(width: int, rows: int) -> Comparison:
    from aios_db.search import kernels
    from aios_db.search.portable import vectors as portable

    @cache
    def inputs() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        matrix = _normal(rows, width)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        return matrix, np.arange(rows), np.array([[0, rows]]), matrix[7].copy()

    def made(module: Any) -> Run:
        matrix, ids, spans, query = inputs()
        return lambda: [int(each) for each in module.nearest(matrix, ids, None, spans, query, 10)[0]]

    def right(run: Run, _first: Run) -> dict[str, float]:
        matrix, _, _, query = inputs()
        exact = set(np.argsort(-(matrix @ query), kind="stable")[:10].tolist())
        return {"recall@10": len(exact & set(run())) / 10}

    modules: dict[str, object] = {"numpy": portable}
    if kernels.vectors is not portable:
        modules["compiled"] = kernels.vectors
    return Comparison(
        SUITE, f"scan {amount(rows, 'vector')} for 10", rows, "vectors",
        [Strategy(name, partial(made, each), right) for name, each in modules.items()],
    )  # fmt: skip


def _top(rows: int) -> Comparison:
    def sort() -> Run:
        scores = _normal(rows)
        return lambda: np.argsort(-scores)[:10]

    def partition() -> Run:
        scores = _normal(rows)
        return lambda: np.argpartition(-scores, 10)[:10]

    def right(run: Run, first: Run) -> dict[str, float]:
        return {"recall@10": len({*run().tolist()} & {*first().tolist()}) / 10}

    return Comparison(
        SUITE, f"top 10 of {rows}", rows, "scores",
        [Strategy("sort", sort), Strategy("partition", partition, right)],
    )  # fmt: skip


def _maxsim(length: int, width: int) -> Comparison:
    """Return late interaction (Khattab and Zaharia 2020): each token of a query meets its nearest."""
    query = partial(_normal, 16, width)
    passages = cache(partial(_normal, 200, length, width, seed=1))

    def one_by_one() -> Run:
        asked, found = query(), passages()
        return lambda: np.array([(asked @ each.T).max(1).sum() for each in found])

    def at_once() -> Run:
        asked, flat = query(), passages().reshape(-1, width)
        return lambda: (asked @ flat.T).reshape(16, 200, length).max(2).sum(0)

    return Comparison(
        SUITE, f"MaxSim 16 tokens, 200 passages of {length}", 200, "passages",
        [Strategy("one by one", one_by_one), Strategy("one product", at_once, _close)],
    )  # fmt: skip
