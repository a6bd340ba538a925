"""Run BERT on Vulkan through ncnn.

ncnn falls back to the CPU without a word where a device or a layer has no Vulkan, so both are demanded here.
The look-up of the embeddings and the pooling stay on the CPU; all matrix products are on the device.
"""

from __future__ import annotations

import logging
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.schema.amounts import amount
from aios_db.schema.errors import NotSupportedError

log = logging.getLogger("aios_db.engine.backends.vulkan")

DISCRETE, INTEGRATED, VIRTUAL, SOFTWARE = range(4)  # ncnn's GpuInfo.type()

# Anything but fp32 would cost cosine, and drivers differ in which of them they really have.
_REDUCED = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic",
    "use_bf16_packed", "use_bf16_storage",
    "use_int8_packed", "use_int8_storage", "use_int8_arithmetic", "use_int8_inference",
)  # fmt: skip


@dataclass(frozen=True)
class VulkanDevice:
    """A device that a Vulkan driver offers."""

    index: int
    name: str
    kind: int
    memory_bytes: int

    @property
    def is_discrete(self) -> bool:
        """Whether it is a GPU with memory of its own."""
        return self.kind == DISCRETE

    @property
    def is_software(self) -> bool:
        """Whether it is a program on the CPU, like Mesa's llvmpipe."""
        return self.kind == SOFTWARE

    @property
    def kind_order(self) -> int:
        """Sort key: discrete, integrated, virtual, software."""
        return self.kind


def vulkan_devices() -> list[VulkanDevice]:
    """Return what the Vulkan drivers of this machine offer; needs ncnn."""
    import ncnn

    devices = []
    for index in range(ncnn.get_gpu_count()):
        info = ncnn.get_gpu_info(index)
        budget = ncnn.get_gpu_device(index).get_heap_budget() << 20
        devices.append(VulkanDevice(index, info.device_name(), info.type(), budget))
    return devices


class VulkanBert:
    """A BERT text encoder on a Vulkan device; safe to use from several threads, one text at a time."""

    def __init__(self, program: Program) -> None:
        """Build the graph from the program's weights, and see that all of it runs on Vulkan.

        Raises
        ------
        NotSupportedError
            The architecture is not BERT, there is no device, or a layer has no Vulkan kernel.
        """
        import ncnn

        if program.architecture != "BertModel" or program.config is None:
            raise NotSupportedError(f"vulkan runs BertModel, not {program.architecture or program.name}")
        devices = vulkan_devices()
        if not devices:
            raise NotSupportedError("there is no Vulkan device")
        device = min(devices, key=lambda found: found.kind_order)
        with program.hold():
            program.load()
            weights = {
                name: parameter.detach().float().numpy()
                for name, parameter in program.module().named_parameters()
            }
        self._words = weights["embeddings.word_embeddings.weight"]
        self._positions = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._pooling = str(program.config.get("pooling", "mean"))
        self._lock = threading.Lock()
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = True
        for option in _REDUCED:
            setattr(self._net.opt, option, False)
        self._net.set_vulkan_device(device.index)
        _fill(self._net, weights, program.config)
        layers = [layer for layer in self._net.layers() if layer.type != "Input"]
        without = sorted({layer.type for layer in layers if not layer.support_vulkan})
        if without or not self._net.opt.use_vulkan_compute:
            raise NotSupportedError(f"ncnn has no Vulkan kernel for {', '.join(without) or 'this device'}")
        log.info("%s: %s on Vulkan, on %s", program.name, amount(len(layers), "layer"), device.name)

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return (rows, hidden) for each (token ids, mask): pooled vectors, not yet of unit length."""
        with self._lock:
            return [
                np.stack([self._embed(row[: int(kept.sum())]) for row, kept in zip(ids, mask, strict=True)])
                for ids, mask in batches
            ]

    def _embed(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        import ncnn

        # Neither copied nor kept alive by ncnn: the array has to outlive the extraction.
        embedded = np.ascontiguousarray(self._words[ids] + self._positions[: len(ids)], dtype=np.float32)
        extractor = self._net.create_extractor()
        extractor.input("embedded", ncnn.Mat(embedded))
        status, states = extractor.extract("states")
        if status != 0:
            raise RuntimeError(f"ncnn returned {status} on {len(ids)} tokens")
        hidden = np.array(states, dtype=np.float32)
        pooled: NDArray[np.float32] = hidden[0] if self._pooling == "cls" else hidden.mean(axis=0)
        return pooled


def _fill(net: Any, weights: Mapping[str, NDArray[np.float32]], config: Mapping[str, Any]) -> None:
    """Give ``net`` the graph and the weights, by way of ncnn's two files."""
    lines = list(_graph(config))
    blobs = {blob for line in lines for blob in _blobs(line)}
    text = "\n".join(["7767517", f"{len(lines)} {len(blobs)}", *lines, ""])
    if net.load_param_mem(text) != 0:
        raise RuntimeError("ncnn does not read the graph")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.bin"
        with path.open("wb") as file:
            _write_weights(file, weights, int(config["num_hidden_layers"]))
        if net.load_model(str(path)) != 0:
            raise RuntimeError("ncnn does not read the weights")


