from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aios_db.engine.catalog.find import find_model, find_weights
from aios_db.engine.catalog.fingerprint import CACHE_FILE, fingerprint
from aios_db.engine.catalog.install import install_minilm, packaged_minilm
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.rewrite import rewrite_weights
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import ModelNotFoundError, NotSupportedError, OperationalError, WeightsError
from aios_db.schema.weights import V1

LEGACY = next(
    (p for p in map(Path, ("../shared/fixtures", "../../shared/fixtures")) if p.is_dir()), Path("absent")
) / "legacy_models"  # fmt: skip
STANDARD = CpuConfig(backend="standard", precision="fp32")
TEXTS = ["A river in spring.", "Der Fluss im Frühling.", "word " * 300]


@pytest.fixture(scope="module")
def expected(minilm_dir: Path) -> np.ndarray:
    return ArrowEngine(minilm_dir, cpu=STANDARD).encode(TEXTS)


def legacy_minilm(minilm_dir: Path, target: Path, *, compression: str = "zstd", half: bool = False) -> Path:
    """The model as the older converter wrote it: its columns, its row groups, its metadata."""
    table = pq.read_table(minilm_dir / "weights.parquet", columns=V1.names)
    if half:
        data = [
            np.frombuffer(value, np.float32).astype(np.float16).tobytes()
            for value in table["data"].to_pylist()
        ]
        table = table.set_column(3, "data", [data]).set_column(2, "dtype", [["torch.float16"] * len(data)])
    target.mkdir(parents=True)
    pq.write_table(table, target / "weights.parquet", compression=compression, row_group_size=10)
    shutil.copytree(minilm_dir / "tokenizer", target / "tokenizer")
    return target


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "none"])
def test_v1_directories_of_the_older_converter(
    minilm_dir: Path, tmp_path: Path, expected: np.ndarray, compression: str
) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm", compression=compression)
    if LEGACY.is_dir():
        shutil.copy(LEGACY / "minilm/metadata.json", model)
        shutil.copy(LEGACY / "minilm/tokenizer/tokenizer.json", model / "tokenizer")
    assert np.abs(ArrowEngine(model, cpu=STANDARD).encode(TEXTS) - expected).max() < 1e-5


def test_v1_in_half_precision(minilm_dir: Path, tmp_path: Path, expected: np.ndarray) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm", half=True)
    vectors = ArrowEngine(model, cpu=STANDARD).encode(TEXTS)
    assert (vectors * expected).sum(axis=1).min() > 0.9999


def test_old_names_and_places(minilm_dir: Path, tmp_path: Path, expected: np.ndarray) -> None:
    """<name>.parquet, the tokenizer beside it, metadata that points nowhere."""
    model = legacy_minilm(minilm_dir, tmp_path / "minilm")
    (model / "weights.parquet").rename(model / "minilm.parquet")
    (model / "tokenizer/tokenizer.json").rename(model / "tokenizer.json")
    metadata = json.loads((minilm_dir / "metadata.json").read_text())
    metadata |= {"parquet_path": "C:\\models\\minilm\\weights.parquet", "tokenizer_path": "models\\minilm"}
    (model / "metadata.json").write_text(json.dumps(metadata))
    assert np.abs(ArrowEngine(model, cpu=STANDARD).encode(TEXTS) - expected).max() < 1e-5


def test_a_missing_metadata_file_is_a_warning(
    minilm_dir: Path, tmp_path: Path, expected: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm")
    with caplog.at_level(logging.WARNING, "aios_db"):
        engine = ArrowEngine(model, cpu=STANDARD)
    assert "metadata.json is missing" in caplog.text
    assert "assuming BERT with 12 attention heads" in caplog.text
    assert np.abs(engine.encode(TEXTS) - expected).max() < 1e-5


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "9" * 5000])
def test_metadata_that_is_no_json_is_an_error(minilm_dir: Path, tmp_path: Path, content: str) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm")
    (model / "metadata.json").write_text(content)
    with pytest.raises(WeightsError, match="cannot be read as JSON"):
        ModelDirectory.open(model)


@pytest.mark.skipif(not LEGACY.is_dir(), reason="the older converters' files are not on this machine")
@pytest.mark.parametrize(
    ("name", "architecture", "hidden"),
    [
        ("minilm", "BertModel", 384),
        ("qwen2.5-0.5b-arrow", "Qwen2ForCausalLM", 896),
        ("clip-vit-base-patch32", "ViT", 768),
    ],
)
def test_metadata_of_the_older_converters(tmp_path: Path, name: str, architecture: str, hidden: int) -> None:
    model = tmp_path / name
    model.mkdir()
    shutil.copy(LEGACY / name / "metadata.json", model)
    (model / f"{name}.parquet").touch()
    directory = ModelDirectory.open(model)
    assert (directory.architecture, directory.config["hidden_size"]) == (architecture, hidden)
    assert directory.weights == model / f"{name}.parquet"
    assert directory.tokenizer is None


