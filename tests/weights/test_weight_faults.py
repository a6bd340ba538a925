from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_db.engine.weights.format import Compression
from aios_db.engine.weights.int2 import pack_int2
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.errors import ModelNotFoundError, WeightsError
from aios_db.schema.weights import V1

VALUES = np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)
INFO = LayerInfo("encoder.weight", (20, 30), "torch.float32", 600)
BIAS = StoredTensor(LayerInfo("encoder.bias", (30,), "torch.float32", 30), np.ones(30, np.float32))
V1_LAYERS = [StoredTensor(INFO, VALUES), BIAS]
V2_LAYERS = [
    StoredTensor(
        replace(INFO, quant_type="int8", quant_axis=0),
        np.arange(600).astype(np.int8),
        np.linspace(0.1, 1, 20, dtype=np.float32),
        np.zeros(20, np.float32),
    ),
    StoredTensor(
        LayerInfo(
            "decoder.weight", (9, 7), "torch.float32", 63, quant_type="int2", quant_axis=1, group_size=4
        ),
        pack_int2((np.arange(63) % 4 - 2).astype(np.int8)),
        np.linspace(0.1, 1, 18, dtype=np.float32),
        np.linspace(-1, 1, 18, dtype=np.float32),
    ),
    StoredTensor(replace(BIAS.info, quant_type="fp16"), np.ones(30, np.float16)),
]


def rows(**changes: list) -> pa.Table:
    """A V1 table of the two layers, as another writer would make it, with some columns changed."""
    columns = {
        "layer_name": [layer.info.name for layer in V1_LAYERS],
        "shape": [list(layer.info.shape) for layer in V1_LAYERS],
        "dtype": [layer.info.dtype for layer in V1_LAYERS],
        "data": [layer.data.tobytes() for layer in V1_LAYERS],
        "num_params": [layer.info.num_params for layer in V1_LAYERS],
    }
    return pa.table(columns | changes, schema=V1)