def _graph(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield ncnn's lines: type, name, number of inputs and outputs, their blobs, parameters."""
    hidden, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    heads, eps = int(config["num_attention_heads"]), float(config.get("layer_norm_eps", 1e-12))
    norm = f"0={hidden} 1={eps:e} 2=1"
    activation = str(config.get("hidden_act", "gelu"))
    if activation not in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        raise NotSupportedError(f"vulkan runs BERT with gelu, not {activation}")
    yield "Input embedded 0 1 embedded"
    yield f"LayerNorm norm 1 1 embedded x0 {norm}"
    for n in range(int(config["num_hidden_layers"])):
        attention = f"0={hidden} 1={heads} 2={hidden * hidden} 3={hidden} 4={hidden}"
        end = "states" if n + 1 == int(config["num_hidden_layers"]) else f"x{n + 1}"
        yield f"Split split{n}a 1 2 x{n} q{n} r{n}"
        yield f"MultiHeadAttention attention{n} 1 1 q{n} a{n} {attention}"
        yield f"BinaryOp add{n}a 2 1 a{n} r{n} s{n} 0=0"
        yield f"LayerNorm norm{n}a 1 1 s{n} m{n} {norm}"
        yield f"Split split{n}b 1 2 m{n} f{n} t{n}"
        yield f"InnerProduct up{n} 1 1 f{n} u{n} 0={wide} 1=1 2={hidden * wide}"
        yield f"GELU gelu{n} 1 1 u{n} g{n} 0=1"  # on Vulkan always the tanh form; 0=1 says so
        yield f"InnerProduct down{n} 1 1 g{n} d{n} 0={hidden} 1=1 2={hidden * wide}"
        yield f"BinaryOp add{n}b 2 1 d{n} t{n} v{n} 0=0"
        yield f"LayerNorm norm{n}b 1 1 v{n} {end} {norm}"


def _blobs(line: str) -> list[str]:
    _, _, inputs, outputs, *rest = line.split()
    return rest[: int(inputs) + int(outputs)]


def _write_weights(file: BinaryIO, weights: Mapping[str, NDArray[np.float32]], layers: int) -> None:
    """Write the tensors in the graph's order; ncnn puts a tag (0: fp32) before each matrix."""

    def write(name: str) -> None:
        for part in ("weight", "bias"):
            tensor = weights[f"{name}.{part}"]
            if tensor.ndim == 2:
                file.write(struct.pack("<I", 0))
            file.write(np.ascontiguousarray(tensor, dtype="<f4").tobytes())

    write("embeddings.LayerNorm")
    for n in range(layers):
        layer = f"encoder.layer.{n}"
        for name in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm"):
            write(f"{layer}.attention.{name}")
        for name in ("intermediate.dense", "output.dense", "output.LayerNorm"):
            write(f"{layer}.{name}")
