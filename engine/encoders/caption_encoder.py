"""`CaptionEncoder`: the text side of a CLIP model, which turns texts into unit vectors beside pictures'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.kinds import CAPTION
from aios_db.engine.architectures.sizes import LEGACY_EOS
from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.backends.session import Session
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.encoders.token_batches import TokenBatches
from aios_db.engine.encoders.unit_rows import unit_rows
from aios_db.engine.frontends.tokenizer import TextTokenizer
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import WeightsError

BULK = 256


class CaptionEncoder(Encoder):
    """A text encoder whose vectors are compared with those of an `ImageEncoder` of the same CLIP model.

    Safe to use from several threads.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration.

    Attributes
    ----------
    dimension : int
        Length of the vectors.
    max_tokens : int
        Tokens of a text that the model reads, special ones included; the rest is cut off.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is no CLIP text encoder.
    WeightsError
        A file of the model cannot be read, or it has no tokenizer, or that of another model.
    """

    def __init__(
        self,
        model: str | Path | Candidate,
        *,
        engine: EngineConfig = DEFAULTS.engine,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
        validation: ValidationConfig = DEFAULTS.validation,
    ) -> None:
        opened = open_model(model, engine, CAPTION, cpu=cpu, device=device, validation=validation)
        if opened.directory.tokenizer is None:
            opened.close()
            raise WeightsError(f"{opened.directory.path} has no tokenizer.json: it cannot read texts")
        self._tokenizer = TextTokenizer(opened.directory.tokenizer)
        end, ends = int(opened.config["eos_token_id"]), self._tokenizer.frame[1]
        if not ends or end not in (LEGACY_EOS, *ends):
            opened.close()
            raise WeightsError(
                f"{opened.directory.path}: its tokenizer ends a text with {ends[-1:] or 'no token'}, and the "
                f"model looks for {end}, so that all texts would have one vector: put the tokenizer.json of "
                "this model or the right eos_token_id into the directory that it was converted from, and "
                "convert it again"
            )
        self.dimension = int(opened.config["projection_dim"])
        self.max_tokens = int(opened.config["max_position_embeddings"])
        self._batches = TokenBatches(
            opened, self.dimension, self.max_tokens, engine.batch_tokens, masked=False
        )
        calibration, check = sample_sentences()
        program = opened.program(
            ((-1, -1),),
            lambda: self._sample(calibration),
            lambda: self._sample(check),
            BULK,
            quantizable=False,
        )
        self._session = Session(program, opened.cpu, device)
        super().__init__(opened, self._session)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a float32 array (len(texts), dimension) of unit rows, in the order of ``texts``.

        Raises
        ------
        DataError
            A text is not a string.
        WeightsError
            The model's weights make a vector that is not finite, or the tokenizer is not the model's.
        """
        session = self._session
        vectors = self._batches.vectors(self._rows(texts), session.run, on_cpu=session.is_on_cpu)
        return unit_rows(vectors, self._model.file)

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, cut off where the model ends."""
        return [windows[0] for windows in self._tokenizer.windows(texts, self.max_tokens, 0)]

    def _sample(self, texts: Sequence[str]) -> list[Arrays]:
        """Return the input of one single text, and of all of them in one batch."""
        rows = self._rows(texts)
        return [self._batches.padded(rows[:1]), self._batches.padded(rows)]
