"""Each memory by itself: its content against its hash, its vector, its metadata, its id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.checking.faults import SALVAGE, Faults
from aios_db.exports.layout import memory_columns
from aios_db.schema.errors import DataError
from aios_db.schema.identity import HEX
from aios_db.search.keys import digests_of
from aios_db.store.adoptable import checked, is_off

_CHANGED = "the content is not what its content_hash says: it was changed outside of aios_db"
_OFF = "the vector is not of length 1"
_METADATA = "the metadata is no JSON object"


class MemoryChecks:
    """Looks at all memories, and keeps 16 bytes of each id.

    Parameters
    ----------
    faults
        Told what is wrong.
    dimension
        Length of a vector.
    """

    def __init__(self, faults: Faults, dimension: int) -> None:
        self._faults = faults
        self._names = memory_columns(dimension).names
        self._digests = [np.empty(0, "S16")]
        self.count = 0

    def look(self, file: Path, batch: pa.RecordBatch) -> None:
        """Check some rows."""
        self.count += len(batch)
        self._digests.append(digests_of(batch["memory_id"]))
        rows = pa.Table.from_batches([batch]).select(self._names)
        for number in np.flatnonzero(is_off(batch["text_embedding"])).tolist():
            self._fault(file, _OFF, batch, number)
        for number, text in enumerate(batch["metadata"].to_pylist()):
            if text is not None and not is_object(text):
                self._fault(file, _METADATA, batch, number)
        vectors = rows.schema.get_field_index("text_embedding")
        rows = rows.set_column(
            vectors, "text_embedding", pa.nulls(len(rows), rows["text_embedding"].type)
        )  # looked at already
        try:
            self._compare(file, batch, rows)
        except DataError:
            for number in range(len(rows)):
                one = batch.slice(number, 1)
                try:
                    self._compare(file, one, rows.slice(number, 1))
                except DataError as error:
                    self._fault(file, str(error).removeprefix("row 0: "), one, 0)

    def ids(self) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
        """Return the digests of all ids, sorted; note ids that several memories have."""
        digests = np.concatenate(self._digests)
        self._digests = [digests]
        digests.sort()
        for _ in range(int((digests[1:] == digests[:-1]).sum())):
            self._faults.row("memories.lance", "several memories have one memory_id", SALVAGE)
        return digests

    def _compare(self, file: Path, batch: pa.RecordBatch, rows: pa.Table) -> None:
        made = checked(rows)
        same = pc.equal(*(pc.utf8_slice_codeunits(each["content_hash"], 0, HEX) for each in (rows, made)))
        for number in np.flatnonzero(~same.to_numpy(zero_copy_only=False)).tolist():
            self._fault(file, _CHANGED, batch, number)
        both = zip(rows["modalities"].to_pylist(), made["modalities"].to_pylist(), strict=True)
        for number, (said, is_) in enumerate(both):
            if said != is_:
                self._fault(file, "modalities are not those of the content", batch, number)

    def _fault(self, file: Path, what: str, batch: pa.RecordBatch, number: int) -> None:
        self._faults.row(file, what, SALVAGE, str(batch["memory_id"][number].as_py()))


def is_object(text: str) -> bool:
    """Tell whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
