"""Rows of token ids as a text model runs them: in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.protocol import Arrays
from aios_db.engine.catalog.open_model import OpenModel
from aios_db.engine.encoders.batching import DEVICE_MULTIPLE, MULTIPLE, length_batches, pad
from aios_db.schema import deadlines
from aios_db.schema.errors import WeightsError

_CPU_TOKENS = 512  # more does not fit the caches, and leaves fewer batches to run at once
_STEP = 64
"""Batches that are run at once for a statement, which may be stopped after them."""
_DEVICE_TOKENS = 16384  # a few hundred texts of mixed length in more would be padding for the most part


@dataclass(frozen=True)
class TokenBatches:
    """The batches of one text model.

    Attributes
    ----------
    model
        Its config has ``vocab_size``.
    dimension
        Length of the vector that it makes of a row.
    limit
        Tokens of the longest row that it takes.
    batch_tokens
        Of one forward pass, padding included; 0 takes what is good for the device.
    masked
        Whether it takes an attention mask behind the ids.
    """

    model: OpenModel
    dimension: int
    limit: int
    batch_tokens: int
    masked: bool

    def vectors(
        self,
        rows: Sequence[Sequence[int]],
        run: Callable[[Sequence[Arrays]], Sequence[NDArray[np.float32]]],
        *,
        on_cpu: bool,
    ) -> NDArray[np.float32]:
        """Return what ``run`` makes of rows of token ids, float32 (len(rows), dimension), in their order.

        Raises
        ------
        WeightsError
            See `padded`.
        OperationalError
            The statement that needs the vectors has no time left, or was interrupted.
        """
        default, multiple = (_CPU_TOKENS, MULTIPLE) if on_cpu else (_DEVICE_TOKENS, DEVICE_MULTIPLE)
        places = self.places(rows, self.batch_tokens or default, multiple)
        outputs: list[NDArray[np.float32]] = []
        step = max(1, len(places)) if deadlines.current() is deadlines.NEVER else _STEP
        for start in range(0, len(places), step):
            deadlines.check()
            outputs += run(
                [self.padded([rows[at] for at in each], multiple) for each in places[start : start + step]]
            )
        vectors = np.empty((len(rows), self.dimension), np.float32)
        for each, output in zip(places, outputs, strict=True):
            vectors[each] = output
        return vectors

    def places(
        self, rows: Sequence[Sequence[int]], tokens: int, multiple: int = MULTIPLE
    ) -> list[NDArray[np.int64]]:
        """Return which rows are a batch together."""
        return list(length_batches(np.array([len(row) for row in rows], np.int64), tokens, multiple))

    def padded(self, rows: Sequence[Sequence[int]], multiple: int = MULTIPLE) -> Arrays:
        """Return the model's input for one batch of rows.

        Raises
        ------
        WeightsError
            There is a token that the model does not know.
        """
        ids, mask = pad(rows, self.limit, multiple)
        # Looked up on a GPU, such a token would end the process's use of it.
        if int(ids.max()) >= int(self.model.config["vocab_size"]):
            path = self.model.directory.path
            raise WeightsError(f"{path}: the tokenizer knows tokens that the model does not")
        return (ids, mask) if self.masked else (ids,)
