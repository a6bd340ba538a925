"""Cards as files: the field's Arrow format and PEFT's directories."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from federation_helpers import card, changed
from hypothesis import given
from hypothesis import strategies as st

from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.card_files import SCHEMA, card_bytes, card_from_bytes, read_card, write_card
from aios_db.federation.peft_files import read_peft, write_peft
from aios_db.schema.errors import DataError, Error, NotSupportedError, OperationalError, WeightsError


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_file_gives_back_the_card_with_its_free_keys(tmp_path: Path, dtype: str) -> None:
    made = replace(card(dtype=dtype), metadata={"author": "Ada", "notes": "ü"})
    path = write_card(made, tmp_path / "skill.lora.arrow")
    read = read_card(path)
    assert (read.name, read.rank, read.alpha, read.target_modules) == ("skill", 4, 8.0, ("query",))
    assert read.metadata == {"author": "Ada", "notes": "ü"} and read.sha256 == made.sha256
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(made.arrays(), read.arrays(), strict=True))
    assert card_bytes(read) == path.read_bytes()


def test_a_file_of_another_writer_is_read(tmp_path: Path) -> None:
    """As the field has them: other column order, free keys, no name, NumPy's names of types."""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((4, 2), np.float32)
    row = {"module": "layer.q", "dtype": "float32", "weight_b": b.tobytes(), "weight_a": a.tobytes()}
    table = pa.Table.from_pylist([{**row, "shape_a": [2, 3], "shape_b": [4, 2]}])
    metadata = {"lora_rank": "2", "lora_alpha": "16", "target_modules": "q, k", "task": "x"}
    path = str(tmp_path / "old.lora.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    read = read_card(tmp_path / "old.lora.arrow")
    assert (read.name, read.rank, read.alpha) == ("old", 2, 16.0)
    assert read.target_modules == ("q", "k") and read.metadata == {"task": "x"}
    assert np.array_equal(read.change("layer.q"), 8 * (b @ a))


def damaged_rows() -> list[tuple[str, dict[str, object]]]:
    good = {"module": "m", "weight_a": bytes(8), "weight_b": bytes(8), "shape_a": [1, 2], "shape_b": [2, 1]}
    good["dtype"] = "float32"
    return [
        ("bytes for shape", {**good, "shape_a": [1, 3]}),
        ("bytes for shape", {**good, "shape_a": [1 << 30, 1 << 30]}),
        ("shape", {**good, "shape_a": [-1, -2]}),
        ("not .rank, inputs", {**good, "shape_a": [2]}),
        ("not .rank, inputs", {**good, "shape_a": [2, 1], "shape_b": [2, 1]}),
        ("no float", {**good, "dtype": "int32"}),
        ("no float", {**good, "dtype": "object"}),
        ("NULL", {**good, "weight_b": None}),
        ("no name", {**good, "module": None}),
        ("NaN", {**good, "weight_a": np.array([np.nan, 0], np.float32).tobytes()}),
    ]


@pytest.mark.parametrize(("message", "row"), damaged_rows())
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, message: str, row: dict[str, object]
) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist([row], schema=SCHEMA))
    with pytest.raises(WeightsError, match=message):
        card_from_bytes(sink.getvalue().to_pybytes())