def test_install_minilm_is_done_once(minilm_dir: Path) -> None:
    before = (minilm_dir / "weights.parquet").stat().st_mtime_ns
    assert install_minilm(minilm_dir.parent) == minilm_dir
    assert (minilm_dir / "weights.parquet").stat().st_mtime_ns == before
    assert WeightFile(minilm_dir / "weights.parquet").is_mapped
    assert find_model("minilm", minilm_dir.parent) == minilm_dir


def test_install_minilm_refuses_other_weights(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/model.safetensors").write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=r"model\.safetensors is not all-MiniLM-L6-v2: its SHA-256 is [0-9a-f]{64}"
    ):
        install_minilm(tmp_path / "models", tmp_path / "source")
    with pytest.raises(ModelNotFoundError, match=r"holds no model\.safetensors"):
        install_minilm(tmp_path / "models", tmp_path)
    assert not (tmp_path / "models/minilm").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root takes another user")
def test_a_models_dir_that_this_user_may_not_reach_has_no_models(tmp_path: Path) -> None:
    models = tmp_path / "locked" / "models"
    (models / "mine").mkdir(parents=True)
    models.parent.chmod(0o700)
    assert find_model("mine", models) == models / "mine"
    os.seteuid(65534)
    try:
        with pytest.raises(ModelNotFoundError, match="no model 'mine' in"):
            find_model("mine", models)
        with pytest.raises(ModelNotFoundError, match="the weights mine@00"):
            find_weights("mine@00", ["mine"], models)
    finally:
        os.seteuid(0)


def test_a_models_dir_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationalError, match=r"file/minilm: .*set engine\.models_dir"):
        install_minilm(tmp_path / "file")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_convert_to_half_precision(
    minilm_dir: Path, tmp_path: Path, expected: np.ndarray, compression: str
) -> None:
    model = convert_huggingface(
        packaged_minilm(),
        tmp_path / "half",
        dtype="float16",
        compression=compression,  # type: ignore[arg-type]
    )
    engine = ArrowEngine(model, cpu=STANDARD)
    assert (engine.encode(TEXTS) * expected).sum(axis=1).min() > 0.9999
    report = engine.memory_report()
    table = next(layer for layer in report.layers if layer.name == "embeddings.word_embeddings.weight")
    assert table.stored == 30522 * 384 * 2
    assert (table.copied == 0) == (compression == "none")


def test_the_version_survives_a_rewrite(minilm_dir: Path, tmp_path: Path) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm")
    installed = ArrowEngine(minilm_dir, cpu=STANDARD).version
    assert ArrowEngine(model, cpu=STANDARD).version == installed
    assert rewrite_weights(model / "weights.parquet")
    assert ArrowEngine(model, cpu=STANDARD).version == installed


def test_the_fingerprint_of_other_writers_files_is_kept(minilm_dir: Path, tmp_path: Path) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "minilm")
    digest = fingerprint(model, WeightFile(model / "weights.parquet"))
    kept = json.loads((model / CACHE_FILE).read_text())
    (model / CACHE_FILE).write_text(json.dumps(kept | {"sha256": "kept"}))
    assert fingerprint(model, WeightFile(model / "weights.parquet")) == "kept"
    (model / CACHE_FILE).write_text("{")
    assert fingerprint(model, WeightFile(model / "weights.parquet")) == digest
    (model / CACHE_FILE).write_text(json.dumps(kept | {"size": 1, "sha256": "stale"}))
    assert fingerprint(model, WeightFile(model / "weights.parquet")) == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": 5}, "hidden_size of 384 cannot be shared by 5"),
        ({"hidden_size": "384"}, "hidden_size is '384'"),
        ({"max_seq_length": 2}, "max_seq_length is 2"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps is 'tiny'"),
        ({"num_hidden_layers": 7}, r"layer 'encoder\.layer\.6\..*' is missing"),
        ({"vocab_size": 7}, r"layer 'embeddings\.word_embeddings\.weight' has shape"),
    ],
)
def test_sizes_that_are_none(minilm_dir: Path, tmp_path: Path, change: dict, message: str) -> None:
    model = tmp_path / "minilm"
    model.mkdir()
    (model / "weights.parquet").symlink_to(minilm_dir / "weights.parquet")
    (model / "tokenizer").symlink_to(minilm_dir / "tokenizer")
    metadata = json.loads((minilm_dir / "metadata.json").read_text())
    metadata["model_info"] |= change
    (model / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(WeightsError, match=message):
        ArrowEngine(model, cpu=STANDARD)


def test_a_model_that_is_no_text_encoder(minilm_dir: Path, tmp_path: Path) -> None:
    model = legacy_minilm(minilm_dir, tmp_path / "lm")
    (model / "metadata.json").write_text(json.dumps({"model_info": {"architecture": "Qwen2ForCausalLM"}}))
    with pytest.raises(NotSupportedError, match="holds Qwen2ForCausalLM, not BertModel"):
        ArrowEngine(model)
