"""Qwen2 and Llama against transformers, on random weights of the real sizes with fewer layers and words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aios_db.engine.architectures.qwen2 import KeyValueCache, Qwen2Config, Qwen2ForCausalLM, build
from aios_db.schema.errors import DataError, WeightsError

transformers = pytest.importorskip("transformers")
QWEN_HALF_B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32768,
}
STORIES = {
    "hidden_size": 64,
    "intermediate_size": 172,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "rope_theta": 1e4,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
}


def pair(kind: str) -> tuple[torch.nn.Module, Qwen2ForCausalLM]:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 1000, "num_hidden_layers": 2}
    sizes |= QWEN_HALF_B if kind == "Qwen2" else STORIES
    theta = {"rope_parameters": {"rope_type": "default", "rope_theta": sizes["rope_theta"]}}
    config = getattr(transformers, f"{kind}Config")(
        **{k: v for k, v in sizes.items() if k != "rope_theta"}, **theta
    )
    reference = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, parameter in reference.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    model = build(sizes | {"architecture": f"{kind}ForCausalLM"}).eval()
    model.load_state_dict(reference.state_dict())
    return reference, model


@pytest.fixture(params=["Qwen2", "Llama"])
def models(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, Qwen2ForCausalLM]:
    return pair(request.param)


@torch.inference_mode()
def test_random_weights_equal_transformers(models: tuple[torch.nn.Module, Qwen2ForCausalLM]) -> None:
    reference, model = models
    tokens = torch.randint(0, 1000, (2, 70))
    torch.testing.assert_close(model(tokens), reference(tokens).logits, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_cache_gives_the_logits_of_one_pass(models: tuple[torch.nn.Module, Qwen2ForCausalLM]) -> None:
    _, model = models
    tokens = torch.randint(0, 1000, (2, 20))
    whole = model(tokens)
    cache = KeyValueCache(capacity=20)
    pieces = [model(tokens[:, a:b], cache) for a, b in [(0, 7), (7, 12), (12, 13), (13, 19)]]
    torch.testing.assert_close(torch.cat(pieces, 1), whole[:, :19], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.next_logits(tokens[:, 19:], cache), whole[:, 19], atol=1e-5, rtol=1e-5)
    assert cache.length == 20


@torch.inference_mode()
def test_padding_on_the_right_changes_nothing_before_it() -> None:
    _, model = pair("Llama")
    tokens = torch.randint(0, 1000, (1, 9))
    padded = torch.cat((tokens, torch.zeros(1, 5, dtype=torch.long)), 1)
    torch.testing.assert_close(model(padded)[:, :9], model(tokens), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_full_cache_is_refused() -> None:
    _, model = pair("Llama")
    cache = KeyValueCache(capacity=4)
    model(torch.zeros(1, 4, dtype=torch.long), cache)
    with pytest.raises(DataError, match="5 tokens do not fit in a cache made for 4"):
        model(torch.zeros(1, 1, dtype=torch.long), cache)


def test_llama_has_no_attention_bias_and_qwen_has() -> None:
    names = {kind: set(pair(kind)[1].state_dict()) for kind in ("Qwen2", "Llama")}
    biases = {name for name in names["Qwen2"] if name.endswith("bias")}
    assert len(biases) == 6 and names["Llama"] == names["Qwen2"] - biases


def test_missing_size_is_named() -> None:
    with pytest.raises(WeightsError, match=r"model_info\.intermediate_size"):
        Qwen2Config.from_metadata({"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 3})
