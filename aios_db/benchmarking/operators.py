"""The operators that an answer is made of, each in the ways there are here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.benchmarking.measuring import Comparison, Strategy

SUITE = "operators"
_HEADS = 12


def comparisons(batch: int, length: int, width: int = 384, rows: int = 20_000) -> Iterator[Comparison]:
    """Yield matmul, attention, layer norm, dequantize, scan, top-k and MaxSim.

    Parameters
    ----------
    batch, length, width
        Texts, tokens of each, and dimension of the model.
    rows
        Vectors that are scanned.
    """
    import torch
    from torch.nn import functional

    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    tokens = batch * length
    x, w = torch.randn(tokens, width), torch.randn(4 * width, width)
    x16, w16 = x.bfloat16(), w.bfloat16()
    x_, w_ = x.numpy(), w.numpy()
    exact = functional.linear(x, w)
    yield Comparison(
        SUITE, f"matmul {tokens} x {width} x {4 * width}", tokens, "tokens",
        [
            Strategy("torch fp32", partial(functional.linear, x, w)),
            Strategy(
                "torch bf16", partial(functional.linear, x16, w16),
                lambda: _close(exact, functional.linear(x16, w16)),
            ),
            Strategy("numpy fp32", lambda: x_ @ w_.T, lambda: _close(exact, torch.from_numpy(x_ @ w_.T))),
        ],
    )  # fmt: skip
    q, k, v = (torch.randn(batch, _HEADS, length, width // _HEADS) for _ in range(3))

    def explicit() -> torch.Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) * (width // _HEADS) ** -0.5, -1) @ v

    yield Comparison(
        SUITE, f"attention {batch} x {length}", tokens, "tokens",
        [
            Strategy("explicit", explicit),
            Strategy(
                "fused",
                lambda: functional.scaled_dot_product_attention(q, k, v),
                lambda: _close(explicit(), functional.scaled_dot_product_attention(q, k, v)),
            ),
        ],
    )  # fmt: skip
    yield Comparison(
        SUITE, f"layer norm {tokens} x {width}", tokens, "tokens",
        [
            Strategy("torch fp32", lambda: functional.layer_norm(x, (width,))),
            Strategy("torch bf16", lambda: functional.layer_norm(x16, (width,))),
        ],
    )  # fmt: skip
    yield _dequantize(width)
    yield from _scans(chance, width, rows)
    yield _maxsim(chance, length, width)


def _close(reference: object, found: object) -> dict[str, float]:
    import torch

    one, other = (torch.as_tensor(each).float().flatten() for each in (reference, found))
    return {"cosine": _cosine(one.numpy(), other.numpy())}


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _dequantize(width: int) -> Comparison:
    from aios_db.engine.weights.int2 import pack_int2
    from aios_db.engine.weights.quantized import dequantize

    shape, group = (4 * width, width), 32
    count = shape[0] * shape[1]
    chance = np.random.default_rng(0)
    scales = chance.uniform(0.01, 0.02, count // group).astype(np.float32)
    zeros = np.zeros(count // group, np.float32)
    int8 = chance.integers(-128, 128, count).astype(np.int8)
    int2 = pack_int2(chance.integers(-2, 2, count).astype(np.int8))
    return Comparison(
        SUITE, f"dequantize {shape[0]} x {shape[1]}", count, "weights",
        [
            Strategy("int8", lambda: dequantize(int8.tobytes(), "int8", scales, zeros, shape, group, 0)),
            Strategy("int2", lambda: dequantize(int2.tobytes(), "int2", scales, zeros, shape, group, 0)),
        ],
    )  # fmt: skip


def _scans(chance: np.random.Generator, width: int, rows: int) -> Iterator[Comparison]:
    from aios_db.search import kernels
    from aios_db.search.portable import vectors as portable

    matrix = chance.standard_normal((rows, width)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    query, ids, spans = matrix[7].copy(), np.arange(rows), np.array([[0, rows]])

    def found(module: object) -> list[int]:
        nearest = module.nearest(matrix, ids, None, spans, query, 10)  # type: ignore[attr-defined]
        return [int(each) for each in nearest[0]]

    exact = set(np.argsort(-(matrix @ query), kind="stable")[:10].tolist())

    def right(module: object) -> dict[str, float]:
        return {"recall@10": len(exact & set(found(module))) / 10}

    modules: dict[str, object] = {"numpy": portable}
    if kernels.vectors is not portable:
        modules["compiled"] = kernels.vectors
    yield Comparison(
        SUITE, f"scan {rows} vectors for 10", rows, "vectors",
        [
            Strategy(name, partial(found, each), partial(right, each)) for name, each in modules.items()
        ],
    )  # fmt: skip
    scores = matrix @ query
    yield Comparison(
        SUITE, f"top 10 of {rows}", rows, "scores",
        [
            Strategy("sort", lambda: np.argsort(-scores)[:10]),
            Strategy("partition", lambda: np.argpartition(-scores, 10)[:10]),
        ],
    )  # fmt: skip


def _maxsim(chance: np.random.Generator, length: int, width: int) -> Comparison:
    """Return late interaction (Khattab and Zaharia 2020): each token of a query meets its nearest."""
    query = chance.standard_normal((16, width)).astype(np.float32)
    passages = chance.standard_normal((200, length, width)).astype(np.float32)
    flat = passages.reshape(-1, width)

    def one_by_one() -> NDArray[Any]:
        return np.array([(query @ each.T).max(1).sum() for each in passages])

    def at_once() -> NDArray[Any]:
        found: NDArray[Any] = (query @ flat.T).reshape(16, 200, length).max(2).sum(0)
        return found

    return Comparison(
        SUITE, f"MaxSim 16 tokens, 200 passages of {length}", 200, "passages",
        [
            Strategy("one by one", one_by_one),
            Strategy("one product", at_once, lambda: {"cosine": _cosine(one_by_one(), at_once())}),
        ],
    )  # fmt: skip
