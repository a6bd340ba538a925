"""Write a model directory: weights, tokenizer and metadata.json, all of it or nothing."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aios_db.engine.weights.building import building
from aios_db.engine.weights.format import Compression
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.errors import OperationalError
from aios_db.schema.weights import METADATA_FILE, TOKENIZER_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aios_db.engine.convert")

CONVERTER_VERSION = "1.1.0"
FloatType = Literal["float32", "float16"]


def write_model(
    target: Path,
    name: str,
    description: Mapping[str, Any],
    tensors: Iterable[tuple[str, torch.Tensor]],
    *,
    tokenizer: str | None = None,
    dtype: FloatType = "float32",
    compression: Compression = "none",
) -> None:
    """Write the new directory ``target`` in the V1 layout, atomically, one tensor in memory at a time.

    Parameters
    ----------
    name
        The model's name in metadata.json.
    description
        ``model_type`` with ``model_info``, or with ``architecture`` and ``config``.
    tensors
        Stored names and tensors, in the order to write.
    tokenizer
        The content of tokenizer.json; None for a model that reads no text.
    dtype
        What floating point weights are stored as.

    Raises
    ------
    OperationalError
        ``target`` exists.
    WeightsError
        A tensor holds NaN or infinity, or a name occurs twice.
    """
    if target.exists():
        raise OperationalError(f"{target} exists: choose another directory or remove it first")
    with building(target) as build:
        infos: list[LayerInfo] = []

        def layers() -> Iterator[StoredTensor]:
            for stored, tensor in tensors:
                layer = _layer(stored, tensor, dtype)
                infos.append(layer.info)
                yield layer

        digest = write_weights(build / WEIGHTS_FILE, layers(), compression=compression)
        if tokenizer is not None:
            (build / TOKENIZER_FILE).parent.mkdir()
            (build / TOKENIZER_FILE).write_text(tokenizer, encoding="utf-8")
        metadata = {
            "model_name": name,
            **description,
            "conversion_config": {"compression": compression, "use_float16": dtype == "float16"},
            "total_parameters": sum(info.num_params for info in infos),
            # text models call the number of their tensors num_layers
            "num_layers" if "model_info" in description else "num_weight_tensors": len(infos),
            "layer_info": {
                info.name: {"shape": list(info.shape), "dtype": info.dtype, "num_params": info.num_params}
                for info in infos
            },
            "content_sha256": digest,
            "converted_at": datetime.now(timezone.utc).isoformat(),
            "converter_version": CONVERTER_VERSION,
        }
        (build / METADATA_FILE).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        _publish(build, target)
    log.info("wrote %s: %d tensors", target, len(infos))


def _publish(build: Path, target: Path) -> None:
    try:
        os.rename(build, target)
    except OSError:
        if not (target / WEIGHTS_FILE).is_file():
            raise
        log.info("another process has converted %s meanwhile", target)


def _layer(name: str, tensor: torch.Tensor, dtype: str) -> StoredTensor:
    from aios_db.engine.weights.layer import torch_dtype

    if tensor.is_floating_point():
        tensor = tensor.to(torch_dtype(dtype))
    info = LayerInfo(name, tuple(tensor.shape), str(tensor.dtype), tensor.numel())
    return StoredTensor(info, tensor.contiguous().numpy())
