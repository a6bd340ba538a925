"""`ArrowEngine`: a text model directory that turns texts into unit vectors."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.bert_numpy import NumpyBert, can_run
from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.text import text_config
from aios_db.engine.backends.accelerator import VramReport
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.backends.selection import Choice
from aios_db.engine.batching import length_batches, pad
from aios_db.engine.devices import Device
from aios_db.engine.fingerprint import fingerprint
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.models import find_model
from aios_db.engine.open_model import wants_integers
from aios_db.engine.session import Session
from aios_db.engine.tokenizer import TextTokenizer
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.memory import MemoryReport
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.residency import shared_residency
from aios_db.schema.config import CpuConfig, DeviceConfig, EngineConfig
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine")

_ENGINE, _CPU, _DEVICE = EngineConfig(), CpuConfig(), DeviceConfig()  # frozen

CPU_BATCH_TOKENS = 1024  # more does not fit the caches and is slower
DEVICE_BATCH_TOKENS = 32768
SAMPLE_TOKENS = 128  # of a batch of the built-in sentences
STARTER_TOKENS = 512  # in the first call, up to which importing torch takes longer than the call
WINDOW_OVERLAP = 32  # tokens that neighbouring windows of a long text share


class ArrowEngine:
    """A text encoder: tokenizer, model and pooling of one model directory.

    Opening it reads the weight file's footer; a layer's weights are mapped when it first runs. A first call
    with few texts is answered without torch, so that a short-lived process need not import it. Safe to use
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
        integers = wants_integers(self._file, cpu, device)
        if integers:
            cpu = dataclasses.replace(cpu, backend="standard", precision="fp32")  # of what is not integer
        self._starter = NumpyBert(self._file, config) if can_run(architecture, config) else None
        if integers or cpu.backend not in ("auto", "standard"):
            self._starter = None  # it computes in floats; or another back end was asked for

        def build() -> LazyModel:
            model = build_model(architecture, config)
            if integers:
                from aios_db.engine.quantization.integer_layers import use_integers

                use_integers(model, self._file, vocabulary=int(config["vocab_size"]))
            return LazyModel(model, self._file, shared_residency(engine.max_resident_bytes))

        self._build: Callable[[], LazyModel] = build
        self._lazy: LazyModel | None = None
        self._lock = threading.Lock()
        self._batch_tokens = engine.batch_tokens
        self.dimension = int(config["hidden_size"])
        self.max_tokens = int(config["max_seq_length"])
        self.version = f"{directory.name}@{fingerprint(directory.path, self._file)[:12]}"
        calibration, check = sample_sentences()
        program = Program(
            name=self.version,
            module=lambda: self._model.model,
            load=self._load_all,
            shapes=((-1, -1), (-1, -1)),
            calibration=lambda: self._sample(calibration),
            check=lambda: self._sample(check),
            architecture=architecture,
            config=config,
            weights=self._file,
            cache=directory.path / "backends",
        )
        self._session = Session(program, cpu, device)

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
        positions = list(length_batches(lengths, self._batch_tokens or self._default_batch_tokens()))
        batches = [pad([flat[i] for i in batch], self.max_tokens) for batch in positions]
        vectors = np.empty((len(flat), self.dimension), dtype=np.float32)
        for batch, output in zip(positions, self._run(batches), strict=True):
            vectors[batch] = output
        pooled = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(pooled, owners, vectors * lengths[:, None].astype(np.float32))
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or (norms == 0).any():
            for name in self._file.layers:
                self._file.check_finite(name)
            raise WeightsError(f"{self._file.path}: the model makes vectors that are not finite or zero")
        unit: NDArray[np.float32] = pooled / norms
        return unit

    def memory_report(self) -> MemoryReport:
        """Return where the weights are: mapped, resident, copied or on a device, by tensor and in total."""
        return self._model.memory_report(self._session.device_bytes())

    def release(self) -> None:
        """Let go of the weights' memory; the next `encode` brings it back."""
        if self._lazy is not None:
            self._lazy.release()

    def close(self) -> None:
        """Release the weights and close the file."""
        self.release()
        self._file.close()

    def tune(self) -> Choice:
        """Measure the CPU back ends now and use the fastest that is precise; the choice is remembered.

        Takes tens of seconds. Without it, the first bulk call does this.
        """
        return self._session.tune()

    @property
    def choice(self) -> Choice | None:
        """The CPU back end and precision in use, with what was measured; None before the choice."""
        return self._session.choice

    @property
    def device(self) -> Device:
        """Where calls start; the CPU finishes them when it fails."""
        return self._session.device

    def vram(self) -> VramReport | None:
        """Return the accelerator's memory; None on the CPU, on Vulkan, and before the first `encode`."""
        return self._session.vram()

    def _default_batch_tokens(self) -> int:
        return CPU_BATCH_TOKENS if self._session.device.is_cpu else DEVICE_BATCH_TOKENS

    @property
    def _model(self) -> LazyModel:
        """The torch model, built at its first use: that imports torch."""
        with self._lock:
            if self._lazy is None:
                self._lazy = self._build()
            return self._lazy

    def _load_all(self) -> None:
        self._model.load_all()

    def _run(self, batches: Sequence[Arrays]) -> Sequence[NDArray[np.float32]]:
        starter, self._starter = self._starter, None
        short = sum(ids.size for ids, _ in batches) <= STARTER_TOKENS
        if starter is not None and short and self._session.device.is_cpu and "torch" not in sys.modules:
            return [starter.run(*arrays) for arrays in batches]
        return self._session.run(batches)

    def _sample(self, texts: Sequence[str]) -> list[Arrays]:
        """Return the inputs of one single text, and of all of them in batches."""
        rows = [windows[0] for windows in self._tokenizer.windows(texts, self.max_tokens, 0)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        batches = [[rows[i] for i in batch] for batch in length_batches(lengths, SAMPLE_TOKENS)]
        return [pad(batch, self.max_tokens) for batch in [rows[:1], *batches]]
