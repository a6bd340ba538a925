"""Rewrite a weight file in place: to the layout that can be mapped, or compressed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aios_db.engine.weights.format import Compression
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

log = logging.getLogger("aios_db.engine.weights")


def rewrite_weights(path: str | Path, *, compression: Compression = "none") -> bool:
    """Write the tensors of ``path`` anew, atomically; what they hold and the model's version stay the same.

    Processes that have the old file open keep it. A dtype label that lies is corrected.

    Parameters
    ----------
    compression
        'none' makes the file mappable, 'zstd', 'lz4' and 'snappy' smaller.

    Returns
    -------
    bool
        False when the file was mappable already and was left alone.

    Raises
    ------
    WeightsError
        The file cannot be read; it is left alone.
    """
    with WeightFile(path) as file:
        if file.is_mapped and compression == "none":
            return False
        before = file.path.stat().st_size
        write_weights(
            file.path, _layers(file), version=2 if file.version == 2 else 1, compression=compression
        )
    log.info("rewrote %s as %s: %d to %d bytes", path, compression, before, file.path.stat().st_size)
    return True


def _layers(file: WeightFile) -> Iterator[StoredTensor]:
    for name in file.layers:
        layer = file.raw(name)
        if not layer.info.quant_type:
            dtype = f"torch.{layer.info.stored_dtype(layer.data.size)}"
            layer = replace(layer, info=replace(layer.info, dtype=dtype))
        yield layer
