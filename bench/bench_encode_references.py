"""What bench_encode compares with: transformers and sentence-transformers over the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.text import text_config
from aios_db.engine.frontends.image import load_pixels
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.open_model import open_model
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import EngineConfig

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
BATCH = 32


def transformers_text(path: Path, device: str) -> Encode:
    """Return BertModel with eager attention in fp32, mean-pooled: batches of 32 in the order of the texts."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    directory = ModelDirectory.open(path)
    file = WeightFile(directory.weights)
    _, config = text_config(directory, file)
    model = BertModel(BertConfig(**config, attn_implementation="eager"), add_pooling_layer=False)
    state = {name: file.tensor(name).float() for name in file.layers if not name.startswith("pooler")}
    model.load_state_dict(state, strict=False)
    model = model.eval().to(device)
    tokenizer = Tokenizer.from_file(str(directory.tokenizer))
    tokenizer.enable_truncation(config["max_seq_length"])
    tokenizer.enable_padding()

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        outputs = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                batch = tokenizer.encode_batch(list(texts[start : start + BATCH]))
                ids = torch.tensor([row.ids for row in batch], device=device)
                mask = torch.tensor([row.attention_mask for row in batch], device=device)
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
                weights = mask.unsqueeze(-1).float()
                pooled = (states * weights).sum(1) / weights.sum(1)
                outputs.append(torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy())
        return np.concatenate(outputs)

    return encode


def sentence_transformers_text(name: str, path: Path | None, device: str) -> tuple[Encode | None, str]:
    """Return sentence-transformers on torch, or on OpenVINO with its INT8 export; or None and why not."""
    if find_spec("sentence_transformers") is None or path is None:
        return None, "not installed, or no --reference directory"
    if name.endswith("-openvino") and find_spec("optimum") is None:
        return None, "needs optimum-intel, which is not installed"
    from sentence_transformers import SentenceTransformer

    if name.endswith("-openvino"):
        model = SentenceTransformer(
            str(path), backend="openvino",
            model_kwargs={"file_name": "openvino/openvino_model_qint8_quantized.xml"},
        )  # fmt: skip
    else:
        model = SentenceTransformer(str(path), device=device)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)
        return vectors

    return encode, ""


def transformers_audio(
    path: Path,
) -> Callable[[Sequence[tuple[NDArray[np.float32], int]]], NDArray[np.float32]]:
    """Return WhisperEncoder with eager attention in fp32 over its own log-mel: the mean over the sound."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    opened = open_model(path, EngineConfig(), ("Whisper",))
    sizes, file = opened.module.config, opened.weights.file
    config = WhisperConfig(
        d_model=sizes.hidden_size, encoder_layers=sizes.num_layers, num_mel_bins=sizes.num_mel_bins,
        encoder_attention_heads=sizes.num_attention_heads, encoder_ffn_dim=sizes.intermediate_size,
        max_source_positions=sizes.max_source_positions, attn_implementation="eager",
    )  # fmt: skip
    model = WhisperEncoder(config).eval()
    names = {name: name.removeprefix("encoder.") for name in file.layers}
    names["encoder.position_embedding"] = "embed_positions.weight"
    model.load_state_dict({theirs: file.tensor(ours).float() for ours, theirs in names.items()})
    extract = WhisperFeatureExtractor(feature_size=sizes.num_mel_bins)

    def encode(sounds: Sequence[tuple[NDArray[np.float32], int]]) -> NDArray[np.float32]:
        outputs = []
        with torch.inference_mode():
            for samples, rate in sounds:
                mel = extract(samples, sampling_rate=rate, return_tensors="pt").input_features
                states = model(mel).last_hidden_state[0, : -(-len(samples) // 320)]
                outputs.append(torch.nn.functional.normalize(states.mean(0), dim=-1).numpy())
        return np.stack(outputs)

    return encode


def transformers_images(path: Path) -> Callable[[Sequence[bytes]], NDArray[np.float32]]:
    """Return CLIPVisionModelWithProjection with eager attention in fp32 over this engine's pixels."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    opened = open_model(path, EngineConfig(), ("ViT",))
    sizes, file = opened.module.config, opened.weights.file
    config = CLIPVisionConfig(
        hidden_size=sizes.hidden_size, intermediate_size=sizes.intermediate_size, image_size=sizes.image_size,
        num_hidden_layers=sizes.num_layers, num_attention_heads=sizes.num_attention_heads,
        patch_size=sizes.patch_size, projection_dim=sizes.projection_dim, hidden_act=sizes.hidden_act,
        attn_implementation="eager",
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config).eval()
    model.load_state_dict({name: file.tensor(name).float() for name in file.layers}, strict=False)

    def encode(images: Sequence[bytes]) -> NDArray[np.float32]:
        outputs = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                pixels = np.stack(
                    [load_pixels(image, sizes.image_size) for image in images[start : start + BATCH]]
                )
                embeds = model(pixel_values=torch.from_numpy(pixels)).image_embeds
                outputs.append(torch.nn.functional.normalize(embeds, dim=-1).numpy())
        return np.concatenate(outputs)

    return encode
