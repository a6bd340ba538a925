"""Weight files: Parquet, one row a tensor, in the versions V1 (floats) and V2 (quantized)."""

from __future__ import annotations

import pyarrow as pa

V1 = pa.schema(
    [
        pa.field("layer_name", pa.string()),
        pa.field("shape", pa.list_(pa.int32())),
        pa.field("dtype", pa.string()),  # str(torch.dtype), before quantization in V2
        pa.field("data", pa.binary()),  # row-major raw bytes
        pa.field("num_params", pa.int64()),
    ]
)

V2 = pa.schema(
    [
        *V1,
        pa.field("quant_type", pa.string()),  # int8, int2, fp16, fp32
        pa.field("scales", pa.binary()),  # float32 array
        pa.field("zero_points", pa.binary()),  # float32 array
        pa.field("quant_axis", pa.int32()),  # -1: per tensor
        pa.field("group_size", pa.int32()),  # 0: no groups
    ]
)

WEIGHTS_FILE = "weights.parquet"
METADATA_FILE = "metadata.json"
TOKENIZER_FILE = "tokenizer/tokenizer.json"
