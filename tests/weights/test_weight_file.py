from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.rewrite import rewrite_weights
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import ALIGNMENT, write_weights
from aios_db.schema.errors import WeightsError
from aios_db.schema.weights import V1, V2

RNG = np.random.default_rng(7)


def float_layer(name: str, *shape: int, dtype: type = np.float32) -> StoredTensor:
    values = RNG.standard_normal(shape).astype(dtype)
    return StoredTensor(LayerInfo(name, shape, f"torch.{np.dtype(dtype).name}", values.size), values)


def int8_layer(name: str, rows: int, columns: int) -> StoredTensor:
    values = RNG.integers(-128, 128, (rows, columns)).astype(np.int8)
    info = LayerInfo(name, (rows, columns), "torch.float32", values.size, "int8", 0, 0)
    return StoredTensor(
        info, values, RNG.uniform(0.1, 1, rows).astype(np.float32), np.zeros(rows, np.float32)
    )


def legacy_file(path: Path, layers: list[StoredTensor], *, compression: str = "zstd", rows: int = 10) -> Path:
    """Write as the older converters did, with plain pyarrow."""
    table = pa.table(
        {
            "layer_name": [layer.info.name for layer in layers],
            "shape": [list(layer.info.shape) for layer in layers],
            "dtype": [layer.info.dtype for layer in layers],
            "data": [layer.data.tobytes() for layer in layers],
            "num_params": [layer.info.num_params for layer in layers],
        },
        schema=V1,
    )
    pq.write_table(table, path, compression=compression, row_group_size=rows)
    return path


LAYERS = [
    float_layer("embeddings.weight", 300, 40),
    float_layer("layer.0.weight", 33, 7),
    float_layer("layer.0.bias", 1),
    float_layer("layer.1.weight", 5, 3, 2, 2),
    float_layer("half", 9, 5, dtype=np.float16),
    float_layer("empty", 0, 4),
]


@pytest.fixture
def mapped_file(tmp_path: Path) -> Path:
    write_weights(tmp_path / "weights.parquet", LAYERS)
    return tmp_path / "weights.parquet"


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4", "snappy"])
@pytest.mark.parametrize("mapped", [True, False])
def test_v1_round_trip(tmp_path: Path, compression: str, mapped: bool) -> None:
    path = tmp_path / "weights.parquet"
    write_weights(path, LAYERS, compression=compression)  # type: ignore[arg-type]
    file = WeightFile(path, mapped=mapped)
    assert file.version == 1
    assert list(file.layers) == [layer.info.name for layer in LAYERS]
    assert file.is_mapped == (mapped and compression == "none")
    for layer in LAYERS:
        assert np.array_equal(file.array(layer.info.name), layer.data)
        assert np.array_equal(file.tensor(layer.info.name).numpy(), layer.data)
        assert file.tensor(layer.info.name).shape == layer.info.shape
    file.verify()


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "none"])
@pytest.mark.parametrize("rows", [10, 100, 2])
def test_files_of_older_converters_load(tmp_path: Path, compression: str, rows: int) -> None:
    file = WeightFile(legacy_file(tmp_path / "w.parquet", LAYERS, compression=compression, rows=rows))
    assert not file.is_mapped
    for layer in LAYERS:
        assert np.array_equal(file.tensor(layer.info.name).numpy(), layer.data)


def test_compressed_files_are_read_one_row_group_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    path = legacy_file(tmp_path / "w.parquet", LAYERS, rows=2)
    file = WeightFile(path)
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **kw: read.append(i) or original(self, i, **kw)
    )
    for name in ("layer.0.bias", "layer.1.weight", "half"):
        file.tensor(name)
    assert read == [1, 2]


def test_tensors_of_one_row_group_share_its_memory(tmp_path: Path) -> None:
    file = WeightFile(legacy_file(tmp_path / "w.parquet", LAYERS, rows=100))
    first = file.tensor("layer.0.weight")
    second = file.tensor("layer.0.bias")
    assert second.data_ptr() - first.data_ptr() == 33 * 7 * 4


def test_mapped_tensors_are_aligned_views(mapped_file: Path) -> None:
    file = WeightFile(mapped_file)
    for layer in LAYERS[:-1]:
        tensor = file.tensor(layer.info.name)
        assert tensor.data_ptr() % ALIGNMENT == 0
        assert file.maps(tensor.data_ptr())
        assert tensor.data_ptr() == file.tensor(layer.info.name).data_ptr()