def read_all(path: Path, *, mapped: bool = True) -> dict[str, np.ndarray]:
    file = WeightFile(path, mapped=mapped)
    return {name: np.array(file.array(name)) for name in file.layers}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.parquet"


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty|truncated"),
        (b"PAR1", "truncated or no Parquet file"),
        (b"not a parquet file at all, but long enough to be one", "truncated or no Parquet file"),
        (b"PAR1" + b"\xff\xff\xff\x7fPAR1", "footer is said to take 2147483647 of 12 bytes"),
        (b"PAR1" + b"\0" * 64 + b"\x20\0\0\0PAR1", "no readable weights file"),
    ],
)
def test_no_parquet_file(path: Path, content: bytes, message: str, mapped: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        WeightFile(path, mapped=mapped)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.parquet is no readable"):
        WeightFile(path)


def test_a_foreign_table(path: Path) -> None:
    pq.write_table(pa.table({"layer_name": ["a"], "price": [1.5]}), path)
    with pytest.raises(WeightsError, match="columns shape, dtype, data, num_params are missing"):
        WeightFile(path)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_truncated_anywhere(path: Path, compression: Compression) -> None:
    write_weights(path, V1_LAYERS, compression=compression)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"weights\.parquet"):
            WeightFile(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": [VALUES.tobytes()[:-3], b"\0" * 120]},
            "layer 'encoder.weight': 2397 bytes are no 600 values",
        ),
        ({"data": [None, b"\0" * 120]}, "layer 'encoder.weight': data is NULL"),
        ({"num_params": [601, 30]}, r"layer 'encoder.weight': shape \[20, 30\] is not 601 values"),
        ({"shape": [[-20, -30], [30]]}, r"layer 'encoder.weight': shape \[-20, -30\]"),
        ({"shape": [None, [30]]}, "layer 'encoder.weight': its name, shape or dtype is NULL"),
        ({"dtype": ["torch.complex128", "torch.float32"]}, "layer 'encoder.weight': unknown dtype"),
        ({"dtype": ["torch.int64", "torch.float32"]}, "layer 'encoder.weight': 2400 bytes are no 600 values"),
        ({"layer_name": ["encoder.bias", "encoder.bias"]}, "layer 'encoder.bias' occurs twice"),
    ],
)
def test_a_row_that_contradicts_itself(path: Path, changes: dict[str, list], message: str) -> None:
    pq.write_table(rows(**changes), path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_all(path)
    assert "weights.parquet" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_nan_in_a_layer(path: Path, value: float, dtype: type) -> None:
    poisoned = VALUES.astype(dtype)
    poisoned[3, 4] = value
    label = f"torch.{np.dtype(dtype).name}"
    pq.write_table(rows(data=[poisoned.tobytes(), b"\0" * 120], dtype=[label, "torch.float32"]), path)
    file = WeightFile(path)
    assert np.array_equal(file.array("encoder.bias"), np.zeros(30))
    with pytest.raises(WeightsError, match=r"weights\.parquet: layer 'encoder\.weight': data hold NaN"):
        file.tensor("encoder.weight")


def test_a_layer_that_is_not_there(path: Path) -> None:
    write_weights(path, V1_LAYERS)
    with pytest.raises(WeightsError, match=r"weights\.parquet: layer 'pooler' is missing"):
        WeightFile(path).tensor("pooler")


def test_quantized_layers_that_contradict_themselves(path: Path) -> None:
    good = V2_LAYERS[0]
    for layer, message in [
        (replace(good, scales=np.ones(7, np.float32)), "layer 'encoder.weight': 7 scales"),
        (replace(good, scales=None), "layer 'encoder.weight': a int8 tensor needs scales"),
        (replace(good, scales=b"abc"), "layer 'encoder.weight': scales are 3 bytes"),
    ]:
        scales = layer.scales if layer.scales is None else bytes(memoryview(layer.scales).cast("B"))
        table = rows().slice(0, 1).set_column(3, "data", [[layer.data.tobytes()]])
        table = table.append_column("quant_type", [["int8"]])
        pq.write_table(table.append_column("scales", pa.array([scales], pa.binary())), path)
        with pytest.raises(WeightsError, match=message):
            read_all(path)


WRITTEN = {
    (version, compression): (layers, version, compression)
    for version, layers in ((1, V1_LAYERS), (2, V2_LAYERS))
    for compression in ("none", "zstd", "lz4", "snappy")
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(WRITTEN)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=3),
    mapped=st.booleans(),
)
def test_flipped_bits_are_caught_or_harmless(
    tmp_path: Path, kind: tuple, flips: list[tuple[float, int]], mapped: bool
) -> None:
    layers, version, compression = WRITTEN[kind]
    path = tmp_path / "w.parquet"
    write_weights(path, layers, version=version, compression=compression)  # type: ignore[arg-type]
    expected = read_all(path)
    content = bytearray(path.read_bytes())
    for place, bit in flips:
        content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        file = WeightFile(path, mapped=mapped)
        file.verify()
        found = {name: file.array(name) for name in file.layers}
    except WeightsError as error:
        assert "w.parquet" in str(error)
    else:
        assert list(found) == list(expected)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_flipped_bit_in_the_seal_does_not_switch_the_checks_off(tmp_path: Path, mapped: bool) -> None:
    path = tmp_path / "w.parquet"
    write_weights(path, V1_LAYERS, version=1)
    content = bytearray(path.read_bytes())
    seal = content.rfind(b"aios_db\0", 0, len(content) - 8)
    for place in range(seal, seal + 12):
        for bit in range(8):
            content[place] ^= 1 << bit
            path.write_bytes(content)
            with pytest.raises(WeightsError, match=r"w\.parquet.*footer or the seal"):
                WeightFile(path, mapped=mapped)
            content[place] ^= 1 << bit


FLIPS = """
import random, sys
from pathlib import Path
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import WeightsError

path, good, done = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes(), 0
dice = random.Random(5)
for _ in range(400):
    content = bytearray(good)
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    try:
        file = WeightFile(path)
        for name in file.layers:
            file.tensor(name)
    except WeightsError:
        pass
    done += 1
print(done)
"""


def test_flipped_bits_in_files_of_other_writers_never_end_the_process(path: Path) -> None:
    pq.write_table(rows(), path, compression="zstd")
    process = subprocess.run(
        [sys.executable, "-c", FLIPS, str(path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.strip() == "400"


@pytest.mark.parametrize("content", ["{", "[1]", '"text"'])
def test_metadata_that_is_no_json_object(tmp_path: Path, content: str) -> None:
    write_weights(tmp_path / "weights.parquet", V1_LAYERS)
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(WeightsError, match=r"metadata\.json"):
        ModelDirectory.open(tmp_path)


def test_a_directory_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"holds no weights\.parquet or"):
        ModelDirectory.open(tmp_path)
