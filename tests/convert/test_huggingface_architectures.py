"""Hugging Face directories of every architecture: converted, mapped, and equal to transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import ModelNotFoundError, NotSupportedError, WeightsError

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")


def load(directory: Path) -> torch.nn.Module:
    model = ModelDirectory.open(directory)
    assert model.architecture is not None
    return LazyModel(build_model(model.architecture, model.config), WeightFile(model.weights)).model


def metadata(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "metadata.json").read_text())
    return content


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=128, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=64, vocab_size=100, max_source_positions=60,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval()
    path = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(path / "hf")
    return model, convert_huggingface(path / "hf", path / "model")


@torch.inference_mode()
def test_whisper(whisper: tuple[torch.nn.Module, Path]) -> None:
    reference, path = whisper
    mel = torch.randn(1, 80, 120)
    torch.testing.assert_close(
        load(path)(mel), reference.model.encoder(mel).last_hidden_state, atol=1e-4, rtol=0
    )


def test_whisper_is_stored_in_the_fields_names(whisper: tuple[torch.nn.Module, Path]) -> None:
    stored = metadata(whisper[1])
    assert stored["model_type"] == "Whisper Audio Encoder" and stored["architecture"] == "Whisper"
    names = list(stored["layer_info"])
    assert stored["num_weight_tensors"] == len(names) == 2 * 15 + 7
    assert all(name.startswith("encoder.") for name in names)
    assert "encoder.position_embedding" in names and "encoder.embed_positions.weight" not in names
    assert not (whisper[1] / "tokenizer").exists()


@torch.inference_mode()
@pytest.mark.parametrize("whole", [True, False])
def test_clip(whole: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=64,
        patch_size=16, projection_dim=24,
    )  # fmt: skip
    if whole:
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
        both = transformers.CLIPConfig(text_config=text, vision_config=vision.to_dict(), projection_dim=24)
        model = transformers.CLIPModel(both).eval()
    else:
        model = transformers.CLIPVisionModelWithProjection(vision).eval()
    model.save_pretrained(tmp_path / "hf")
    path = convert_huggingface(tmp_path / "hf", tmp_path / "model", compression="zstd")
    pixels = torch.randn(2, 3, 64, 64)
    pooled = model.vision_model(pixels).pooler_output
    torch.testing.assert_close(load(path)(pixels), model.visual_projection(pooled), atol=1e-4, rtol=0)
    stored = metadata(path)
    assert (stored["architecture"], stored["config"]["projection_dim"]) == ("ViT", 24)
    assert "vision_model.pre_layrnorm.weight" in stored["layer_info"]
    assert not [name for name in stored["layer_info"] if "text" in name or "logit" in name]


SIZES = {
    "vocab_size": 120,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["Qwen2", "Llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_causal_language_model(kind: str, tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES, tie_word_embeddings=tied)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    model.save_pretrained(tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").write_text('{"model": "▁"}', encoding="utf-8")
    path = convert_huggingface(tmp_path / "hf", tmp_path / "model")
    tokens = torch.randint(0, 120, (2, 30))
    torch.testing.assert_close(load(path)(tokens), model(tokens).logits, atol=1e-4, rtol=0)
    stored = metadata(path)
    assert stored["model_type"] == "causallm" and stored["num_layers"] == len(stored["layer_info"])
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(stored["layer_info"])
    info = stored["model_info"]
    assert info["architecture"] == f"{kind}ForCausalLM"
    assert (info["bos_token_id"], info["eos_token_ids"]) == (1, [2])
    assert (path / "tokenizer/tokenizer.json").read_text(encoding="utf-8") == '{"model": "▁"}'


@torch.inference_mode()
def test_float16_weights_run_in_float32(tmp_path: Path) -> None:
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES)).eval()
    model.save_pretrained(tmp_path / "hf")
    path = convert_huggingface(tmp_path / "hf", tmp_path / "model", dtype="float16")
    tokens = torch.arange(20)[None]
    logits = load(path)(tokens)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, model.half().float()(tokens).logits, atol=1e-4, rtol=0)


def test_older_pickled_weights(tmp_path: Path) -> None:
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, tie_word_embeddings=True))
    model.config.save_pretrained(tmp_path)
    weights = {**model.state_dict(), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    del weights["lm_head.weight"]
    torch.save(weights, tmp_path / "pytorch_model.bin")
    path = convert_huggingface(tmp_path, tmp_path / "model")
    names = metadata(path)["layer_info"]
    assert "lm_head.weight" in names and not [name for name in names if "inv_freq" in name]


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    transformers.Qwen2Config(**SIZES).save_pretrained(tmp_path)
    torch.save({"weight": Path("/tmp")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin cannot be read"):
        convert_huggingface(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("Qwen2", {"rope_scaling": {"rope_type": "yarn"}}, "rope_type"),
        ("Qwen2", {"use_sliding_window": True}, "use_sliding_window"),
        ("Llama", {"mlp_bias": True}, "mlp_bias"),
        ("Llama", {"attention_bias": True}, "attention_bias"),
        ("Qwen2", {"hidden_act": "relu"}, "hidden_act"),
        ("Whisper", {"activation_function": "relu"}, "'relu', not 'gelu'"),
        ("CLIPVision", {"hidden_act": "relu"}, "'relu'"),
    ],
)
def test_variants_the_engine_cannot_run_are_refused(
    kind: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = getattr(transformers, f"{kind}Config")().to_dict() | {"rope_parameters": None} | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotSupportedError, match=message):
        convert_huggingface(tmp_path, tmp_path / "model")


def test_generation_config_says_what_ends_a_text(tmp_path: Path) -> None:
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES)).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    path = convert_huggingface(tmp_path, tmp_path / "model")
    assert metadata(path)["model_info"]["eos_token_ids"] == [5, 7]


def test_config_without_a_size_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(WeightsError, match=r"config\.json has no 'd_model'"):
        convert_huggingface(tmp_path, tmp_path / "model")


def test_directory_without_weights(tmp_path: Path) -> None:
    transformers.Qwen2Config(**SIZES).save_pretrained(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"no \*\.safetensors and no pytorch_model"):
        convert_huggingface(tmp_path, tmp_path / "model")