@given(st.data())
def test_damaged_bytes_never_do_more_than_be_refused(data: st.DataObject) -> None:
    content = bytearray(card_bytes(card(modules=1)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for each in (bytes(content), bytes(content[:cut])):
        try:
            assert isinstance(card_from_bytes(each), LoraCard)
        except Error as error:
            assert isinstance(error, WeightsError)


def test_the_hash_tells_what_a_card_does() -> None:
    made = card()
    assert replace(made, name="other").sha256 == made.sha256  # whatever it is called
    others = [
        changed(made),
        replace(made, alpha=9.0),
        card(dtype="float64"),
        replace(made, metadata={"use_rslora": "true"}),
        replace(made, metadata={"alpha_pattern": '{"encoder.layer.0.query": 3}'}),
    ]
    assert len({made.sha256, *(each.sha256 for each in others)}) == len(others) + 1
    assert made.mismatch(changed(made)) is None
    assert "rank" in str(made.mismatch(card(rank=2))) and "module" in str(made.mismatch(card(modules=2)))


def test_cards_that_cannot_be_are_refused() -> None:
    fine = np.ones((2, 3), np.float32)
    for factors in (
        Factors(fine, fine),
        Factors(fine, np.ones((4, 2), np.float64)),
        Factors(fine * np.nan, np.ones((4, 2), np.float32)),
        Factors(fine.astype(np.int32), np.ones((4, 2), np.int32)),
    ):
        with pytest.raises(DataError, match="module 'm'"):
            LoraCard("c", 2, 1.0, {"m": factors})
    with pytest.raises(DataError, match="no modules"):
        LoraCard("c", 2, 1.0, {})


def test_a_peft_directory_gives_back_the_card(tmp_path: Path) -> None:
    made = replace(card(), metadata={"alpha_pattern": json.dumps({"encoder.layer.1.query": 3.0})})
    write_peft(made, tmp_path / "adapter", base_model="minilm")
    read = read_peft(tmp_path / "adapter", "skill")
    assert read.sha256 == made.sha256 and read.metadata["base_model_name_or_path"] == "minilm"
    with pytest.raises(OperationalError, match="exists"):
        write_peft(made, tmp_path / "adapter")


@pytest.mark.parametrize(
    "setting", [{"use_dora": True}, {"peft_type": "IA3"}, {"bias": "all"}, {"modules_to_save": ["x"]}]
)
def test_adapters_that_are_more_than_lora_are_refused(tmp_path: Path, setting: dict[str, object]) -> None:
    write_peft(card(), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, **setting}))
    with pytest.raises(NotSupportedError):
        read_peft(tmp_path / "adapter")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "9" * 5000])
def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path, content: str) -> None:
    write_peft(card(), tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text(content)
    with pytest.raises(WeightsError, match="is no JSON"):
        read_peft(tmp_path / "adapter")


def test_nested_alphas_are_refused() -> None:
    with pytest.raises(DataError, match="alpha_pattern"):
        replace(card(), metadata={"alpha_pattern": "[" * 100_000})


def test_broken_peft_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="adapter_config"):
        read_peft(tmp_path)
    path = write_peft(card(), tmp_path / "adapter")
    (path / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="safetensors"):
        read_peft(path)


def test_peft_computes_what_the_card_says(tmp_path: Path) -> None:
    """Both ways with the real library: ours is loaded by it, its own by us."""
    peft = pytest.importorskip("peft")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 2}
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=32, **sizes)

    def model() -> object:
        torch.manual_seed(0)
        return transformers.BertModel(config).eval()

    plain = model()
    settings = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=["query", "dense"], init_lora_weights=False,
        rank_pattern={"query": 2}, alpha_pattern={"layer.0.attention.self.query": 5}, use_rslora=True,
    )  # fmt: skip
    theirs = peft.get_peft_model(model(), settings)
    theirs.save_pretrained(tmp_path / "theirs")
    read = read_peft(tmp_path / "theirs")
    merged = theirs.merge_and_unload()
    for name in read.modules:
        moved = merged.get_submodule(name).weight - plain.get_submodule(name).weight  # type: ignore[attr-defined]
        assert np.allclose(read.change(name), moved.detach().numpy(), atol=1e-6)
    write_peft(read, tmp_path / "ours")
    loaded = peft.PeftModel.from_pretrained(model(), str(tmp_path / "ours")).merge_and_unload()
    for name, weight in merged.state_dict().items():
        assert torch.allclose(weight, loaded.state_dict()[name], atol=1e-6), name
