"""The CLIP text encoder against transformers, on random weights."""

from __future__ import annotations

import pytest
import torch

from aios_db.engine.architectures.clip_text import ClipTextConfig, ClipTextEncoder, build
from aios_db.schema.errors import NotSupportedError

transformers = pytest.importorskip("transformers")

SMALL = ClipTextConfig(
    vocab_size=100, max_position_embeddings=20, hidden_size=64, num_layers=3, num_attention_heads=4,
    intermediate_size=128, projection_dim=32, hidden_act="gelu", eos_token_id=98,
)  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        ClipTextConfig(num_layers=2),
        ClipTextConfig(num_layers=1, eos_token_id=2),  # as OpenAI's models are configured
        SMALL,
    ],
)
def test_random_weights_equal_transformers(config: ClipTextConfig) -> None:
    torch.manual_seed(0)
    sizes = transformers.CLIPTextConfig(
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        projection_dim=config.projection_dim,
        hidden_act=config.hidden_act,
        eos_token_id=config.eos_token_id,
        attn_implementation="eager",
    )
    reference = transformers.CLIPTextModelWithProjection(sizes).eval()
    for parameter in reference.parameters():  # transformers' own start is so flat that all texts are alike
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.08)
    model = ClipTextEncoder(config).eval()
    model.load_state_dict(
        {name: tensor for name, tensor in reference.state_dict().items() if not name.endswith("position_ids")}
    )
    end = config.vocab_size - 1 if config.eos_token_id == 2 else config.eos_token_id
    ids = torch.randint(3, min(end, 90), (3, config.max_position_embeddings))
    ids[0, -1], ids[1, 7], ids[2, 1] = end, end, end
    ids[1, 8:], ids[2, 2:] = 0, end  # padded by another token, and by the end again
    with torch.inference_mode():
        expected, actual = reference(ids).text_embeds, model(ids)
        shorter = model(ids[1:2, :8])
    assert actual.shape == (3, config.projection_dim)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(shorter[0], actual[1], atol=1e-4, rtol=0)  # what follows the end counts not
    assert torch.nn.functional.cosine_similarity(actual[0], actual[1], dim=0) < 0.95


def test_metadata_gives_the_sizes() -> None:
    stored = {"architecture": "CLIPTextModelWithProjection", "hidden_size": 64, "num_hidden_layers": 1}
    assert build(stored | {"num_attention_heads": 2}).config == ClipTextConfig(
        hidden_size=64, num_layers=1, num_attention_heads=2
    )


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="'relu'"):
        build({"hidden_act": "relu"})
