"""Weights of models in SQL: what a model's file holds, and the numbers behind quantized bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from aios_db.engine.catalog.find import find_model
from aios_db.engine.weights.describe import describe_weights
from aios_db.engine.weights.quantized import dequantize as dequantize_tensor
from aios_db.schema.config import Config
from aios_db.schema.errors import DataError, WeightsError
from aios_db.schema.homes import expanded
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.types import BLOB, BOOLEAN, FLOATS, INTEGER, INTEGERS, VARCHAR


class Reach(Protocol):
    """What SQL may read."""

    @property
    def external_access(self) -> bool:
        """Whether it may read anything."""
        ...

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        """Refuse a path that lies neither where SQL may read, nor in one of the others."""
        ...


class HasConfig(Protocol):
    """A store with a configuration."""

    @property
    def restrictions(self) -> Reach:
        """What SQL may read besides the database."""
        ...

    @property
    def config(self) -> Config:
        """Where models lie."""
        ...


def dequantize(store: object, *columns: pa.Array) -> pa.Array:
    """Return the float values of each row of a weight file, null where there are no bytes."""
    data, quant_types, scales, zero_points, shapes, group_sizes, axes = columns
    tensors: list[Any] = []
    for row in range(len(data)):
        if not data[row].is_valid:
            tensors.append(None)
            continue
        if not (quant_types[row].is_valid and shapes[row].is_valid):
            raise DataError("dequantize: quant_type or shape is NULL; of V1 files give 'fp32' or 'fp16'")
        shape: Sequence[int] = shapes[row].as_py()
        if None in shape:
            raise DataError("dequantize: a size in shape is NULL")
        tensors.append(
            dequantize_tensor(
                data[row].as_buffer(), quant_types[row].as_py(), scales[row].as_buffer(),
                zero_points[row].as_buffer(), shape, group_sizes[row].as_py() or 0, axes[row].as_py(),
            ).reshape(-1)
        )  # fmt: skip
    lengths = [0 if tensor is None else len(tensor) for tensor in tensors]
    if sum(lengths) > np.iinfo(np.int32).max:
        raise WeightsError("dequantize: more than 2^31 values at once; ask for fewer layers")
    values = np.concatenate([tensor for tensor in tensors if tensor is not None] or [np.empty(0, np.float32)])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    mask = pa.array([tensor is None for tensor in tensors], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(values, pa.float32()), mask=mask)


def model_weights(store: HasConfig, names: pa.Array) -> pa.Array:
    """Return for each name of a model, or path of one, a list of its tensors."""
    return pa.array([None if name is None else _tensors(store, name) for name in names.to_pylist()], _TENSORS)


def _tensors(store: HasConfig, name: str) -> list[dict[str, Any]]:
    models = expanded(store.config.engine.models_dir)
    if not store.restrictions.external_access:
        place = models / expanded(name)  # which is the latter where it is absolute
        # Before it is looked for, so that nothing is told of what lies elsewhere.
        store.restrictions.check_path(place, others=[models])
        name = str(place)
    path = find_model(name, models)
    rows: list[dict[str, Any]] = describe_weights(Path(path)).to_pylist()
    return rows


_TENSORS = pa.list_(
    pa.struct(
        [
            ("layer_name", pa.string()),
            ("shape", pa.list_(pa.int32())),
            ("dtype", pa.string()),
            ("bytes", pa.int64()),
            ("quant_type", pa.string()),
            ("resident", pa.bool_()),
        ]
    )
)


def vram(store: HasConfig, asked: pa.Array) -> pa.Array:
    """Return for each row a list of the models that this process has open, with their memory on devices."""
    from aios_db.engine.backends.device_session import vram_of_process

    rows = [asdict(report) for report in vram_of_process(store.config.device)]
    return pa.array([rows] * len(asked), _VRAM)


_VRAM = pa.list_(
    pa.struct(
        [
            ("device", pa.string()),
            ("name", pa.string()),
            ("model", pa.string()),
            ("total", pa.int64()),
            ("used", pa.int64()),
            ("allocated", pa.int64()),
            ("resident_weights", pa.int64()),
            ("streamed_weights", pa.int64()),
        ]
    )
)

FUNCTIONS = (
    ScalarFunction("aios_vram", [BOOLEAN], _VRAM, vram),
    ScalarFunction(
        "aios_dequantize",
        [BLOB, VARCHAR, BLOB, BLOB, INTEGERS, INTEGER, INTEGER],
        FLOATS,
        dequantize,
    ),
    ScalarFunction("aios_model_weights", [VARCHAR], _TENSORS, model_weights),
)
