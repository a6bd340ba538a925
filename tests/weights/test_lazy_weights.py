from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.weights.describe import describe_weights
from aios_db.engine.weights.format import Compression
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import ResidencyManager
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.errors import WeightsError

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CONFIG = {
    "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256, "num_hidden_layers": 3,
    "vocab_size": 20000, "max_position_embeddings": 64, "type_vocab_size": 2,
}  # fmt: skip
IDS = torch.tensor([[5, 19000, 7, 42]])


def write_bert(path: Path, compression: Compression = "none", dtype: type = np.float32) -> Path:
    """A BERT of random weights: 5 MB of tables, 200 kB a layer."""
    rng = np.random.default_rng(3)
    layers = []
    for name, parameter in build_model("BertModel", CONFIG).named_parameters():
        values = (rng.standard_normal(tuple(parameter.shape)) * 0.1).astype(dtype)
        label = f"torch.{np.dtype(dtype).name}"
        layers.append(StoredTensor(LayerInfo(name, tuple(parameter.shape), label, values.size), values))
    write_weights(path, layers, compression=compression)
    return path


def open_bert(path: Path, *, limit: int = 0, mapped: bool = True) -> LazyModel:
    return LazyModel(
        build_model("BertModel", CONFIG), WeightFile(path, mapped=mapped), ResidencyManager(limit)
    )


@torch.inference_mode()
def run(lazy: LazyModel) -> np.ndarray:
    return lazy.model(IDS, torch.ones_like(IDS)).numpy()


@pytest.fixture
def mapped_bert(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "weights.parquet")


@linux
def test_opening_reads_no_tensor(mapped_bert: Path) -> None:
    lazy = open_bert(mapped_bert)
    report = lazy.memory_report()
    assert report.mapped == report.stored == sum(p.numel() * 4 for p in lazy.model.parameters())
    # Mapping the footer maps a few neighbouring pages that are cached anyway.
    assert report.resident <= 1 << 17
    assert report.copied == 0
    assert all(parameter.is_meta for parameter in lazy.model.parameters())


def test_parameters_are_views_of_the_mapping(mapped_bert: Path) -> None:
    lazy = open_bert(mapped_bert)
    run(lazy)
    assert all(lazy.file.maps(parameter.data_ptr()) for parameter in lazy.model.parameters())
    assert lazy.memory_report().copied == 0


@linux
def test_layers_are_loaded_as_they_run(mapped_bert: Path) -> None:
    lazy = open_bert(mapped_bert)
    lazy.model.get_submodule("encoder.layer.1")(torch.zeros(1, 4, 64), None)
    loaded = {name for name, parameter in lazy.model.named_parameters() if not parameter.is_meta}
    assert loaded == {name for name in lazy.file.layers if name.startswith("encoder.layer.1.")}


@linux
def test_of_a_table_only_the_rows_used_become_resident(mapped_bert: Path) -> None:
    lazy = open_bert(mapped_bert)
    lazy.release()
    run(lazy)
    by_name = {layer.name: layer for layer in lazy.memory_report().layers}
    table = by_name["embeddings.word_embeddings.weight"]
    assert 0 < table.resident < table.mapped / 4
    query = by_name["encoder.layer.2.attention.self.query.weight"]
    assert query.resident == query.mapped == query.stored


@linux
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("mapped", [True, False])
def test_released_layers_come_back_with_the_same_values(
    tmp_path: Path, compression: Compression, mapped: bool
) -> None:
    lazy = open_bert(write_bert(tmp_path / "w.parquet", compression), mapped=mapped)
    before = run(lazy)
    loaded = lazy.memory_report()
    lazy.release()
    released = lazy.memory_report()
    assert released.resident + released.copied < 0.2 * (loaded.resident + loaded.copied)
    assert np.array_equal(run(lazy), before)


