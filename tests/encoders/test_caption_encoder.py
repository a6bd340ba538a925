"""Texts to unit vectors of the space of a CLIP's pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import TOKENS, WIDTH, make_clip, write_tokenizer

from aios_db.engine.architectures.kinds import CAPTION
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.encoders.caption_encoder import CaptionEncoder
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.engine.encoders.open_encoder import open_encoder
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import DataError, NotSupportedError, WeightsError

TEXTS = ["a red boat", "A RED boat", "the picture of something blue", "", " ".join(["bread"] * 40), "boat"]
PLAIN = CpuConfig(backend="standard", precision="fp32")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    path = tmp_path_factory.mktemp("models")
    model = make_clip(path / "hf")
    assert convert_huggingface(path / "hf", path / "clip") == path / "clip"
    return model, path


def expected(model: torch.nn.Module, path: Path) -> np.ndarray:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path / "hf/tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    vectors = []
    with torch.inference_mode():
        for text in TEXTS:
            ids = torch.tensor([tokenizer.encode(text).ids])
            vectors.append(model.text_projection(model.text_model(ids).pooler_output)[0])
    found: np.ndarray = torch.nn.functional.normalize(torch.stack(vectors)).numpy()
    return found


def test_vectors_equal_transformers_from_the_texts_on(clip: tuple[torch.nn.Module, Path]) -> None:
    model, path = clip
    encoder = CaptionEncoder(path / "clip-text", cpu=PLAIN)
    actual = encoder.encode(TEXTS)
    assert actual.shape == (len(TEXTS), WIDTH) and actual.dtype == np.float32
    assert (encoder.dimension, encoder.max_tokens) == (WIDTH, TOKENS)
    np.testing.assert_allclose(actual, expected(model, path), atol=1e-4)
    np.testing.assert_allclose(actual[0], actual[1], atol=1e-6)
    assert actual[0] @ actual[2] < 0.99
    np.testing.assert_allclose(np.stack([encoder.encode([each])[0] for each in TEXTS]), actual, atol=1e-5)
    assert encoder.encode([]).shape == (0, WIDTH)
    with pytest.raises(DataError, match="text 1 is of type int"):
        encoder.encode(["a", 1])  # type: ignore[list-item]


def test_openvino_agrees(clip: tuple[torch.nn.Module, Path]) -> None:
    pytest.importorskip("openvino")
    cpu = CpuConfig(backend="openvino", precision="fp32")
    actual = CaptionEncoder(clip[1] / "clip-text", cpu=cpu).encode(TEXTS)
    assert (actual * expected(*clip)).sum(1).min() > 0.9999


def test_a_whole_model_becomes_two_of_one_space(clip: tuple[torch.nn.Module, Path]) -> None:
    directory = ModelDirectory.open(clip[1] / "clip-text")
    assert kind_of(directory) is CAPTION and directory.name == "clip-text"
    assert directory.tokenizer is not None
    names = set(directory.metadata["layer_info"])
    assert "text_model.final_layer_norm.weight" in names and "text_projection.weight" in names
    assert not [each for each in names if "vision" in each or "visual" in each or "logit" in each]
    picture = ImageEncoder(clip[1] / "clip", cpu=PLAIN)
    assert picture.dimension == WIDTH
    assert isinstance(open_encoder(clip[1] / "clip-text"), CaptionEncoder)
    with pytest.raises(NotSupportedError, match="holds CLIPTextModelWithProjection, not BertModel"):
        ArrowEngine(clip[1] / "clip-text")
    with pytest.raises(NotSupportedError, match="holds ViT, not CLIPTextModelWithProjection"):
        CaptionEncoder(clip[1] / "clip")


def test_sizes_come_from_the_tensors(clip: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    from shutil import copytree

    copytree(clip[1] / "clip-text", tmp_path / "bare")
    (tmp_path / "bare/metadata.json").write_text('{"config": {"num_attention_heads": 2}}')
    directory = ModelDirectory.open(tmp_path / "bare")
    assert kind_of(directory) is CAPTION
    bare = CaptionEncoder(tmp_path / "bare", cpu=PLAIN)  # where a text ends is told by no shape
    np.testing.assert_allclose(bare.encode(TEXTS), expected(*clip), atol=1e-4)


def test_a_tokenizer_whose_end_the_model_does_not_look_for(tmp_path: Path) -> None:
    make_clip(tmp_path / "hf", eos_token_id=3)
    convert_huggingface(tmp_path / "hf", tmp_path / "clip")
    with pytest.raises(WeightsError, match=r"ends a text with \[20\], and the model looks for 3"):
        CaptionEncoder(tmp_path / "clip-text", cpu=PLAIN)


def test_float16_and_pickled_weights(clip: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    model, path = clip
    source = tmp_path / "hf"
    source.mkdir()
    (source / "config.json").write_bytes((path / "hf/config.json").read_bytes())
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    convert_huggingface(source, tmp_path / "wordless", dtype="float16")
    assert not (tmp_path / "wordless-text").exists()  # nothing reads its texts
    write_tokenizer(source)
    convert_huggingface(source, tmp_path / "half", dtype="float16")
    actual = CaptionEncoder(tmp_path / "half-text", cpu=PLAIN).encode(TEXTS)
    assert (actual * expected(model, path)).sum(1).min() > 0.999
    (tmp_path / "half-text/tokenizer/tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"half-text has no tokenizer\.json"):
        CaptionEncoder(tmp_path / "half-text")
