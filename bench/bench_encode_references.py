"""What bench_encode compares with: transformers and sentence-transformers over the same weights."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from aios_db.engine.architectures.clip import ClipImageEncoder
from aios_db.engine.architectures.kinds import AUDIO, IMAGE
from aios_db.engine.architectures.sizes import model_sizes
from aios_db.engine.architectures.whisper import WhisperEncoder
from aios_db.engine.backends.accelerator import half_precision
from aios_db.engine.backends.openvino import import_openvino
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.frontends.image import load_pixels
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import EngineConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Encode = Callable[[Sequence[Any], int], NDArray[np.float32]]
"""Items and the size of a batch to unit vectors."""


@dataclass(frozen=True)
class Variant:
    """How transformers runs: in ``fp32``; or in this engine's 16 bits, by autocast or wholly (``half``)."""

    device: str = "cpu"
    precision: Literal["fp32", "amp", "half"] = "fp32"

    @property
    def attention(self) -> str:
        """The plain one on the CPU, transformers' default on a device."""
        return "eager" if self.device == "cpu" else "sdpa"

    @property
    def half(self) -> torch.dtype:
        """The 16-bit type that this engine takes on the device."""
        return half_precision(torch.device(self.device))

    def place(self, model: nn.Module) -> nn.Module:
        model = model.eval().to(self.device)
        return model.to(self.half) if self.precision == "half" else model

    def run(self) -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self.precision == "amp":
            stack.enter_context(torch.autocast(torch.device(self.device).type, self.half))
        return stack

    def input(self, tensor: Tensor) -> Tensor:
        """Put an input where the model is, floats in its precision."""
        tensor = tensor.to(self.device)
        half = self.precision == "half" and tensor.is_floating_point()
        return tensor.to(self.half) if half else tensor


def transformers_text(path: Path, variant: Variant) -> Encode:
    """Return BertModel, mean-pooled: batches in the order of the texts."""
    from transformers import BertConfig, BertModel

    directory = ModelDirectory.open(path)
    file = WeightFile(directory.weights)
    _, config = model_sizes(directory, file)
    model = BertModel(BertConfig(**config, attn_implementation=variant.attention), add_pooling_layer=False)
    state = {name: file.tensor(name).float() for name in file.layers if not name.startswith("pooler")}
    model.load_state_dict(state, strict=False)
    model = variant.place(model)
    tokenizer = Tokenizer.from_file(str(directory.tokenizer))
    tokenizer.enable_truncation(config["max_seq_length"])
    tokenizer.enable_padding()

    def encode(texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        outputs = []
        with variant.run():
            for part in batches(texts, batch):
                rows = tokenizer.encode_batch(part)
                ids = variant.input(torch.tensor([row.ids for row in rows]))
                mask = variant.input(torch.tensor([row.attention_mask for row in rows]))
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                weights = mask.unsqueeze(-1).float()
                pooled = (states * weights).sum(1) / weights.sum(1)
                outputs.append(functional.normalize(pooled, dim=-1).cpu().numpy())
        return np.concatenate(outputs)

    return encode


def sentence_transformers_text(path: Path, device: str) -> Encode:
    """Return sentence-transformers on torch."""
    from sentence_transformers import SentenceTransformer

    return _sentence_transformers(SentenceTransformer(str(path), device=device))


def sentence_transformers_openvino(path: Path) -> Encode:
    """Return sentence-transformers on OpenVINO, in static INT8 as its own export makes it.

    That export calibrates on a data set it downloads; here, on the sentences this engine calibrates on.
    """
    import_openvino()
    from datasets import Dataset
    from optimum.intel.openvino import OVConfig, OVQuantizationConfig, OVQuantizer
    from sentence_transformers import SentenceTransformer

    texts, _ = sample_sentences()
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        directory = Path(scratch) / "model"
        shutil.copytree(path, directory)
        model = SentenceTransformer(
            str(directory), backend="openvino", local_files_only=True, model_kwargs={"export": True}
        )
        rows = model.tokenizer(texts, padding="max_length", max_length=384, truncation=True)
        OVQuantizer.from_pretrained(model.transformers_model).quantize(
            calibration_dataset=Dataset.from_dict(dict(rows)),
            save_directory=directory,
            ov_config=OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts))),
        )
        quantized = SentenceTransformer(str(directory), backend="openvino", local_files_only=True)
    return _sentence_transformers(quantized)


def _sentence_transformers(model: SentenceTransformer) -> Encode:
    def encode(texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(list(texts), batch_size=batch, show_progress_bar=False)
        return vectors

    return encode


def transformers_audio(path: Path, variant: Variant) -> Encode:
    """Return WhisperEncoder over its own log-mel: the mean over the sound."""
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper import modeling_whisper

    opened = open_model(path, EngineConfig(), AUDIO)
    sizes, file = cast(WhisperEncoder, opened.module).config, opened.file
    config = WhisperConfig(
        d_model=sizes.hidden_size, encoder_layers=sizes.num_layers, num_mel_bins=sizes.num_mel_bins,
        encoder_attention_heads=sizes.num_attention_heads, encoder_ffn_dim=sizes.intermediate_size,
        max_source_positions=sizes.max_source_positions, attn_implementation=variant.attention,
    )  # fmt: skip
    model = modeling_whisper.WhisperEncoder(config)
    names = {name: name.removeprefix("encoder.") for name in file.layers}
    names["encoder.position_embedding"] = "embed_positions.weight"
    model.load_state_dict({theirs: file.tensor(ours).float() for ours, theirs in names.items()})
    model = variant.place(model)
    extract = WhisperFeatureExtractor(feature_size=sizes.num_mel_bins)

    def encode(sounds: Sequence[tuple[NDArray[np.float32], int]], batch: int) -> NDArray[np.float32]:
        outputs = []
        with variant.run():
            for part in batches(sounds, batch):
                waves, rate = [samples for samples, _ in part], part[0][1]
                mel = extract(waves, sampling_rate=rate, return_tensors="pt").input_features
                states = model(variant.input(mel)).last_hidden_state.float()
                means = [states[i, : -(-len(wave) // 320)].mean(0) for i, wave in enumerate(waves)]
                outputs.append(functional.normalize(torch.stack(means), dim=-1).cpu().numpy())
        return np.concatenate(outputs)

    return encode


def transformers_images(path: Path, variant: Variant) -> Encode:
    """Return CLIPVisionModelWithProjection over this engine's pixels."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    opened = open_model(path, EngineConfig(), IMAGE)
    sizes, file = cast(ClipImageEncoder, opened.module).config, opened.file
    config = CLIPVisionConfig(
        hidden_size=sizes.hidden_size, intermediate_size=sizes.intermediate_size, image_size=sizes.image_size,
        num_hidden_layers=sizes.num_layers, num_attention_heads=sizes.num_attention_heads,
        patch_size=sizes.patch_size, projection_dim=sizes.projection_dim, hidden_act=sizes.hidden_act,
        attn_implementation=variant.attention,
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config)
    model.load_state_dict({name: file.tensor(name).float() for name in file.layers}, strict=False)
    model = variant.place(model)

    def encode(images: Sequence[bytes], batch: int) -> NDArray[np.float32]:
        outputs = []
        with variant.run():
            for part in batches(images, batch):
                pixels = np.stack([load_pixels(image, sizes.image_size) for image in part])
                embeds = model(pixel_values=variant.input(torch.from_numpy(pixels))).image_embeds
                outputs.append(functional.normalize(embeds.float(), dim=-1).cpu().numpy())
        return np.concatenate(outputs)

    return encode


def batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