def test_a_stray_write_changes_neither_file_nor_process(mapped_file: Path) -> None:
    before = mapped_file.read_bytes()
    WeightFile(mapped_file).tensor("layer.0.weight").zero_()
    assert mapped_file.read_bytes() == before
    assert np.array_equal(WeightFile(mapped_file).array("layer.0.weight"), LAYERS[1].data)


def test_views_outlive_the_file(mapped_file: Path) -> None:
    file = WeightFile(mapped_file)
    tensor = file.tensor("layer.0.weight")
    file.close()
    del file
    mapped_file.unlink()
    assert np.array_equal(tensor.numpy(), LAYERS[1].data)


def test_standard_readers_read_a_mappable_file(mapped_file: Path) -> None:
    table = pq.read_table(mapped_file, columns=V1.names)
    assert table.schema.equals(V1)
    assert table.column("data")[1].as_py() == LAYERS[1].data.tobytes()
    rows = duckdb.connect().execute(
        "SELECT layer_name, shape, num_params, octet_length(data) FROM read_parquet(?)", [str(mapped_file)]
    )
    assert rows.fetchall() == [
        (layer.info.name, list(layer.info.shape), layer.info.num_params, layer.data.nbytes)
        for layer in LAYERS
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.lists(st.lists(st.integers(0, 40), max_size=3).map(tuple), min_size=1, max_size=5),
    dtype=st.sampled_from([np.float32, np.float16, np.float64]),
    quantized=st.booleans(),
    names=st.lists(st.text(min_size=1, max_size=60), min_size=5, max_size=5, unique=True),
)
def test_any_layers_come_back(
    tmp_path: Path, shapes: list[tuple[int, ...]], dtype: type, quantized: bool, names: list[str]
) -> None:
    layers = [float_layer(name, *shape, dtype=dtype) for name, shape in zip(names, shapes, strict=False)]
    if quantized:
        layers = [
            StoredTensor(
                replace(layer.info, quant_type="int8", group_size=0),
                np.arange(layer.info.num_params).astype(np.int8),
                np.array([0.5], np.float32),
                np.array([1], np.float32) if i % 2 else None,
            )
            for i, layer in enumerate(layers)
        ]
    path = tmp_path / "w.parquet"
    write_weights(path, layers, version=2 if quantized else 1)
    file = WeightFile(path)
    assert file.is_mapped
    assert list(file.layers.values()) == [layer.info for layer in layers]
    for layer in layers:
        raw = file.raw(layer.info.name)
        assert raw.data.to_pybytes() == layer.data.tobytes()
        if quantized:
            assert np.array_equal(np.frombuffer(raw.scales, np.float32), layer.scales)
            zero = 0 if layer.zero_points is None else 1
            expected = (layer.data.astype(np.float32) - zero) * 0.5
            assert np.array_equal(file.array(layer.info.name).reshape(-1), expected)


@pytest.mark.parametrize("length", [8000, 8191, 8192, 8250, 8260, 1 << 20, (1 << 20) + 40, (1 << 20) + 200])
def test_alignment_at_the_lengths_where_page_headers_grow(tmp_path: Path, length: int) -> None:
    layers = [float_layer(f"layer {i}", length + i, dtype=np.float16) for i in range(3)]
    write_weights(tmp_path / "w.parquet", layers)
    file = WeightFile(tmp_path / "w.parquet")
    assert file.is_mapped
    assert all(file.raw(name).data.address % ALIGNMENT == 0 for name in file.layers)


def test_v2_is_told_by_its_quant_type_column(tmp_path: Path) -> None:
    layers = [int8_layer("a", 6, 5), int8_layer("b", 3, 70)]
    write_weights(tmp_path / "w.parquet", layers, version=2)
    file = WeightFile(tmp_path / "w.parquet")
    assert (file.version, file.quantization) == (2, "int8")
    expected = layers[1].data * layers[1].scales[:, None]
    assert np.allclose(file.array("b"), expected)
    assert np.allclose(file.tensor("b").numpy(), expected)
    assert pq.read_table(tmp_path / "w.parquet", columns=V2.names).schema.equals(V2)


