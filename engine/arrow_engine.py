"""`ArrowEngine`: a text model directory that turns texts into unit vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.text import text_config
from aios_db.engine.fingerprint import fingerprint
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.models import find_model
from aios_db.engine.tokenizer import TextTokenizer
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine")

_ENGINE, _CPU, _DEVICE = EngineConfig(), CpuConfig(), DeviceConfig()  # frozen

WINDOW_OVERLAP = 32  # tokens that neighbouring windows of a long text share


class ArrowEngine:
    """A text encoder: tokenizer, model and pooling of one model directory.

    Opening it reads the weight file's footer; a layer's weights are mapped when it first runs. Safe to use
    from several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device
        Sections of the configuration.

    Attributes
    ----------
    dimension : int
        Length of the vectors.
    max_tokens : int
        Longest window the model is given, special tokens included.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        engine: EngineConfig = _ENGINE,
        cpu: CpuConfig = _CPU,
        device: DeviceConfig = _DEVICE,
    ) -> None:
        directory = ModelDirectory.open(find_model(str(model), engine.models_dir))
        if directory.tokenizer is None:
            raise WeightsError(f"{directory.path} has no tokenizer.json: it is no text model")
        self._file = WeightFile(directory.weights, mapped=engine.mmap)
        architecture, config = text_config(directory, self._file)
        self._tokenizer = TextTokenizer(directory.tokenizer)
        self._model = LazyModel(build_model(architecture, config), self._file)
        self._batch_tokens = engine.batch_tokens
        self.dimension = int(config["hidden_size"])
        self.max_tokens = int(config["max_seq_length"])
        self.version = f"{directory.name}@{fingerprint(directory.path, self._file)[:12]}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a float32 array (len(texts), dimension) of unit rows, in the order of ``texts``.

        A text longer than ``max_tokens`` is cut into windows that overlap by 32 tokens; its vector is the
        mean of the windows' vectors, weighted by their tokens.

        Raises
        ------
        DataError
            A text is not a string.
        WeightsError
            The model's weights make a vector that is not finite.
        """
        windows = self._tokenizer.windows(texts, self.max_tokens, min(WINDOW_OVERLAP, self.max_tokens // 4))
        owners = np.array([i for i, parts in enumerate(windows) for _ in parts], dtype=np.int64)
        flat = [ids for parts in windows for ids in parts]
        lengths = np.array([len(ids) for ids in flat], dtype=np.int64)
        vectors = np.empty((len(flat), self.dimension), dtype=np.float32)
        for batch in _batches(lengths, self._batch_tokens):
            vectors[batch] = self._forward([flat[i] for i in batch], lengths[batch])
        pooled = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(pooled, owners, vectors * lengths[:, None].astype(np.float32))
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or (norms == 0).any():
            raise WeightsError(f"{self._file.path}: the model makes vectors that are not finite or zero")
        unit: NDArray[np.float32] = pooled / norms
        return unit

    def close(self) -> None:
        """Release the weights."""
        self._file.close()

    def _forward(self, rows: list[list[int]], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        import torch

        ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        with torch.inference_mode():
            pooled = self._model.model(torch.from_numpy(ids), torch.from_numpy(mask))
        vectors: NDArray[np.float32] = pooled.float().numpy()
        return vectors


def _batches(lengths: NDArray[np.int64], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of texts of similar length, at most ``batch_tokens`` with padding, or one text."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or lengths[order[end]] * (end + 1 - start) > batch_tokens:
            yield order[start:end]
            start = end
