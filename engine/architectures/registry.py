"""Which function builds which architecture. A new one is a file beside this one and a line here.

A builder takes the model's configuration (``model_info`` or ``config`` of metadata.json, see
`ModelDirectory.config`) and returns a ``torch.nn.Module`` whose ``state_dict`` keys are the tensor names of
the weight file. It is called on the meta device; the weights are assigned later.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aios_db.schema.errors import NotSupportedError

if TYPE_CHECKING:
    from torch import nn

# The name in metadata.json: "module:function".
BUILDERS: dict[str, str] = {
    "BertModel": "aios_db.engine.architectures.bert:build",
    "Whisper": "aios_db.engine.architectures.whisper:build",
    "ViT": "aios_db.engine.architectures.clip:build",
    "Qwen2ForCausalLM": "aios_db.engine.architectures.qwen2:build",
    "LlamaForCausalLM": "aios_db.engine.architectures.qwen2:build",
}


def build_model(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """Build ``architecture`` without weights: its parameters are on the meta device.

    Raises
    ------
    NotSupportedError
        No builder is registered under that name.
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

    if architecture not in BUILDERS:
        raise NotSupportedError(f"architecture {architecture!r} is not one of {', '.join(BUILDERS)}")
    module, function = BUILDERS[architecture].split(":")
    with torch.device("meta"), SkipInit():
        model: nn.Module = getattr(import_module(module), function)(config)
    return model.eval().requires_grad_(False)
