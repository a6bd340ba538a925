"""The architectures that the engine knows. A new one is a file beside this one and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aios_db.engine.architectures.kinds import AUDIO, CAPTION, IMAGE, JOINT, LANGUAGE, TEXT, Kind, load
from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """What a model is, and its code: named as "module:name" and imported when it is used."""

    kind: Kind
    build: str | None
    """``(config) -> torch.nn.Module``, whose ``state_dict`` keys are the tensor names of the weight file.

    Called on the meta device; the weights are assigned later. None where no torch is needed to run it.
    """
    sizes: str
    """``(directory, file) -> config``: what metadata.json says, completed from the shapes of the tensors."""
    tensors: tuple[str, ...]
    """By which a model without metadata.json is recognised: all of them, in the first such row."""
    converters: Mapping[str, str] = field(default_factory=dict)
    """The `Converter` of each Hugging Face ``model_type``."""


ARCHITECTURES: dict[str, Architecture] = {
    "BertModel": Architecture(
        kind=TEXT,
        build="aios_db.engine.architectures.bert:build",
        sizes="aios_db.engine.architectures.bert_sizes:bert_sizes",
        tensors=("embeddings.word_embeddings.weight",),
        converters={"bert": "aios_db.engine.convert.bert:CONVERTER"},
    ),
    "Whisper": Architecture(
        kind=AUDIO,
        build="aios_db.engine.architectures.whisper:build",
        sizes="aios_db.engine.architectures.sizes:whisper_sizes",
        tensors=("encoder.conv1.weight",),
        converters={"whisper": "aios_db.engine.convert.whisper:CONVERTER"},
    ),
    "ViT": Architecture(
        kind=IMAGE,
        build="aios_db.engine.architectures.clip:build",
        sizes="aios_db.engine.architectures.sizes:clip_sizes",
        tensors=("visual_projection.weight",),
        converters={
            "clip": "aios_db.engine.convert.clip:CONVERTER",
            "clip_vision_model": "aios_db.engine.convert.clip:CONVERTER",
        },
    ),
    "CLIPTextModelWithProjection": Architecture(
        kind=CAPTION,
        build="aios_db.engine.architectures.clip_text:build",
        sizes="aios_db.engine.architectures.sizes:clip_text_sizes",
        tensors=("text_projection.weight", "text_model.final_layer_norm.weight"),
        converters={"clip_text_model": "aios_db.engine.convert.clip_text:CONVERTER"},
    ),
    "Qwen2ForCausalLM": Architecture(
        kind=LANGUAGE,
        build="aios_db.engine.architectures.qwen2:build",
        sizes="aios_db.engine.architectures.sizes:language_model_sizes",
        tensors=("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.bias"),
        converters={"qwen2": "aios_db.engine.convert.qwen2:CONVERTER"},
    ),
    "LlamaForCausalLM": Architecture(
        kind=LANGUAGE,
        build="aios_db.engine.architectures.qwen2:build",
        sizes="aios_db.engine.architectures.sizes:language_model_sizes",
        tensors=("model.embed_tokens.weight",),
        converters={"llama": "aios_db.engine.convert.qwen2:CONVERTER"},
    ),
    "JointSpace": Architecture(
        kind=JOINT,
        build=None,
        sizes="aios_db.engine.fusion.files:joint_sizes",
        tensors=("rankings", "shares"),
    ),
}
"""By the name in metadata.json."""


def find_architecture(name: str) -> Architecture:
    """Return the row of an architecture.

    Raises
    ------
    NotSupportedError
        None is registered under that name.
    """
    if name not in ARCHITECTURES:
        raise NotSupportedError(f"architecture {name!r} is not one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def build_model(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """Build ``architecture`` without weights: its parameters are on the meta device.

    Parameters
    ----------
    config
        As `Architecture.sizes` makes it of ``model_info`` or ``config`` of metadata.json.

    Raises
    ------
    NotSupportedError
        No architecture is registered under that name.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class SkipInit(TorchFunctionMode):
        # Initialising on the meta device does nothing, but imports torch's compiler: seconds.
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__module__", None) == "torch.nn.init":
                return args[0] if args else kwargs["tensor"]
            return func(*args, **kwargs)

    row = find_architecture(architecture)
    if row.build is None:
        raise NotSupportedError(f"{architecture} is no torch module")
    build = load(row.build)
    with torch.device("meta"), SkipInit():
        model: nn.Module = build(config)
    return model.eval().requires_grad_(False)
