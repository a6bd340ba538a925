"""Convert a Hugging Face model directory (config.json, weights, tokenizer.json) to a model directory."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from aios_db.engine.architectures.registry import find_architecture
from aios_db.engine.convert.model_writer import FloatType, write_model
from aios_db.engine.convert.registry import Converter, find_converter
from aios_db.engine.convert.sentence import only_module
from aios_db.engine.convert.tensors import required, stored_tensors
from aios_db.engine.weights.format import Compression
from aios_db.schema.errors import ModelNotFoundError, OperationalError, WeightsError

log = logging.getLogger("aios_db.engine.convert")

TOKENIZER = "tokenizer.json"


def convert_huggingface(
    source: str | Path,
    target: str | Path,
    *,
    dtype: FloatType = "float32",
    compression: Compression = "none",
    name: str | None = None,
) -> Path:
    """Write the model in ``source`` to the new directory ``target`` in the V1 layout, atomically.

    Of a whole CLIP model ``target`` is the image encoder; its text encoder is a model of its own beside it,
    ``<target>-text``.

    Parameters
    ----------
    source
        A directory with config.json, ``*.safetensors`` or ``pytorch_model*.bin`` (one file or shards)
        and, for models that read text, tokenizer.json. Of sentence-transformers, one whose only module that
        has such files is in a folder of it.
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
        There is no converter for the model's type, or the engine cannot run this variant of it.
    WeightsError
        config.json or the weights cannot be read, or lack something, or hold NaN.
    OperationalError
        ``target`` exists.
    """
    source, target = Path(source), Path(target)
    usual = source.resolve().name
    source = only_module(source)
    config = _config(source)
    converter = find_converter(str(config.get("model_type")))
    name = name or config.get("_name_or_path") or usual
    parts = {suffix: find_converter(each) for suffix, each in _beside(converter, source, config).items()}
    parts = {**parts, "": converter}
    places = {suffix: target.with_name(f"{target.name}{suffix}") for suffix in parts}
    for each in places.values():
        if each.exists():
            raise OperationalError(f"{each} exists: choose another directory or remove it first")
    written: list[Path] = []
    try:
        for suffix, part in parts.items():
            _convert(source, places[suffix], f"{name}{suffix}", config, part, dtype, compression)
            written.append(places[suffix])
    except BaseException:
        for each in written:  # one side alone would be taken for a model of its own
            shutil.rmtree(each, ignore_errors=True)
        raise
    return target


def _convert(  # noqa: PLR0917 - what a model is written of
    source: Path,
    target: Path,
    name: str,
    config: dict[str, Any],
    converter: Converter,
    dtype: FloatType,
    compression: Compression,
) -> None:
    try:
        description = converter.describe(config, source)
    except KeyError as error:
        raise WeightsError(f"{source / 'config.json'} has no {error.args[0]!r}") from error
    tokenizer = source / TOKENIZER
    architecture = description.get("architecture") or description["model_info"]["architecture"]
    tensors = required(stored_tensors(source, converter), find_architecture(architecture).tensors, source)
    write_model(
        target,
        name,
        description,
        tensors if converter.adapt is None else converter.adapt(source, tensors),
        tokenizer=tokenizer.read_text("utf-8") if converter.tokenizer and tokenizer.is_file() else None,
        dtype=dtype,
        compression=compression,
    )


def _beside(converter: Converter, source: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return what else is to be written of a whole model, see `Converter.beside`."""
    if not converter.whole(config):
        return {}
    if not (source / TOKENIZER).is_file():
        log.warning(
            "%s has no %s, so its text encoder is left out: write one beside it with transformers, "
            "CLIPTokenizerFast.from_pretrained(DIR).save_pretrained(DIR), and convert it again",
            source,
            TOKENIZER,
        )
        return {}
    return dict(converter.beside)


def _config(source: Path) -> dict[str, Any]:
    path = source / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        own = " but OpenCLIP's own: give its export for transformers"
        raise ModelNotFoundError(
            f"{source} has no config.json: it is no Hugging Face model directory"
            f"{own if (source / 'open_clip_config.json').is_file() else ''}"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} holds a {type(config).__name__}, not an object")
    return config
