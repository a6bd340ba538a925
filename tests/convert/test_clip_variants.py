"""CLIP models as they are published: each becomes what transformers reads from the same directory."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pytest
import torch
from tiny_clip import SIZE, make_clip

from aios_db.engine.convert.hub import FILES
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.encoders.caption_encoder import CaptionEncoder
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.engine.frontends.image import MEAN, STD
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import ModelNotFoundError, OperationalError, WeightsError

transformers = pytest.importorskip("transformers")

PLAIN = CpuConfig(backend="standard", precision="fp32")


def changed(directory: Path, change: dict[str, Any], without: tuple[str, ...] = ()) -> None:
    path = directory / "config.json"
    config = {key: each for key, each in json.loads(path.read_text()).items() if key not in without}
    path.write_text(json.dumps(config | change))


def pixels(size: int = SIZE) -> np.ndarray:
    """A picture in [0, 1], (3, size, size)."""
    found: np.ndarray = np.random.default_rng(0).random((3, size, size)).astype(np.float32)
    return found


@torch.inference_mode()
def seen(model: Any, x: np.ndarray) -> np.ndarray:
    pooled = model.vision_model(torch.from_numpy(x[None])).pooler_output
    found: np.ndarray = torch.nn.functional.normalize(model.visual_projection(pooled)).numpy()
    return found


def of_engine(directory: Path, picture: np.ndarray) -> np.ndarray:
    normal = (picture - MEAN[:, None, None]) / STD[:, None, None]
    return ImageEncoder(directory, cpu=PLAIN).encode_pixels([normal.astype(np.float32)])


@pytest.mark.parametrize(
    ("told", "mean", "deviation", "most"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, 0.5, 0.5, 1),
        ({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 1),
        ({"do_normalize": False}, 0, 1, 1),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, 1, 1, 2),
    ],
)
def test_pixels_of_another_scale(
    told: dict[str, Any], mean: Any, deviation: Any, most: float, tmp_path: Path
) -> None:
    model = make_clip(tmp_path / "hf")
    (tmp_path / "hf/preprocessor_config.json").write_text(json.dumps(told))
    convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    mean, deviation = (np.broadcast_to(np.float32(each), 3)[:, None, None] for each in (mean, deviation))
    expected = seen(model, ((pixels() * np.float32(most) - mean) / deviation).astype(np.float32))
    np.testing.assert_allclose(of_engine(tmp_path / "clip", pixels()), expected, atol=1e-5)


def test_a_scale_that_is_none_is_refused(tmp_path: Path) -> None:
    make_clip(tmp_path / "hf")
    (tmp_path / "hf/preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": 0}')
    with pytest.raises(WeightsError, match=r"image_mean \[0.5\] and image_std"):
        convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    assert [each.name for each in tmp_path.iterdir()] == ["hf"]  # no text side that stands alone


def test_sizes_that_only_the_older_keys_have_right(tmp_path: Path) -> None:
    model = make_clip(tmp_path / "hf")
    config = json.loads((tmp_path / "hf/config.json").read_text())
    sides = {f"{side}_config_dict": config[f"{side}_config"] for side in ("text", "vision")}
    wrong = {f"{side}_config": {"num_attention_heads": 4} for side in ("text", "vision")}
    expected = seen(model, pixels())
    normal = pixels() * STD[:, None, None] + MEAN[:, None, None]
    for place, change in enumerate([sides | wrong, sides]):
        changed(tmp_path / "hf", change, ("text_config", "vision_config"))
        target = convert_huggingface(tmp_path / "hf", tmp_path / f"clip{place}")
        np.testing.assert_allclose(of_engine(target, normal), expected, atol=1e-5)
        assert CaptionEncoder(f"{target}-text", cpu=PLAIN).encode(["a boat"]).shape == (1, 24)


def test_a_picture_with_a_rest_that_no_patch_covers(tmp_path: Path) -> None:
    vision = transformers.CLIPVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=30,
        patch_size=8, projection_dim=24,
    )  # fmt: skip
    model = transformers.CLIPVisionModelWithProjection(vision).eval()
    model.save_pretrained(tmp_path / "hf")
    target = convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    assert ImageEncoder(target, cpu=PLAIN).image_size == 30


def test_a_directory_with_weights_of_several_types(tmp_path: Path) -> None:
    model = make_clip(tmp_path / "hf")
    copy(tmp_path / "hf/model.safetensors", tmp_path / "hf/model.fp16.safetensors")
    target = convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    normal = pixels() * STD[:, None, None] + MEAN[:, None, None]
    np.testing.assert_allclose(of_engine(target, normal), seen(model, pixels()), atol=1e-5)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    names = [each.name for each in (tmp_path / "shards").glob("*.safetensors")]
    assert len(names) > 1
    for name in names:
        copy(tmp_path / "shards" / name, tmp_path / "shards" / name.replace("model", "model.fp16"))
    copy(tmp_path / "hf/tokenizer.json", tmp_path / "shards/tokenizer.json")
    target = convert_huggingface(tmp_path / "shards", tmp_path / "sharded")
    np.testing.assert_allclose(of_engine(target, normal), seen(model, pixels()), atol=1e-5)


def test_a_tower_without_its_projection_is_refused(tmp_path: Path) -> None:
    model = make_clip(tmp_path / "hf")
    transformers.CLIPVisionModel(model.config.vision_config).save_pretrained(tmp_path / "vision")
    transformers.CLIPTextModel(model.config.text_config).save_pretrained(tmp_path / "text")
    copy(tmp_path / "hf/tokenizer.json", tmp_path / "text/tokenizer.json")
    for name in ("vision", "text"):
        with pytest.raises(WeightsError, match="without the projection"):
            convert_huggingface(tmp_path / name, tmp_path / f"{name}-clip")
        assert not (tmp_path / f"{name}-clip").exists()


def test_a_folder_of_sentence_transformers(tmp_path: Path) -> None:
    make_clip(tmp_path / "st/0_CLIPModel")
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        convert_huggingface(tmp_path / "st", tmp_path / "clip")
    modules = [
        {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    ]
    (tmp_path / "st/modules.json").write_text(json.dumps(modules))
    target = convert_huggingface(tmp_path / "st", tmp_path / "clip")
    assert CaptionEncoder(f"{target}-text", cpu=PLAIN).dimension == 24


def test_what_the_hub_holds_of_such_a_folder_is_fetched() -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
    names += ["modules.json", *(f"0_CLIPModel/{name}" for name in names)]
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in FILES)] == []
    assert not any(fnmatch("pytorch_model.bin", pattern) for pattern in FILES)  # no pickles


def test_both_sides_are_written_or_none(tmp_path: Path) -> None:
    make_clip(tmp_path / "hf")
    (tmp_path / "clip").mkdir()
    with pytest.raises(OperationalError, match="clip exists"):
        convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    assert not (tmp_path / "clip-text").exists()


def test_openclips_own_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="OpenCLIP's own: give its export for transformers"):
        convert_huggingface(tmp_path, tmp_path / "clip")
