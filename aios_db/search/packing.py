"""The arrays of a segment in few bytes: for memories that are kept small, and read seldom.

What follows from other arrays is left out where it does so bit for bit; vectors are codes where they are
decoded ones; numbers are kept as steps where these are smaller, the bytes of equal weight together (as the
shuffle of Blosc does); and all is one Zstandard frame. The file is the length of the frame's content in eight
bytes, little-endian, and the frame, in which a JSON list of the arrays is first, behind its length in four.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.retrieval import RowIds
from aios_db.search.coded_vectors import coded, decoded
from aios_db.search.graph import LinkArrays
from aios_db.search.keys import digests_of, heads
from aios_db.search.linkrun import Links
from aios_db.search.moments import term_moments
from aios_db.search.postings import Postings
from aios_db.search.vectors import Statistics

Arrays = dict[str, NDArray[Any]]
Vectors = Callable[[RowIds], NDArray[np.float32]]
MOMENTS = ("statistics_total", "statistics_outer")
"""What is made again of the vectors."""

_SIZE, _HEAD = struct.Struct("<Q"), struct.Struct("<I")
_LEVEL, _QUICK_LEVEL = 12, 1  # of Zstandard
_FEW = 4096  # vectors whose second moments are made again in .2 s
_ROUNDING = 1e-9
_LINK_ARRAYS = ("offsets", "targets", "weights", "kinds", "entries")
_COUNTS, _STEP = "statistics_signs", "statistics_step"
_KINDS, _CODES, _SHAPE = "vector_kinds", "vector_codes", "vector_shape"


def pack(arrays: Mapping[str, NDArray[Any]], *, vectors: bool = True) -> bytes:
    """Return arrays as bytes, from which `unpack` makes them again; quickly without the ``vectors``."""
    kept = dict(arrays)
    if not vectors:
        for name in ("vectors", *MOMENTS):
            del kept[name]
    kept = _without_derived(kept)
    about, parts = [], []
    for name, array in kept.items():
        stepped, content = _smaller(np.ascontiguousarray(array))
        about.append([name, array.dtype.str, list(array.shape), stepped])
        parts.append(content)
    head = json.dumps(about).encode()
    whole = b"".join([_HEAD.pack(len(head)), head, *parts])
    codec = pa.Codec("zstd", _LEVEL if vectors else _QUICK_LEVEL)
    return _SIZE.pack(len(whole)) + bytes(codec.compress(whole))


def unpack(path: Path, vectors: Vectors | None = None) -> Arrays:
    """Return the arrays of a file that `pack` made, in memory.

    Parameters
    ----------
    vectors
        Returns the vectors of memories by their row ids, where the file has none.

    Raises
    ------
    ValueError
        It is damaged.
    """
    packed = path.read_bytes()
    try:
        (size,) = _SIZE.unpack_from(packed)
        whole = memoryview(pa.Codec("zstd").decompress(packed[_SIZE.size :], size))
        (length,) = _HEAD.unpack_from(whole)
        about = json.loads(bytes(whole[_HEAD.size : _HEAD.size + length]))
    except (struct.error, OSError, pa.ArrowException, MemoryError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    arrays: Arrays = {}
    start = _HEAD.size + length
    for name, type_, shape, stepped in about:
        dtype = np.dtype(type_)
        end = start + dtype.itemsize * int(np.prod(shape))
        arrays[name] = _array(whole[start:end], dtype, shape, stepped=stepped)
        start = end
    if "vectors" not in arrays and _SHAPE not in arrays:
        if vectors is None:
            raise ValueError(f"{path} has no vectors, which are to be read of the table")
        arrays["vectors"] = found = vectors(arrays["rows"])
        arrays["statistics_counts"][0] = np.count_nonzero(found.any(axis=1))
    return _with_derived(arrays)


def _smaller(array: NDArray[Any]) -> tuple[bool, bytes]:
    """Return an array's bytes by their weight, of its numbers or of the steps between these."""
    plain = _planes(array)
    if array.dtype.kind not in "iu" or array.ndim != 1 or len(array) < 2:
        return False, plain
    numbers = array.view(f"u{array.dtype.itemsize}")
    steps = _planes(np.diff(numbers, prepend=numbers.dtype.type(0)))
    quick = pa.Codec("lz4")
    return (True, steps) if len(quick.compress(steps)) < len(quick.compress(plain)) else (False, plain)


def _planes(array: NDArray[Any]) -> bytes:
    return (
        np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.dtype.itemsize).T.tobytes()
        if array.size
        else b""
    )


def _array(content: memoryview, dtype: np.dtype[Any], shape: list[int], *, stepped: bool) -> NDArray[Any]:
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    array = np.ascontiguousarray(planes.T).view(dtype).reshape(shape)
    if not stepped:
        return array
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return np.cumsum(array.view(unsigned), dtype=unsigned).view(dtype)


# What is left out


def _without_derived(arrays: Arrays) -> Arrays:
    if "vectors" in arrays:
        arrays = _with_codes(arrays)
    links = _links_of(LinkArrays(*(arrays[f"link_{each}"] for each in _LINK_ARRAYS)))
    if _is_same(arrays, _adjacency(links)):
        for each in _LINK_ARRAYS:
            del arrays[f"link_{each}"]
        arrays |= {f"links_{name}": column for name, column in vars(links).items()}
    for derive in _DERIVED:
        made = derive(arrays)
        if _is_same(arrays, made):
            for name in made:
                del arrays[name]
    return arrays


