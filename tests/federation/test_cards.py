"""Cards as files: the field's Arrow format and PEFT's directories."""

from __future__ import annotations

import json
import resource
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from federation_helpers import card, changed
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.card_files import SCHEMA, card_bytes, card_from_bytes, read_card, write_card
from aios_db.federation.ipc_sizes import unpacked_bytes
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


def compressed(made: LoraCard, codec: str | None) -> bytes:
    """Return the file of a card as another writer compresses it."""
    table = pa.ipc.open_file(card_bytes(made)).read_all()
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
def test_what_a_file_unpacks_to_is_known_before(codec: str | None) -> None:
    zeros = {
        f"m{n}": Factors(np.zeros((4, 4096), np.float32), np.ones((64, 4), np.float32)) for n in range(5)
    }
    made = LoraCard("skill", 4, 8.0, zeros)
    content = compressed(made, codec)
    batches = pa.ipc.open_file(content).read_all().to_batches()
    buffers = [each for batch in batches for column in batch.columns for each in column.buffers() if each]
    assert len(batches) == 3
    assert made.nbytes < unpacked_bytes(content) <= sum(64 + each.size for each in buffers)
    assert card_from_bytes(content).sha256 == made.sha256
    assert (len(content) < made.nbytes / 20) == (codec is not None)
    with pytest.raises(WeightsError, match="bytes in memory, of at most"):
        card_from_bytes(content, most=made.nbytes)


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is(tmp_path: Path) -> None:
    """256 MiB in some kilobytes: Arrow's memory does not grow."""
    row = {"module": "m", "weight_a": bytes(1 << 28), "weight_b": bytes(32), "shape_a": [1, 1 << 26]}
    table = pa.Table.from_pylist([{**row, "shape_b": [8, 1], "dtype": "float32"}], schema=SCHEMA)
    path = tmp_path / "bomb.lora.arrow"
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    del row, table
    assert path.stat().st_size < 100_000
    before = pa.total_allocated_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="268435"):
        read_card(path)
    assert pa.total_allocated_bytes() - before[0] < 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before[1] < 100_000


def test_record_batches_that_are_the_same_bytes_are_refused() -> None:
    content = compressed(card(modules=4), "zstd")
    first, second = (struct.pack("<qi", *each) for each in _blocks_of(content))
    for wrong, message in ((first, "in each other's place"), (struct.pack("<qi", 8, 0), "no metadata")):
        at = content.index(second, len(content) - 2000)
        touched = content[:at] + wrong + content[at + len(wrong) :]
        if wrong is first:  # and the body is said to be as long as the file
            touched = touched[: at + 16] + struct.pack("<q", len(content)) + touched[at + 24 :]
        with pytest.raises(WeightsError, match=message):
            card_from_bytes(touched)


def _blocks_of(content: bytes) -> list[tuple[int, int]]:
    from aios_db.federation.ipc_sizes import _blocks

    return [(offset, metadata) for offset, metadata, _ in _blocks(content)]


def test_a_file_with_columns_of_other_types_is_refused() -> None:
    table = pa.ipc.open_file(card_bytes(card())).read_all()
    for name in ("weight_a", "module"):
        place = table.schema.get_field_index(name)
        other = table.set_column(place, name, table[name].dictionary_encode())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, other.schema) as writer:
            writer.write_table(other)
        with pytest.raises(WeightsError, match=f"column '{name}' is of the type dictionary"):
            card_from_bytes(sink.getvalue().to_pybytes())


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
    content = bytearray(compressed(card(modules=1), data.draw(st.sampled_from([None, "zstd"]))))
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
    "setting",
    [
        {"use_dora": True}, {"peft_type": "IA3"}, {"bias": "all"}, {"modules_to_save": ["x"]},
        {"layer_replication": [[0, 2], [0, 1]]}, {"alora_invocation_tokens": [1, 2]}, {"lora_bias": True},
        {"init_lora_weights": "pissa"}, {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": "olora"}, {"init_lora_weights": "loftq"}, {"init_lora_weights": "corda"},
        {"use_something_new": True}, {"something_new": {"k": 1}},
    ],
)  # fmt: skip
def test_adapters_that_are_more_than_lora_are_refused(tmp_path: Path, setting: dict[str, object]) -> None:
    write_peft(card(), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, **setting}))
    with pytest.raises(NotSupportedError):
        read_peft(tmp_path / "adapter")


def test_settings_that_change_nothing_are_read(tmp_path: Path) -> None:
    write_peft(card(), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    fine = {"init_lora_weights": "gaussian", "lora_dropout": 0.1, "something_new": None, "use_new": False}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, **fine}))
    assert read_peft(tmp_path / "adapter", "skill").sha256 == card().sha256


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "9" * 5000])
def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path, content: str) -> None:
    write_peft(card(), tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text(content)
    with pytest.raises(WeightsError, match="is no JSON"):
        read_peft(tmp_path / "adapter")


def test_nested_alphas_are_refused() -> None:
    with pytest.raises(DataError, match="alpha_pattern"):
        replace(card(), metadata={"alpha_pattern": "[" * 100_000})


def test_a_peft_directory_that_cannot_be_written_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OperationalError, match=r"cannot write .*adapter: .*No space left on device"):
        write_peft(card(), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


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
    for start in ("pissa", "olora", "orthogonal"):
        other = peft.LoraConfig(r=4, target_modules=["query"], init_lora_weights=start)
        wrapped = peft.get_peft_model(model(), other)
        wrapped.save_pretrained(tmp_path / start)
        if start != "orthogonal":  # these change the model's own weights
            with pytest.raises(NotSupportedError, match="init_lora_weights"):
                read_peft(tmp_path / start)
            continue
        unchanged = read_peft(tmp_path / start)
        assert all(np.allclose(unchanged.change(name), 0, atol=1e-6) for name in unchanged.modules)
    for name in read.modules:
        moved = merged.get_submodule(name).weight - plain.get_submodule(name).weight  # type: ignore[attr-defined]
        assert np.allclose(read.change(name), moved.detach().numpy(), atol=1e-6)
    write_peft(read, tmp_path / "ours")
    loaded = peft.PeftModel.from_pretrained(model(), str(tmp_path / "ours")).merge_and_unload()
    for name, weight in merged.state_dict().items():
        assert torch.allclose(weight, loaded.state_dict()[name], atol=1e-6), name
