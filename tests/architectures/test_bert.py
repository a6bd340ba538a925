"""BERT against Hugging Face and sentence-transformers."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.architectures.bert_numpy import NumpyBert, gelu
from aios_db.engine.architectures.registry import build_model
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import WeightsError

SHARED = next((p for p in map(Path, ("../shared", "../../shared")) if (p / "data").is_dir()), None)
LONG = bool(os.environ.get("AIOS_LONG_TESTS"))
STANDARD = CpuConfig(backend="standard", precision="fp32")

SENTENCES = [
    "A plane is taking off.",
    "",
    "?",
    "The quick brown fox jumps over the lazy dog while 1,234 onlookers cheer in München and 東京.",
    "She said: \"don't\"; he didn't — and that was, well, that.",
    "naïve café façade Ünïcödé",
    " ".join(["A much longer passage, to be padded against in the same batch."] * 12),
]


@pytest.fixture(scope="module")
def reference(minilm_dir: Path) -> object:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from aios_db.engine.catalog.install import packaged_minilm

    return sentence_transformers.SentenceTransformer(str(packaged_minilm()), device="cpu")


@pytest.fixture(scope="module")
def engine(minilm_dir: Path) -> ArrowEngine:
    return ArrowEngine(minilm_dir, cpu=STANDARD)


def worst_cosine(engine: ArrowEngine, reference: object, texts: list[str]) -> float:
    expected = reference.encode(texts, normalize_embeddings=True, batch_size=64)  # type: ignore[attr-defined]
    return float((engine.encode(texts).astype(np.float64) * expected).sum(axis=1).min())


def test_equals_sentence_transformers(engine: ArrowEngine, reference: object) -> None:
    assert worst_cosine(engine, reference, SENTENCES) > 0.99999


@pytest.mark.slow
@pytest.mark.skipif(SHARED is None, reason="the evaluation data is not on this machine")
def test_equals_sentence_transformers_on_real_sentences(engine: ArrowEngine, reference: object) -> None:
    """A thousand of them where there is time, and a fifth otherwise."""
    assert SHARED is not None
    with (SHARED / "data/stsb/stsb-en-dev.csv").open(encoding="utf-8") as file:
        pairs = [row[0] for row in csv.reader(file)][:600]
    lines = (SHARED / "data/wikitext-2/valid.txt").read_text(encoding="utf-8").splitlines()
    running = [line.strip() for line in lines if 20 < len(line.split()) < 120][:400]
    texts = [*pairs, *running]
    assert len(texts) == 1000
    assert worst_cosine(engine, reference, texts if LONG else texts[::5]) > 0.99999


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_equals_transformers_on_random_weights(tmp_path: Path, activation: str) -> None:
    """The sizes of MiniLM-L6, with a small vocabulary."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=1000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        hidden_act=activation,
    )  # fmt: skip
    theirs = transformers.BertModel(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    directory = ModelDirectory.open(convert_huggingface(tmp_path / "hf", tmp_path / "ours"))
    ours = LazyModel(build_model("BertModel", directory.config), WeightFile(directory.weights))
    ids = torch.randint(0, 1000, (4, 19))
    mask = (torch.arange(19) < torch.tensor([[19], [1], [7], [12]])).long()
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=mask).last_hidden_state
        hidden = ours.model.hidden_states(ids, mask)  # type: ignore[operator]
    assert (hidden - expected)[mask.bool()].abs().max() < 1e-4


def test_a_short_first_call_does_without_torch(minilm_dir: Path) -> None:
    script = (
        "import sys\n"
        "from aios_db.engine.encoders.arrow_engine import ArrowEngine\n"
        "from aios_db.schema.config import CpuConfig\n"
        "engine = ArrowEngine(sys.argv[1], cpu=CpuConfig(backend='standard', precision='fp32'))\n"
        "first = engine.encode(['Where did we meet?', 'x ' * 40])\n"
        "assert 'torch' not in sys.modules\n"
        "engine.settle()\n"
        "second = engine.encode(['Where did we meet?', 'x ' * 40])\n"
        "assert 'transformers' not in sys.modules and 'torch._dynamo' not in sys.modules\n"
        "print(abs(first - second).max() < 1e-5)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(minilm_dir)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "True"


def test_numpy_equals_torch(minilm_dir: Path) -> None:
    directory = ModelDirectory.open(minilm_dir)
    file = WeightFile(directory.weights)
    lazy = LazyModel(build_model("BertModel", directory.config), file)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 30522, (3, 21))
    mask = (np.arange(21) < np.array([[21], [2], [13]])).astype(np.int64)
    with torch.inference_mode():
        expected = lazy.model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    assert np.abs(NumpyBert(file, directory.config).run(ids, mask) - expected).max() < 1e-5


def test_numpy_gelu() -> None:
    x = np.linspace(-6, 6, 2001, dtype=np.float32)
    exact = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x.tolist()]
    assert np.abs(gelu(x) - exact).max() < 1e-6


def test_a_missing_layer_is_found_when_the_model_is_opened(minilm_dir: Path) -> None:
    directory = ModelDirectory.open(minilm_dir)
    file = WeightFile(directory.weights)
    with pytest.raises(
        WeightsError, match=r"layer 'encoder\.layer\.6\.attention\.self\.query\.weight' is missing"
    ):
        NumpyBert(file, {**directory.config, "num_hidden_layers": 7})
    with pytest.raises(WeightsError, match="has shape"):
        NumpyBert(file, {**directory.config, "intermediate_size": 1})
