"""What a weight file says about one tensor, and the dtype its bytes really have."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from aios_db.engine.weights.quantized import QUANT_TYPES, packed_bytes
from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aios_db.engine.weights")

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


@dataclass(frozen=True)
class LayerInfo:
    """One row of a weight file without its bytes. V1 rows have an empty ``quant_type``."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As stored, like 'torch.float32'; in V2 the dtype before quantization."""
    num_params: int
    quant_type: str = ""
    quant_axis: int = -1
    group_size: int = 0

    @property
    def is_quantized(self) -> bool:
        """Whether the bytes are integers that need scales."""
        return self.quant_type in ("int8", "int2")

    @property
    def nbytes(self) -> int:
        """Bytes of the values as quant_type, or else the dtype's label, has them; of int2 without planes."""
        if self.quant_type:
            return packed_bytes(self.quant_type, self.num_params)
        return self.num_params * ITEM_BYTES[_label(self)]

    def check(self) -> None:
        """Raise `WeightsError`, naming the layer, when the row contradicts itself."""
        if any(size < 0 for size in self.shape) or math.prod(self.shape) != self.num_params:
            raise WeightsError(
                f"layer {self.name!r}: shape {list(self.shape)} is not {self.num_params} values"
            )
        if self.quant_type and self.quant_type not in QUANT_TYPES:
            raise WeightsError(f"layer {self.name!r}: unknown quant_type {self.quant_type!r}")
        if not self.quant_type and _label(self) not in ITEM_BYTES:
            raise WeightsError(f"layer {self.name!r}: unknown dtype {self.dtype!r}")

    def stored_dtype(self, length: int) -> str:
        """Return the dtype ('float32', …) of ``length`` raw bytes; where the label lies, the length decides.

        Raises
        ------
        WeightsError
            ``length`` bytes are no whole number of bytes a value, or of a size no float has.
        """
        if self.quant_type:
            refined = self.quant_type == "int2" and length > self.nbytes  # `parse_int2` looks at the rest
            if length != self.nbytes and not refined:
                raise WeightsError(
                    f"layer {self.name!r}: {length} bytes where {self.quant_type} takes {self.nbytes}"
                )
            return {"fp16": "float16", "fp32": "float32"}.get(self.quant_type, self.quant_type)
        if length == self.nbytes:
            return _label(self)
        for dtype in ("float32", "float16"):
            if length == self.num_params * ITEM_BYTES[dtype] and "float" in self.dtype:
                log.warning("layer %s is labelled %s but holds %s", self.name, self.dtype, dtype)
                return dtype
        raise WeightsError(
            f"layer {self.name!r}: {length} bytes are no {self.num_params} values of {self.dtype} or float32"
        )


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch dtype called ``name`` ('float32' or 'torch.float32')."""
    import torch

    dtype = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise WeightsError(f"torch has no dtype {name!r}")
    return dtype


def tensor_view(buffer: pa.Buffer, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor of ``shape`` that shares the memory of ``buffer`` and keeps it alive.

    Only a buffer whose address is no multiple of the item's size is copied.
    """
    import torch

    if not math.prod(shape):
        return torch.empty(shape, dtype=torch_dtype(dtype))
    # As bytes through DLPack, which torch.frombuffer refuses for Arrow's immutable buffers.
    raw: torch.Tensor = torch.utils.dlpack.from_dlpack(
        pa.Array.from_buffers(pa.uint8(), buffer.size, [None, buffer])
    )
    if buffer.address % ITEM_BYTES[dtype]:
        raw = raw.clone()
    return raw.view(torch_dtype(dtype)).view(shape)


def _label(info: LayerInfo) -> str:
    return info.dtype.removeprefix("torch.")
