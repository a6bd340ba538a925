"""Convert a Hugging Face model directory (config.json, safetensors, tokenizer.json) to a model directory."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aios_db.engine.convert.registry import find_converter
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.writer import Compression, Layer, write_weights
from aios_db.schema.errors import ModelNotFoundError, OperationalError, WeightsError
from aios_db.schema.weights import METADATA_FILE, TOKENIZER_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    import torch

log = logging.getLogger("aios_db.engine.convert")

CONVERTER_VERSION = "1.1.0"


def convert_huggingface(
    source: str | Path,
    target: str | Path,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    compression: Compression = "none",
    name: str | None = None,
) -> Path:
    """Write the model in ``source`` to the new directory ``target`` in the V1 layout, atomically.

    Parameters
    ----------
    source
        A directory with config.json, ``*.safetensors`` (one file or shards) and tokenizer.json.
    dtype
        What floating point weights are stored as.
    compression
        'none' makes a file that can be mapped; 'zstd', 'lz4' or 'snappy' one that is smaller on disk.
    name
        The model's name in metadata.json; by default what config.json says, or the directory's name.

    Raises
    ------
    ModelNotFoundError
        ``source`` lacks config.json or the weights.
    NotSupportedError
        There is no converter for the model's type.
    WeightsError
        The weights cannot be read, or hold NaN.
    OperationalError
        ``target`` exists.
    """
    source, target = Path(source), Path(target)
    config = _config(source)
    converter = find_converter(str(config.get("model_type")))
    if target.exists():
        raise OperationalError(f"{target} exists: choose another directory or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    build = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        infos: list[LayerInfo] = []

        def layers() -> Iterator[Layer]:
            for stored, tensor in _tensors(source, converter.rename):
                layer = _layer(stored, tensor, dtype)
                infos.append(layer.info)
                yield layer

        digest = write_weights(build / WEIGHTS_FILE, layers(), compression=compression)
        tokenizer = source / "tokenizer.json"
        if tokenizer.is_file():
            (build / TOKENIZER_FILE).parent.mkdir()
            shutil.copyfile(tokenizer, build / TOKENIZER_FILE)
        metadata = {
            "model_name": name or config.get("_name_or_path") or source.resolve().name,
            **converter.describe(config, source),
            "conversion_config": {"compression": compression, "use_float16": dtype == "float16"},
            "total_parameters": sum(info.num_params for info in infos),
            "num_layers": len(infos),
            "layer_info": {
                info.name: {"shape": list(info.shape), "dtype": info.dtype, "num_params": info.num_params}
                for info in infos
            },
            "content_sha256": digest,
            "converted_at": datetime.now(timezone.utc).isoformat(),
            "converter_version": CONVERTER_VERSION,
        }
        (build / METADATA_FILE).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        build.chmod(0o755)
        _publish(build, target)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    log.info("converted %s to %s: %d tensors", source, target, len(infos))
    return target


def _publish(build: Path, target: Path) -> None:
    try:
        os.rename(build, target)
    except OSError:
        if not (target / WEIGHTS_FILE).is_file():
            raise
        log.info("another process has converted %s meanwhile", target)


def _config(source: Path) -> dict[str, Any]:
    path = source / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelNotFoundError(
            f"{source} has no config.json: it is no Hugging Face model directory"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} holds a {type(config).__name__}, not an object")
    return config


def _tensors(source: Path, rename: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (stored name, tensor) of every weight, one in memory at a time, in the files' order."""
    from safetensors import SafetensorError, safe_open

    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise ModelNotFoundError(f"{source} holds no *.safetensors")
    with ExitStack() as stack:
        for path in files:
            try:
                weights = stack.enter_context(safe_open(path, framework="pt"))
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    if (stored := rename(name)) is not None:
                        yield stored, weights.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"{path} cannot be read: {error}") from error


def _layer(name: str, tensor: torch.Tensor, dtype: str) -> Layer:
    from aios_db.engine.weights.layer import torch_dtype

    if tensor.is_floating_point():
        tensor = tensor.to(torch_dtype(dtype))
    info = LayerInfo(name, tuple(tensor.shape), str(tensor.dtype), tensor.numel())
    return Layer(info, tensor.contiguous().numpy())
