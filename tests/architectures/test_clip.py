"""The CLIP image encoder against transformers, on random weights of ViT-B/32."""

from __future__ import annotations

import pytest
import torch

from aios_db.engine.architectures.clip import ClipImageEncoder, ClipVisionConfig, build
from aios_db.schema.errors import NotSupportedError

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(
    "config",
    [
        ClipVisionConfig(num_layers=2),
        ClipVisionConfig(
            image_size=64,
            patch_size=16,
            hidden_size=64,
            num_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            projection_dim=32,
            hidden_act="gelu",
        ),
    ],
)
def test_random_weights_equal_transformers(config: ClipVisionConfig) -> None:
    torch.manual_seed(0)
    sizes = transformers.CLIPVisionConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        projection_dim=config.projection_dim,
        hidden_act=config.hidden_act,
    )
    reference = transformers.CLIPVisionModelWithProjection(sizes).eval()
    model = ClipImageEncoder(config).eval()
    model.load_state_dict(
        {name: tensor for name, tensor in reference.state_dict().items() if not name.endswith("position_ids")}
    )
    pixels = torch.randn(3, 3, config.image_size, config.image_size)
    with torch.inference_mode():
        expected, actual = reference(pixels).image_embeds, model(pixels)
    assert actual.shape == (3, config.projection_dim)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_metadata_gives_the_sizes() -> None:
    stored = {"architecture": "ViT", "image_size": 64, "num_layers": 1, "vocab_size": 49408}
    assert build(stored).config == ClipVisionConfig(image_size=64, num_layers=1)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="'relu'"):
        build({"hidden_act": "relu"})


def test_position_table_follows_the_image_size() -> None:
    with torch.device("meta"):
        model = build({"image_size": 336, "patch_size": 14, "num_layers": 1})
    assert model.state_dict()["vision_model.embeddings.position_embedding.weight"].shape == (577, 768)