@pytest.mark.parametrize("version", [1, 2])
def test_the_version_is_logged(version: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_weights(tmp_path / "w.parquet", [float_layer("a", 7)], version=version)
    with caplog.at_level(logging.INFO, "aios_db"):
        WeightFile(tmp_path / "w.parquet")
    (record,) = caplog.records
    assert f"w.parquet: V{version}, floats, mapped" in record.getMessage()
    assert vars(record)["version"] == version


def test_v2_of_the_old_writer(tmp_path: Path) -> None:
    q = np.array([[1, -2, -1], [0, 1, -2]], np.int8)
    table = pa.table(
        {
            "layer_name": ["a", "b"], "shape": [[2, 3], [2]], "dtype": ["torch.float32"] * 2,
            "data": [bytes([0b11000110, 0b11000000]), np.array([1, 2], np.float16).tobytes()],
            "num_params": [6, 2], "quant_type": ["int2", "fp16"],
            "scales": [np.array([2, 3], np.float32).tobytes(), b""],
            "zero_points": [np.array([0, 1], np.float32).tobytes(), None],
            "quant_axis": [0, -1], "group_size": [0, 0],
        },
        schema=V2,
    )  # fmt: skip
    pq.write_table(table, tmp_path / "w.parquet", compression="zstd")
    file = WeightFile(tmp_path / "w.parquet")
    assert file.quantization == "fp16, int2"
    assert np.array_equal(file.array("a"), (q - np.array([[0], [1]])) * np.array([[2], [3]]))
    assert file.tensor("b").tolist() == [1, 2]


def test_the_byte_length_decides_where_the_dtype_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = float_layer("lying", 4, 3)
    lying = replace(layer, info=replace(layer.info, dtype="torch.bfloat16"))
    file = WeightFile(legacy_file(tmp_path / "w.parquet", [lying]))
    with caplog.at_level(logging.WARNING, "aios_db"):
        tensor = file.tensor("lying")
    assert np.array_equal(tensor.numpy(), layer.data)
    assert "lying is labelled torch.bfloat16 but holds float32" in caplog.text


def test_true_bfloat16(tmp_path: Path) -> None:
    import torch

    values = torch.randn(3, 4).to(torch.bfloat16)
    layer = StoredTensor(LayerInfo("b", (3, 4), "torch.bfloat16", 12), values.view(torch.int16).numpy())
    write_weights(tmp_path / "w.parquet", [layer])
    file = WeightFile(tmp_path / "w.parquet")
    assert torch.equal(file.tensor("b"), values)
    assert np.array_equal(file.array("b"), values.float().numpy())


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_rewrite_makes_a_file_mappable_and_keeps_what_it_holds(tmp_path: Path, compression: str) -> None:
    layer = float_layer("lying", 4, 3)
    lying = replace(layer, info=replace(layer.info, dtype="torch.bfloat16"))
    path = legacy_file(tmp_path / "w.parquet", [*LAYERS, lying], compression=compression)
    assert rewrite_weights(path)
    file = WeightFile(path)
    assert file.is_mapped
    assert file.layers["lying"].dtype == "torch.float32"
    for expected in (*LAYERS, layer):
        assert np.array_equal(file.array(expected.info.name), expected.data)
    assert not rewrite_weights(path)
    assert rewrite_weights(path, compression="zstd")
    assert np.array_equal(WeightFile(path).array("layer.0.weight"), LAYERS[1].data)
    assert list(tmp_path.iterdir()) == [path]


def test_the_writer_refuses_what_no_reader_should_see(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    bad = float_layer("bad", 3)
    bad.data[1] = np.nan
    wrong = replace(LAYERS[1], info=replace(LAYERS[1].info, num_params=5))
    for layers, message in [
        ([bad], "'bad': data hold NaN"),
        ([LAYERS[0], LAYERS[0]], "'embeddings.weight' occurs twice"),
        ([wrong], "'layer.0.weight': shape"),
        ([int8_layer("q", 2, 2)], "'q' is int8"),
    ]:
        with pytest.raises(WeightsError, match=message):
            write_weights(path, layers)
        assert list(tmp_path.iterdir()) == []


def test_num_params_may_be_null(tmp_path: Path) -> None:
    path = legacy_file(tmp_path / "w.parquet", LAYERS[:2])
    table = pq.read_table(path)
    pq.write_table(table.set_column(4, "num_params", pa.nulls(2, pa.int64())), path)
    file = WeightFile(path)
    assert file.layers["layer.0.weight"].num_params == math.prod((33, 7))
