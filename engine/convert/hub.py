"""Fetch a model's files from the Hugging Face hub; the only part of the engine that uses a network."""

from __future__ import annotations

from pathlib import Path

from aios_db.schema.errors import MissingExtraError, ModelNotFoundError

# What the converters read: no pickles, and no copies of the weights for other frameworks.
FILES = (
    "config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "*processor_config.json",
    "generation_config.json", "modules.json", "sentence_*_config.json", "config_sentence_transformers.json",
    "*/config.json", "*/tokenizer.json",
)  # fmt: skip


def download(repository: str) -> Path:
    """Return the local directory of a hub repository such as ``sentence-transformers/all-MiniLM-L6-v2``.

    Files that the hub's own cache holds are not fetched again; ``HF_HUB_OFFLINE=1`` forbids the network.

    Raises
    ------
    MissingExtraError
        The package huggingface_hub is not installed.
    ModelNotFoundError
        There is no such repository, or it cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise MissingExtraError("huggingface_hub", "convert", "downloading from the hub") from None
    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelNotFoundError(
            f"{repository} is no directory here and cannot be fetched from the hub: {reason}"
        ) from error
