"""`ArrowEngine`: a text model directory that turns texts into unit vectors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.adapters import Adapter
from aios_db.engine.architectures.bert_numpy import NumpyBert, can_run
from aios_db.engine.architectures.kinds import TEXT
from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.backends.session import Session
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.encoders.starter import Starter
from aios_db.engine.encoders.token_batches import TokenBatches
from aios_db.engine.encoders.unit_rows import unit_rows
from aios_db.engine.frontends.tokenizer import TextTokenizer
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine")

BULK = 256  # texts in one call for which finding the fastest back end is worth it
SAMPLE_TOKENS = 128  # of a batch of the built-in sentences
WINDOW_OVERLAP = 32  # tokens that neighbouring windows of a long text share


class ArrowEngine(Encoder):
    """A text encoder: tokenizer, model and pooling of one model directory.

    Opening it reads the weight file's footer; a layer's weights are mapped when it first runs. Calls with few
    texts are answered without torch at first (`aios_db.engine.encoders.starter`), so that a short-lived
    process need not import it and no call waits for that. Safe to use from several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration.
    adapter
        Changes that run beside the weights, on the standard back end.

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
    ValidationError
        The model is quantized and has no validation report that lets it be used.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(
        self,
        model: str | Path | Candidate,
        *,
        engine: EngineConfig = DEFAULTS.engine,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
        validation: ValidationConfig = DEFAULTS.validation,
        adapter: Adapter | None = None,
    ) -> None:
        if adapter is not None:  # the other back ends read the weights, and not the modules
            cpu = replace(cpu, backend="standard")
        opened = open_model(
            model,
            engine,
            TEXT,
            cpu=cpu,
            device=device,
            validation=validation,
            adapter=adapter,
        )
        if opened.directory.tokenizer is None:
            raise WeightsError(f"{opened.directory.path} has no tokenizer.json: it is no text model")
        self._tokenizer = TextTokenizer(opened.directory.tokenizer)
        self._starter: Starter | None = None
        # It computes in floats; and another back end may have been asked for.
        floats = not opened.integers and adapter is None and cpu.backend in ("auto", "standard")
        if floats and can_run(opened.architecture, opened.config):
            self._starter = Starter(NumpyBert(opened.file, opened.config), self._get_ready)
        self.dimension = int(opened.config["hidden_size"])
        self.max_tokens = int(opened.config["max_seq_length"])
        self._batches = TokenBatches(
            opened, self.dimension, self.max_tokens, engine.batch_tokens, masked=True
        )
        calibration, check = sample_sentences()
        program = opened.program(
            ((-1, -1), (-1, -1)),
            lambda: self._sample(calibration),
            lambda: self._sample(check),
            BULK,
            quantizable=True,
        )
        self._session = Session(program, opened.cpu, device)
        super().__init__(opened, self._session)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a float32 array (len(texts), dimension) of unit rows, in the order of ``texts``.

        A text longer than ``max_tokens`` is cut into windows that overlap by 32 tokens; its vector is the
        mean of the windows' vectors, weighted by their tokens.

        Raises
        ------
        DataError
            A text is not a string.
        WeightsError
            The model's weights make a vector that is not finite, or the tokenizer is not the model's.
        """
        windows = self._tokenizer.windows(texts, self.max_tokens, min(WINDOW_OVERLAP, self.max_tokens // 4))
        owners = np.array([i for i, parts in enumerate(windows) for _ in parts], dtype=np.int64)
        flat = [ids for parts in windows for ids in parts]
        vectors = self._batches.vectors(flat, self._run, on_cpu=self._session.is_on_cpu)
        lengths = np.array([len(ids) for ids in flat], dtype=np.float32)
        pooled = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(pooled, owners, vectors * lengths[:, None])
        return unit_rows(pooled, self._model.file)

    def _run(self, batches: Sequence[Arrays]) -> Sequence[NDArray[np.float32]]:
        if self._starter is not None and self._session.device.is_cpu and self._starter.takes(batches):
            return self._starter.run(batches)
        return self._session.run(batches)

    def settle(self) -> None:
        """See `Encoder.settle`; later short calls do not run in NumPy."""
        super().settle()
        if self._starter is not None:
            self._starter.end()

    def _get_ready(self) -> None:
        """Let the session run once, so that a text after it finds all loaded."""
        self._session.run(self._sample(sample_sentences()[1])[:1])

    def _sample(self, texts: Sequence[str]) -> list[Arrays]:
        """Return the inputs of one single text, and of all of them in batches."""
        rows = [windows[0] for windows in self._tokenizer.windows(texts, self.max_tokens, 0)]
        batches = [[rows[at] for at in each] for each in self._batches.places(rows, SAMPLE_TOKENS)]
        return [self._batches.padded(each) for each in [rows[:1], *batches]]
