"""Whole quantized files: what is loaded is the original to the format's bound, and damage is noticed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from model_gate import require_valid

from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.quantization.rounding import Grid, matrix_shape, quantize
from aios_db.engine.validation.validator import validate_version
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.migrations.models import migrate_models
from aios_db.schema.config import QuantizationConfig, ValidationConfig
from aios_db.schema.errors import ValidationError, WeightsError

VALUES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=9), elements=st.floats(-1e3, 1e3, width=32)
)
GRIDS = st.builds(Grid, bits=st.sampled_from([2, 8]), group_size=st.integers(-1, 9), symmetric=st.booleans())
REUSED = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=REUSED)
@given(
    tensors=st.lists(st.tuples(VALUES, st.none() | GRIDS), min_size=1, max_size=4),
    compression=st.sampled_from(["none", "zstd", "lz4", "snappy"]),
    mapped=st.booleans(),
)
def test_v1_to_v2_to_load_is_the_original_to_the_bound(
    tmp_path: Path, tensors: list[tuple[np.ndarray, Grid | None]], compression: str, mapped: bool
) -> None:
    """Half a step for integers; for fp16 half its spacing, and nothing for floats that stay as they are."""
    directory = tmp_path / "model"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    names = [f"layer.{number}" for number in range(len(tensors))]
    v1 = [
        StoredTensor(LayerInfo(name, values.shape, "torch.float32", values.size), values)
        for name, (values, _) in zip(names, tensors, strict=True)
    ]
    write_weights(directory / "weights.parquet", v1, compression=compression)  # type: ignore[arg-type]
    original = WeightFile(directory / "weights.parquet", mapped=mapped)
    v2 = []
    for name, (_, grid) in zip(names, tensors, strict=True):
        values = torch.from_numpy(np.array(original.array(name)))
        if grid is None:
            info = dataclasses.replace(original.layers[name], quant_type="fp16")
            v2.append(StoredTensor(info, values.to(torch.float16).numpy()))
        else:
            v2.append(quantize(values, grid).to_layer(name))
    write_weights(tmp_path / "v2.parquet", v2, version=2, compression=compression)  # type: ignore[arg-type]
    loaded = WeightFile(tmp_path / "v2.parquet", mapped=mapped)
    assert loaded.version == 2 and list(loaded.layers) == names
    for name, (values, grid) in zip(names, tensors, strict=True):
        error = np.abs(np.asarray(loaded.array(name), np.float64) - values)
        assert loaded.array(name).shape == values.shape
        if grid is None:
            assert (error <= np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)).all()
        else:
            assert (error <= half_step(loaded, name, grid) + 1e-5 * np.abs(values).max() + 1e-7).all()
    (result,) = migrate_models(directory)  # as floats: nothing is lost
    migrated = WeightFile(result.path / "weights.parquet")
    assert migrated.version == 2
    for name, (values, _) in zip(names, tensors, strict=True):
        assert np.array_equal(migrated.array(name), values)


def half_step(file: WeightFile, name: str, grid: Grid) -> np.ndarray:
    """Half the stored scale of each value, laid out anew from the format's description."""
    layer = file.raw(name)
    rows, columns = matrix_shape(layer.info.shape)
    scales = np.frombuffer(layer.scales, np.float32)
    if grid.group_size == -1:
        return np.full(layer.info.shape, scales[0] / 2)
    group = grid.group_size or columns
    last = layer.info.shape[-1] if grid.group_size else columns
    by_row = scales.reshape(-1, -(-last // group)) if columns == last else scales.reshape(rows, -1)
    wide = np.repeat(by_row, min(group, columns), axis=1)[:, :columns]
    return wide.reshape(layer.info.shape) / 2


@pytest.fixture(scope="module")
def quantized(tiny_bert: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 2-bit and 8-bit layers with its passing report."""
    target = tmp_path_factory.mktemp("models") / "tiny-int2"
    config = QuantizationConfig(
        target="int2",
        method="ptq",
        group_size=16,
        max_bits=6.5,
        distillation_steps=0,
        calibration_tokens=8_000,
    )
    report = quantize_model(tiny_bert, target, calibration=texts, config=config)
    assert 0 < report.int2_share < 1
    assert validate_version(tiny_bert, target, texts, ValidationConfig(min_cosine=-1.0)).passed
    return target


@settings(max_examples=80, deadline=None, suppress_health_check=REUSED)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_flipped_byte_is_caught_or_harmless(
    quantized: Path, tmp_path: Path, place: float, flip: int
) -> None:
    """The engine gives the vectors it gave or an error, and the gate lets no other weights through."""
    text = ["word3 word14 word15 word9 word2 word6"]
    expected = ArrowEngine(Candidate(quantized)).encode(text)
    damaged = tmp_path / "tiny-int2"
    shutil.copytree(quantized, damaged, dirs_exist_ok=True)
    content = bytearray((damaged / "weights.parquet").read_bytes())
    content[int(place * len(content))] ^= flip
    (damaged / "weights.parquet").write_bytes(content)
    try:
        assert np.array_equal(ArrowEngine(Candidate(damaged)).encode(text), expected)
    except WeightsError as error:
        assert "weights.parquet" in str(error)
    good, now = WeightFile(quantized / "weights.parquet"), None
    try:
        assert require_valid(damaged) is not None
        now = WeightFile(damaged / "weights.parquet")
    except (WeightsError, ValidationError) as error:
        assert "tiny-int2" in str(error)
    if now is not None:
        assert all(np.array_equal(good.array(name), now.array(name)) for name in good.layers)


def test_a_flipped_byte_in_any_tensor_is_caught(quantized: Path, tmp_path: Path) -> None:
    """Data, scales and zero points, the tables too: whatever a forward pass reads."""
    file = WeightFile(quantized / "weights.parquet")
    content = (quantized / "weights.parquet").read_bytes()
    damaged = Path(shutil.copytree(quantized, tmp_path / "tiny-int2"))
    unused = []
    for name in file.layers:
        layer = file.raw(name)
        for part in (layer.data, layer.scales, layer.zero_points):
            if part is None or not part.size:
                continue
            at = content.index(part.to_pybytes())
            changed = bytearray(content)
            changed[at + part.size // 2] ^= 1
            (damaged / "weights.parquet").write_bytes(changed)
            try:
                ArrowEngine(Candidate(damaged)).encode(["word3 word4"])
                unused.append(name)
            except WeightsError as error:
                assert name in str(error)
    assert unused == []


def test_the_reader_opens_a_file_once_per_purpose(
    tiny_bert: Path, tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    plain = WeightFile.__init__

    def watched(self: WeightFile, path: str | Path, **options: bool) -> None:
        opened.append(Path(path))
        plain(self, path, **options)

    monkeypatch.setattr(WeightFile, "__init__", watched)
    config = QuantizationConfig(target="int8", method="ptq", calibration_tokens=4_000)
    quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=config)
    source = tiny_bert / "weights.parquet"
    # To quantize, to write what is not quantized, to be compared tensor by tensor, and by its vectors.
    assert opened.count(source) == 4
    assert len(opened) - opened.count(source) == 2  # of the new file the last two
