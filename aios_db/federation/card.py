"""A LoRA card: low-rank changes of a model's linear layers (Hu et al. 2021), as small as they are sent."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.errors import DataError

Array = NDArray[Any]

DTYPES = ("float32", "float16", "float64")


@dataclass(frozen=True)
class Factors:
    """The change of one linear layer, ``scale * b @ a``."""

    a: Array
    """(rank, inputs)."""
    b: Array
    """(outputs, rank)."""

    @property
    def rank(self) -> int:
        """The rank of the product."""
        return int(self.a.shape[0])


@dataclass(frozen=True)
class LoraCard:
    """Named factors with their rank and scale; immutable.

    Attributes
    ----------
    name
        What its versions have in common.
    rank
        ``r``; a module may have another one, and one at least has this.
    alpha
        The change of a module is multiplied by ``alpha`` / its rank.
    modules
        Factors by the name of the linear layer, without ``.weight``.
    target_modules
        The endings of the layers' names that were meant to have factors.
    metadata
        Free keys. ``alpha_pattern``, JSON, has other alphas by module; with ``use_rslora`` of ``"true"``
        alpha is divided by the root of the rank (Kalajdzievski 2023).

    Raises
    ------
    DataError
        The factors do not fit each other, hold NaN or infinity, or are no floats.
    """

    name: str
    rank: int
    alpha: float
    modules: Mapping[str, Factors]
    target_modules: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what could otherwise fail only when the card is used."""
        if not self.name or not self.name.strip():
            raise DataError("a card needs a name")
        if not self.modules:
            raise DataError(f"card {self.name!r} has no modules")
        if self.rank < 1 or not math.isfinite(self.alpha):
            raise DataError(f"card {self.name!r} has rank {self.rank} and alpha {self.alpha}")
        for module, factors in self.modules.items():
            _check(f"card {self.name!r}, module {module!r}", factors)
        if all(each.rank != self.rank for each in self.modules.values()):
            raise DataError(f"card {self.name!r} is of rank {self.rank}, which none of its modules has")
        self._alphas  # noqa: B018 - read, and so checked

    @cached_property
    def sha256(self) -> str:
        """The hash (hex) of everything that the card does: factors, names, types, rank and alpha.

        Two cards of one hash change a model in the same way, whatever they are called.
        """
        digest = hashlib.sha256(json.dumps(self._identity(), sort_keys=True).encode())
        for _, array in self.arrays():
            digest.update(_little_endian(array).tobytes())
        return digest.hexdigest()

    @property
    def version(self) -> str:
        """``name@`` and 12 hex digits of the hash."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        return sum(array.size for _, array in self.arrays())

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers as they are."""
        return sum(array.nbytes for _, array in self.arrays())

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Yield each factor under a name of its own, in an order that only depends on the modules' names."""
        for module in sorted(self.modules):
            yield f"{module}.a", self.modules[module].a
            yield f"{module}.b", self.modules[module].b

    def with_arrays(self, arrays: Mapping[str, Array]) -> LoraCard:
        """Return the card with other numbers, named as `arrays` names them."""
        return replace(
            self, modules={name: Factors(arrays[f"{name}.a"], arrays[f"{name}.b"]) for name in self.modules}
        )

    def scale(self, module: str) -> float:
        """Return what the product of a module's factors is multiplied by."""
        alpha = self._alphas.get(module, self.alpha)
        rank = self.modules[module].rank
        return alpha / (math.sqrt(rank) if self.metadata.get("use_rslora") == "true" else rank)

    def change(self, module: str) -> NDArray[np.float32]:
        """Return what the card adds to a module's weight, float32 (outputs, inputs)."""
        factors = self.modules[module]
        product = factors.b.astype(np.float32) @ factors.a.astype(np.float32)
        return np.float32(self.scale(module)) * product

    def mismatch(self, other: LoraCard) -> str | None:
        """Return why the two are not versions of one card (rank, modules, shapes …), or None."""
        mine, theirs = self._identity(), other._identity()
        for key, value in mine.items():
            if key != "modules" and value != theirs[key]:
                return f"{key} is {value}, there {theirs[key]}"
        if missing := set(self.modules) ^ set(other.modules):
            return f"module {min(missing)!r} is in one of them only"
        for module, described in mine["modules"].items():
            if described != theirs["modules"][module]:
                return f"module {module!r} is {described}, there {theirs['modules'][module]}"
        return None

    def _identity(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "alpha_pattern": self._alphas,
            "use_rslora": self.metadata.get("use_rslora") == "true",
            "modules": {
                name: [list(each.a.shape), list(each.b.shape), str(each.a.dtype)]
                for name, each in sorted(self.modules.items())
            },
        }

    @cached_property
    def _alphas(self) -> dict[str, float]:
        try:
            given = json.loads(self.metadata.get("alpha_pattern") or "{}")
            alphas = {str(name): float(value) for name, value in given.items()}
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise DataError(f"card {self.name!r}: alpha_pattern is no JSON object of numbers") from error
        if not all(map(math.isfinite, alphas.values())):
            raise DataError(f"card {self.name!r}: alpha_pattern holds NaN or infinity")
        return alphas


def _check(where: str, factors: Factors) -> None:
    a, b = factors.a, factors.b
    if a.ndim != 2 or b.ndim != 2 or 0 in a.shape or 0 in b.shape or a.shape[0] != b.shape[1]:
        raise DataError(
            f"{where}: shapes {list(a.shape)} and {list(b.shape)} are not (rank, inputs) and (outputs, rank)"
        )
    if a.dtype != b.dtype or str(a.dtype) not in DTYPES:
        raise DataError(f"{where}: types {a.dtype} and {b.dtype}; a card has one of {', '.join(DTYPES)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError(f"{where}: NaN or infinity")


def _little_endian(array: Array) -> Array:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