@linux
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_least_recently_used_layers_go_when_the_limit_is_reached(
    tmp_path: Path, compression: Compression
) -> None:
    path = write_bert(tmp_path / "w.parquet", compression)
    layer_bytes = 4 * (4 * 64 * 64 + 2 * 64 * 256)
    limited, free = open_bert(path, limit=layer_bytes * 3 // 2), open_bert(path)
    for _ in range(2):
        assert np.array_equal(run(limited), run(free))
        assert sum(unit.resident_bytes() for unit in limited.units.values()) <= layer_bytes * 3 // 2
    last, first = limited.units["encoder.layer.2"], limited.units["encoder.layer.0"]
    assert last.resident_bytes() > layer_bytes * 0.9
    assert first.resident_bytes() < layer_bytes * 0.2  # small tensors share pages with their neighbours


@linux
def test_models_share_a_limit(tmp_path: Path) -> None:
    layer_bytes = 4 * (4 * 64 * 64 + 2 * 64 * 256)
    manager = ResidencyManager(layer_bytes * 3 // 2)
    models = [
        LazyModel(build_model("BertModel", CONFIG), WeightFile(write_bert(tmp_path / name)), manager)
        for name in ("a.parquet", "b.parquet")
    ]
    for lazy in models:
        run(lazy)
    resident = [sum(unit.resident_bytes() for unit in lazy.units.values()) for lazy in models]
    assert sum(resident) <= layer_bytes * 2  # small tensors share pages with their neighbours
    assert resident[0] < resident[1]


def test_a_unit_in_use_is_not_released() -> None:
    released: list[str] = []

    class Fixed:
        def __init__(self, name: str) -> None:
            self.name = name

        def resident_bytes(self) -> int:
            return 10

        def release(self) -> None:
            released.append(self.name)

    manager, busy, other, third = ResidencyManager(15), Fixed("busy"), Fixed("other"), Fixed("third")
    manager.begin(busy)
    manager.end(busy)
    manager.begin(busy)
    manager.begin(other)
    manager.end(other)
    assert released == ["other"]
    manager.end(busy)
    manager.begin(third)
    manager.end(third)
    assert released == ["other", "busy"]


def test_half_precision_computes_in_float32_and_keeps_its_tables(tmp_path: Path) -> None:
    exact = run(open_bert(write_bert(tmp_path / "full.parquet")))
    lazy = open_bert(write_bert(tmp_path / "half.parquet", dtype=np.float16))
    assert np.abs(run(lazy) - exact).max() < 5e-3
    assert lazy.model.get_parameter("embeddings.word_embeddings.weight").dtype == torch.float16
    assert lazy.model.get_parameter("encoder.layer.0.output.dense.weight").dtype == torch.float32


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    layers = [
        StoredTensor(
            LayerInfo(name, tuple(p.shape), "torch.float32", p.numel()), np.zeros(tuple(p.shape), np.float32)
        )
        for name, p in build_model("BertModel", CONFIG).named_parameters()
    ]
    write_weights(tmp_path / "w.parquet", layers[:7] + layers[8:])
    with pytest.raises(WeightsError, match=rf"w\.parquet: layer '{layers[7].info.name}' is missing"):
        open_bert(tmp_path / "w.parquet")


def test_a_shape_that_does_not_fit_is_named(mapped_bert: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"layer 'embeddings\.word_embeddings\.weight' has shape \[20000, 64\]"
    ):
        LazyModel(build_model("BertModel", CONFIG | {"vocab_size": 5}), WeightFile(mapped_bert))


def test_a_changed_layer_is_named_when_it_is_used(mapped_bert: Path) -> None:
    name = "encoder.layer.1.output.dense.weight"
    needle = WeightFile(mapped_bert, mapped=False).raw(name).data.to_pybytes()
    content = bytearray(mapped_bert.read_bytes())
    content[content.index(needle) + 1000] ^= 1
    mapped_bert.write_bytes(content)
    lazy = open_bert(mapped_bert)
    with pytest.raises(WeightsError, match=rf"weights\.parquet: layer '{name}' has changed"):
        run(lazy)


def test_describe_weights_lists_the_tensors(mapped_bert: Path) -> None:
    table = describe_weights(mapped_bert)
    rows = {row["layer_name"]: row for row in table.to_pylist()}
    assert list(rows) == list(WeightFile(mapped_bert).layers)
    row = rows["embeddings.word_embeddings.weight"]
    assert (row["shape"], row["dtype"], row["bytes"]) == ([20000, 64], "torch.float32", 20000 * 64 * 4)
    assert row["quant_type"] is None
    assert row["resident"] is True  # just written


PROBE = """
import json, re, sys
import torch
from aios_db.engine.architectures.registry import build_model
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile

def private():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(kb) for kb in re.findall(r"Private_\\w+:\\s+(\\d+) kB", text)) * 1024

def mapping():
    blocks = re.split(r"\\n(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read())
    block = next(block for block in blocks if sys.argv[1] in block.splitlines()[0])
    return {key: int(kb) * 1024 for key, kb in re.findall(r"(\\w+):\\s+(\\d+) kB", block)}

config = json.loads(sys.argv[2])
build_model("BertModel", config)
before = private()
lazy = LazyModel(build_model("BertModel", config), WeightFile(sys.argv[1]))
opened = private() - before
lazy.load_all()
for parameter in lazy.model.parameters():
    parameter.sum()
print(json.dumps({"opened": opened, **mapping()}), flush=True)
sys.stdin.read()
"""


@linux
def test_two_processes_share_one_copy(tmp_path: Path) -> None:
    path = write_bert(tmp_path / "weights.parquet")
    size = path.stat().st_size
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", PROBE, str(path), json.dumps(CONFIG)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        processes.append((process, json.loads(process.stdout.readline())))
    (_, first), (_, second) = processes
    for process, _ in processes:
        process.communicate("")
        assert process.returncode == 0
    assert second["Rss"] > 0.95 * size
    assert second["Pss"] < 0.55 * size
    assert first["Anonymous"] == second["Anonymous"] == 0  # no page is a copy
    # The mapped bytes are one thing, pyarrow's objects another: they do not grow with the weights.
    assert first["opened"] < 3 << 20
