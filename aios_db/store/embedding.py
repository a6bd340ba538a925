"""Vectors for the texts that come without one."""

from __future__ import annotations

from collections.abc import Callable

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.models.encoding import Encoder, encode, text_to_embed
from aios_db.models.following import Following
from aios_db.models.versions import WeightVersions
from aios_db.schema.errors import OperationalError
from aios_db.schema.vectors import as_array, scatter


class TextVectors:
    """The text vectors of one open database: by the weight version that made those of its memories.

    Parameters
    ----------
    given
        The text encoder; None where vectors come with every memory.
    versions
        Finds the weights of a version.
    memories
        Returns the memories of the snapshot.
    """

    def __init__(
        self, given: Encoder | None, versions: WeightVersions, memories: Callable[[], lance.LanceDataset]
    ) -> None:
        self.given, self._memories = given, memories
        self._following = Following(versions)

    @property
    def encoder(self) -> Encoder:
        """The text encoder, at the weight version that made the vectors of the snapshot.

        Raises
        ------
        OperationalError
            When the database was opened without one.
        """
        if self.given is None:
            raise OperationalError("this store has no text model; give text_embedding with every memory")
        self.follow()
        return self.given

    def follow(self) -> None:
        """Bring the encoder, if there is one, to the version that made the vectors of the snapshot."""
        if self.given is not None:
            self._following.follow(self._memories(), self.given)

    def outdated(self) -> None:
        """Note that the vectors of the snapshot may be of another version than before."""
        self._following.outdated()

    def in_use(self, rows: pa.Table) -> pa.Table:
        """Return rows without the vectors of a version that is no longer in use."""
        if self.given is None:
            return rows
        self.follow()
        return self._following.without_stale(rows)

    def complete(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> pa.Table:
        """Return rows with a vector for each that is wanted, see `embed_missing`."""
        return embed_missing(rows, wanted, lambda: self.encoder)

    def record(self) -> None:
        """Install and activate the version of the first vectors, so that others find its weights."""
        self._following.record(self.given)


def embed_missing(rows: pa.Table, wanted: NDArray[np.bool_], encoder: Callable[[], Encoder]) -> pa.Table:
    """Return ``rows`` with a vector for each that is wanted, has text and has none yet.

    Parameters
    ----------
    rows
        As from `rows.normalise`.
    wanted
        bool ``(n,)``; rows already stored need none.
    encoder
        Called only when there is something to embed.
    """
    column = rows["text_embedding"].combine_chunks()
    missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False) & wanted)
    chosen = rows.select(["title", "text"]).take(pa.array(missing))
    texts = [
        text_to_embed(title, text)
        for title, text in zip(chosen["title"].to_pylist(), chosen["text"].to_pylist(), strict=True)
    ]
    missing = missing[[bool(text.strip()) for text in texts]]
    if not len(missing):
        return rows
    model = encoder()
    vectors = as_array(encode(model, [text for text in texts if text.strip()], column.type.list_size))
    made = pa.array(np.isin(np.arange(len(rows)), missing))
    filled = {
        "text_embedding": pc.if_else(made, scatter(vectors, missing, len(rows)), column),
        "text_weight_version": pc.if_else(made, model.version, rows["text_weight_version"]),
    }
    for name, values in filled.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return rows
