"""What the index keeps of a memory without looking into its text: the columns of `part.COLUMNS`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.memories import CODE_FIELD, SCOPE
from aios_db.schema.vector_codes import decode
from aios_db.search.keys import digests_of, heads
from aios_db.search.labels import shared_name
from aios_db.search.marks import LISTS, OBJECTS
from aios_db.search.part import COLUMNS, HASHED, NUMBERS
from aios_db.search.ranking import digest64

_ODD = (
    2 * np.random.default_rng(1).integers(1 << 62, size=1 << 16, dtype=np.uint64) + 1
)  # checksum of a vector

FOREVER = np.iinfo(np.int64).max


def text_vectors(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """Return float32 ``(len(batch), dimension)``: stored or decoded vectors, zeros where there is none."""
    embeddings = batch["text_embedding"]
    vectors = np.zeros((len(batch), embeddings.type.list_size), np.float32)
    given = embeddings.is_valid().to_numpy(zero_copy_only=False)
    vectors[given] = embeddings.drop_null().flatten().to_numpy().reshape(-1, vectors.shape[1])
    coded = np.flatnonzero(batch[CODE_FIELD.name].is_valid().to_numpy(zero_copy_only=False))
    vectors[coded] = decode(batch[CODE_FIELD.name].take(pa.array(coded)), vectors.shape[1])
    return vectors


def attributes(batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
    """Return the columns of `part.COLUMNS` that need no analysis."""
    vectors = text_vectors(batch)
    times = pc.coalesce(batch["occurred_at"], batch["created_at"]).cast(pa.int64())
    hashed = {name: _hashed(batch[name]) for name in HASHED}
    hashes = heads(digests_of(batch["content_hash"]))
    contents = vectors.view(np.uint32).astype(np.uint64) @ _ODD[: vectors.shape[1]]
    titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
    contents ^= np.array(
        [digest64(f"{title or ''}\0{text}") for title, text in zip(titles, texts, strict=True)], np.uint64
    )
    for odd, values in zip(_ODD, (hashes, _marked(batch), *(hashed[name] for name in SCOPE)), strict=False):
        contents += odd * values
    return {
        "rows": batch["_rowid"].to_numpy().astype(np.int64),
        "ids": np.array(batch["memory_id"].to_pylist(), COLUMNS["ids"]),
        "vectors": vectors,
        "alive": np.ones(len(batch), np.bool_),
        "contents": contents,
        "hashes": hashes,
        "names": np.array([shared_name(title) for title in titles], np.uint64),
        "times": times.to_numpy(),
        "ends": pc.fill_null(batch["valid_until"].cast(pa.int64()), FOREVER).to_numpy(),
        **hashed,
        **{name: batch[name].to_numpy(zero_copy_only=False) for name in NUMBERS},
    }


def _marked(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """Return a hash of what `marks` reads."""
    joined = [_hashed(_joined(batch[name])) for name in LISTS]
    hashes = [*joined, *(_hashed(batch[name]) for name in OBJECTS)]
    mixed: NDArray[np.uint64] = np.stack(hashes, axis=1) @ _ODD[: len(hashes)]
    return mixed


def _joined(lists: pa.ListArray) -> pa.Array:
    if not lists.flatten().null_count:
        return pc.binary_join(lists, "\0")
    return pa.array(  # Arrow's is NULL where an element is
        [each and "\0".join("\1" if name is None else name for name in each) for each in lists.to_pylist()],
        pa.string(),
    )


def _hashed(column: pa.Array) -> NDArray[np.uint64]:
    """Return the 64-bit hash of each string, 0 for null; each distinct one is hashed once."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.uint64)
    encoded = column.dictionary_encode()
    hashes = np.array([digest64(value) for value in encoded.dictionary.to_pylist()] or [0], np.uint64)
    return np.where(column.is_valid(), hashes[encoded.indices.fill_null(0).to_numpy()], np.uint64(0))
