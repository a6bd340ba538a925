"""Pictures to unit vectors of the joint space."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.encoders.image_encoder import BATCH, ImageEncoder
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import DataError, NotSupportedError, WeightsError

transformers = pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")


def picture(seed: int) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (40 + seed, 60, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=96, image_size=32,
        patch_size=8, projection_dim=24,
    )  # fmt: skip
    reference = transformers.CLIPVisionModelWithProjection(config).eval()
    path = tmp_path_factory.mktemp("models")
    reference.save_pretrained(path / "hf")
    return reference, convert_huggingface(path / "hf", path / "clip")


def test_vectors_equal_transformers_from_the_files_on(pair: tuple[torch.nn.Module, Path]) -> None:
    processing = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    reference, path = pair
    files = [picture(seed) for seed in range(BATCH + 3)]
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    pictures = [Image.open(BytesIO(file)) for file in files]
    pixels = processing.CLIPImageProcessorPil(**size)(pictures, return_tensors="pt").pixel_values
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(reference(pixels).image_embeds).numpy()
    encoder = ImageEncoder(path)
    actual = encoder.encode_image(files)
    assert actual.dtype == np.float32 and encoder.dimension == 24
    np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, BATCH])
def test_openvino_takes_batches_of_any_size(
    pair: tuple[torch.nn.Module, Path], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    files = [picture(seed) for seed in range(count)]
    expected = ImageEncoder(pair[1]).encode_image(files)
    encoder = ImageEncoder(pair[1], cpu=CpuConfig(backend="openvino", precision="fp32"))
    np.testing.assert_allclose(encoder.encode_image(files), expected, atol=1e-3)
    assert encoder.choice is not None and encoder.choice.backend == "openvino"
    assert "takes over" not in caplog.text


def test_a_bad_picture_is_named_by_position(pair: tuple[torch.nn.Module, Path]) -> None:
    with pytest.raises(DataError, match="image 1: image of 4 bytes"):
        ImageEncoder(pair[1]).encode_image([picture(0), b"what"])


def test_no_pictures_give_no_rows(pair: tuple[torch.nn.Module, Path]) -> None:
    assert ImageEncoder(pair[1]).encode_image([]).shape == (0, 24)


def test_sizes_come_from_the_tensors_without_metadata(
    pair: tuple[torch.nn.Module, Path], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "weights.parquet").write_bytes((pair[1] / "weights.parquet").read_bytes())
    np.testing.assert_allclose(
        ImageEncoder(bare).encode_image([picture(0)]), ImageEncoder(pair[1]).encode_image([picture(0)])
    )


def test_a_missing_layer_is_named(pair: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    from aios_db.engine.convert.model_writer import write_model

    described = {"model_type": "CLIP Vision Transformer", "architecture": "ViT", "config": {"hidden_size": 8}}
    write_model(tmp_path / "part", "part", described, [("visual_projection.weight", torch.ones(2, 8))])
    with pytest.raises(WeightsError, match=r"'vision_model\.embeddings\.patch_embedding\.weight' is missing"):
        ImageEncoder(tmp_path / "part")


def test_a_sound_model_is_refused(tmp_path: Path) -> None:
    from aios_db.engine.convert.model_writer import write_model

    write_model(tmp_path / "m", "m", {"model_type": "x", "architecture": "BertModel", "config": {}}, [])
    with pytest.raises(NotSupportedError, match="holds BertModel, not ViT"):
        ImageEncoder(tmp_path / "m")
