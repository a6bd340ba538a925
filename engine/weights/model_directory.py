"""A model on disk: where its weights, tokenizer and metadata lie, in today's layout and in older ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios_db.schema.errors import ModelNotFoundError, WeightsError
from aios_db.schema.homes import expanded
from aios_db.schema.weights import METADATA_FILE, TOKENIZER_FILE, WEIGHTS_FILE

log = logging.getLogger("aios_db.engine.model_directory")


@dataclass(frozen=True)
class ModelDirectory:
    """The files of one model; paths inside metadata.json are not trusted."""

    path: Path
    weights: Path
    tokenizer: Path | None
    """``tokenizer/tokenizer.json``, or ``tokenizer.json`` beside the weights; vision models have none."""
    metadata: Mapping[str, Any]
    """metadata.json; empty when the file is absent."""

    @classmethod
    def open(cls, path: str | Path) -> ModelDirectory:
        """Find the files under ``path``; reads only metadata.json.

        Raises
        ------
        ModelNotFoundError
            There is no such directory, or no weights in it.
        WeightsError
            metadata.json is not a JSON object.
        """
        directory = expanded(path)
        if not directory.is_dir():
            raise ModelNotFoundError(f"no model directory at {directory}")
        candidates = (directory / WEIGHTS_FILE, directory / f"{directory.resolve().name}.parquet")
        weights = next((file for file in candidates if file.is_file()), None)
        if weights is None:
            names = " or ".join(file.name for file in candidates)
            raise ModelNotFoundError(f"{directory} holds no {names}")
        tokenizers = (directory / TOKENIZER_FILE, directory / "tokenizer.json")
        tokenizer = next((file for file in tokenizers if file.is_file()), None)
        return cls(directory, weights, tokenizer, _read_metadata(directory / METADATA_FILE))

    @property
    def name(self) -> str:
        """The directory's name, by which the model is known."""
        return self.path.resolve().name

    @property
    def config(self) -> Mapping[str, Any]:
        """The architecture's sizes: ``model_info`` of text models, ``config`` of vision and audio models."""
        config = self.metadata.get("model_info") or self.metadata.get("config") or {}
        if not isinstance(config, Mapping):
            raise WeightsError(f"{self.path / METADATA_FILE}: model_info is not an object")
        return config

    @property
    def architecture(self) -> str | None:
        """The architecture in metadata.json ('BertModel', 'ViT', 'Whisper', …), if it names one."""
        name = self.config.get("architecture") or self.metadata.get("architecture")
        return str(name) if name else None


def _read_metadata(path: Path) -> Mapping[str, Any]:
    if path.exists() and not path.is_file():
        raise WeightsError(f"{path} is no file")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        log.warning("%s is missing: the architecture is inferred from the weights", path)
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path} holds a {type(metadata).__name__}, not an object")
    return metadata