def _with_codes(arrays: Arrays) -> Arrays:
    """Return arrays with codes for vectors, and as little of their moments as can be."""
    vectors = arrays.pop("vectors")
    kinds, codes = coded(vectors)
    arrays |= {_KINDS: kinds, _CODES: codes, _SHAPE: np.array(vectors.shape, np.int64)}
    if len(vectors) < _FEW:
        made = _statistics(vectors)
        if all(np.allclose(arrays[name], each, _ROUNDING, _ROUNDING) for name, each in made.items()):
            for name in made:
                del arrays[name]
        return arrays
    return arrays | _counted(arrays.pop("statistics_outer"), vectors)


def _with_derived(arrays: Arrays) -> Arrays:
    if "vectors" not in arrays:
        shape = arrays.pop(_SHAPE).tolist()
        arrays["vectors"] = decoded(arrays.pop(_KINDS), arrays.pop(_CODES), shape[1])
    if "links_rows" in arrays:
        names = ("rows", "sources", "targets", "weights", "kinds")
        arrays |= _adjacency(Links(*(arrays.pop(f"links_{name}") for name in names)))
    if _COUNTS in arrays:
        arrays["statistics_outer"] = _outer(arrays.pop(_COUNTS), arrays.pop(_STEP))
    arrays = with_statistics(arrays)
    for derive in reversed(_DERIVED):
        arrays |= {name: each for name, each in derive(arrays).items() if name not in arrays}
    return arrays


def with_statistics(arrays: Arrays) -> Arrays:
    """Return arrays with the moments of their vectors, which are made again where they were left out."""
    return arrays if "statistics_outer" in arrays else {**arrays, **_statistics(arrays["vectors"])}


def _is_same(arrays: Arrays, made: Arrays) -> bool:
    return all(
        each.dtype == arrays[name].dtype and np.array_equal(each, arrays[name]) for name, each in made.items()
    )


def _statistics(vectors: NDArray[np.float32]) -> Arrays:
    made = Statistics.empty(vectors.shape[1])
    made.add(vectors)
    return {"statistics_total": made.total, "statistics_outer": made.outer}


def _counted(outer: NDArray[np.float64], vectors: NDArray[np.float32]) -> Arrays:
    """Return second moments of signs as what they count, the upper half of it; others as they are."""
    step = float(np.abs(vectors[:1]).max(initial=0)) ** 2
    upper = outer[np.triu_indices(len(outer))]
    counts = np.rint(upper / step).astype(np.int32) if step else np.zeros(len(upper), np.int32)
    again = {_COUNTS: counts, _STEP: np.array([step])}
    same = np.allclose(_outer(*again.values()), outer, _ROUNDING, _ROUNDING)
    return again if same else {"statistics_outer": outer}


def _outer(counts: NDArray[np.int32], step: NDArray[np.float64]) -> NDArray[np.float64]:
    size = int(np.sqrt(2 * len(counts)))
    upper = np.zeros((size, size))
    upper[np.triu_indices(size)] = counts * step[0]
    return upper + np.triu(upper, 1).T


def _adjacency(links: Links) -> Arrays:
    made = LinkArrays.build(links)
    return {f"link_{each}": getattr(made, each) for each in _LINK_ARRAYS}


def _links_of(arrays: LinkArrays) -> Links:
    rows = np.flatnonzero(arrays.entries[:, 0] >= 0)
    first = arrays.entries[rows, 0]
    sources = arrays.offsets.searchsorted(first, side="right") - 1
    targets = arrays.targets[first].astype(np.int64)
    return Links(rows, sources, targets, arrays.weights[first], arrays.kinds[first])


def _positions(arrays: Arrays) -> Arrays:
    rows = arrays["rows"]
    positions = np.full(int(rows.max(initial=-1)) + 1, -1, np.int32)
    positions[rows] = np.arange(len(rows), dtype=np.int32)
    return {"positions": positions}


def _ids(arrays: Arrays) -> Arrays:
    digests = digests_of(pa.array(arrays["ids"].astype("U36").tolist(), pa.string()))
    order = np.argsort(digests, kind="stable")
    return {"id_digests": digests[order], "id_rows": arrays["rows"][order]}


def _hashes(arrays: Arrays) -> Arrays:
    found = np.zeros(len(arrays["rows"]), np.uint64)
    at = arrays["positions"][arrays["hash_rows"]] if len(found) else np.empty(0, np.int32)
    found[at] = heads(arrays["hash_digests"])
    return {"hashes": found}


def _moments(arrays: Arrays) -> Arrays:
    terms = Postings(*(arrays[f"term_{name}"] for name in ("keys", "offsets", "docs", "counts")))
    return {"term_moments": term_moments(terms, arrays["lengths"])}


_DERIVED: tuple[Callable[[Arrays], Arrays], ...] = (_hashes, _positions, _ids, _moments)
"""Each of what follows from arrays that the ones after it leave alone, or that are made before it again."""
