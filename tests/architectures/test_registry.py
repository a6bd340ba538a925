"""A new architecture is one file and one row, which says how it is found, opened, converted and probed."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from aios_db.engine.architectures.kinds import KINDS, LANGUAGE, TEXT, load
from aios_db.engine.architectures.registry import ARCHITECTURES, Architecture
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.convert.registry import Converter, find_converter
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.encoders.open_encoder import open_encoder
from aios_db.engine.quantization.calibration import open_calibration
from aios_db.engine.validation.validator import validate_version
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import NotSupportedError

ROOT = Path(__file__).resolve().parent.parent.parent
LINKS = {("aios_db", name) for name in ("engine", "udfs", "schema", "migrations")}
PLAIN = CpuConfig(backend="standard", precision="fp32")

BAG = '''
"""The mean of the tokens' vectors."""

def sizes(directory, file):
    vocabulary, hidden = file.layers["bag.weight"].shape
    return {**directory.config, "vocab_size": vocabulary, "hidden_size": hidden, "max_seq_length": 64}

def build(config):
    from torch import nn

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag = nn.Embedding(config["vocab_size"], config["hidden_size"])

        def forward(self, ids, mask):
            counted = mask.unsqueeze(-1).float()
            return (self.bag(ids) * counted).sum(1) / counted.sum(1)

    return Bag()
'''


@pytest.fixture
def bag(minilm_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model directory without a name of its architecture, which a package outside of the engine defines."""
    package = tmp_path / "bag_of_tokens"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bag.py").write_text(BAG)
    monkeypatch.syspath_prepend(tmp_path)
    row = Architecture(
        kind=TEXT,
        build="bag_of_tokens.bag:build",
        sizes="bag_of_tokens.bag:sizes",
        tensors=("bag.weight",),
        converters={"bag": "aios_db.engine.convert.bert:CONVERTER"},
    )
    monkeypatch.setitem(ARCHITECTURES, "BagOfTokens", row)
    directory = tmp_path / "bag"
    directory.mkdir()
    copyfile(ModelDirectory.open(minilm_dir).tokenizer or "", directory / "tokenizer.json")
    values = np.random.default_rng(0).standard_normal((30522, 16)).astype(np.float32)
    info = LayerInfo("bag.weight", values.shape, "torch.float32", values.size)
    write_weights(directory / "weights.parquet", [StoredTensor(info, values)])
    return directory


def test_an_architecture_is_added_by_one_row(bag: Path) -> None:
    assert kind_of(ModelDirectory.open(bag)) is TEXT
    encoder = open_encoder(bag, cpu=PLAIN)
    assert isinstance(encoder, ArrowEngine) and encoder.dimension == 16
    one, same, other = encoder.encode(["tea and rain", "rain and tea", "a ship at sea"])
    np.testing.assert_allclose(one, same, atol=1e-6)
    assert one @ other < 0.99
    encoder.close()
    assert isinstance(find_converter("bag"), Converter)
    assert validate_version(bag, bag, cpu=PLAIN).passed
    texts = [f"text number {number}" for number in range(20)]
    assert open_calibration(ModelDirectory.open(bag), texts, []).sha256
    assert "bag_of_tokens.bag" in sys.modules


def test_every_row_names_code_that_is_there() -> None:
    for row in ARCHITECTURES.values():
        assert row.kind in KINDS
        names = [row.build, row.sizes, *row.converters.values(), row.kind.probe, row.kind.calibration]
        for name in [*names, row.kind.encoder]:
            assert name is None or load(name) is not None
    assert all(any(row.kind is kind for row in ARCHITECTURES.values()) for kind in KINDS)


def test_no_encoder_serves_a_language_model(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bag / "metadata.json").write_text(json.dumps({"model_info": {"architecture": "LlamaForCausalLM"}}))
    assert kind_of(ModelDirectory.open(bag)) is LANGUAGE
    with pytest.raises(NotSupportedError, match="holds a language model, which no encoder serves"):
        open_encoder(bag)
    (bag / "metadata.json").write_text(json.dumps({"model_info": {"architecture": "Nonesuch"}}))
    with pytest.raises(NotSupportedError, match="unknown architecture"):
        open_encoder(bag)


def test_nothing_else_decides_by_the_name_of_an_architecture() -> None:
    """What holds of one architecture is in its row, or in the files that make it."""
    own = {"engine/architectures", "engine/convert"}
    named = set()
    for folder in ("engine", "udfs", "migrations", "aios_db"):
        for source in (ROOT / folder).rglob("*.py"):
            path = source.relative_to(ROOT)
            if path.parent.as_posix() not in own and path.parts[:2] not in LINKS:
                named |= {path.as_posix()} if constants(source) & set(ARCHITECTURES) else set()
    # One builds BERT of ncnn's own layers, the other makes and reads joint spaces.
    assert named == {"engine/backends/vulkan.py", "engine/fusion/files.py"}


def constants(source: Path) -> set[object]:
    """Return the constants in a file, without the names of types that ``cast`` is given."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast"]
    types = {call.args[0] for call in calls}
    return {node.value for node in nodes if isinstance(node, ast.Constant) and node not in types}
