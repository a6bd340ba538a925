"""Memories of a tier in fewer bytes on the disk: a code in the place of the vector, apart from the others.

The text stays, bit for bit, so that what is packed is found by its words and its code, and has its whole
vector again when it is embedded again (`MemoryStore.update`).
"""

from __future__ import annotations

from collections.abc import Mapping

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.lifecycle.compression.cold_tail import small_cold_rows
from aios_db.lifecycle.compression.links import pack_links
from aios_db.schema.compressions import Packed
from aios_db.schema.config import CompressionConfig, VectorPrecision
from aios_db.schema.memories import CODE_FIELD, LINK_STRUCT
from aios_db.schema.tiers import TIERS
from aios_db.schema.vector_codes import PRECISIONS, decode, encode, precision_of
from aios_db.schema.vectors import as_numpy
from aios_db.store.cold import cold_fragments
from aios_db.store.commit import gather
from aios_db.store.dense import plain_columns

_BATCH_ROWS = 16_384


def pack(
    memories: lance.LanceDataset, links: lance.LanceDataset, config: CompressionConfig
) -> tuple[lance.LanceDataset, lance.LanceDataset, Packed]:
    """Compress memories of the tiers that say so, with the links that start at them: a commit of each table.

    Parameters
    ----------
    memories, links
        The newest versions, under the write lock.
    config
        What each tier keeps.

    Returns
    -------
    tuple of lance.LanceDataset, lance.LanceDataset and Packed
        The versions written; those given where there was nothing to do. And how many memories.
    """
    memories, packed = pack_memories(memories, config)
    return memories, pack_links(memories, links), packed


def pack_memories(
    memories: lance.LanceDataset, config: CompressionConfig
) -> tuple[lance.LanceDataset, Packed]:
    """Give memories of the tiers that say so a code in the place of their vector, in one commit.

    Parameters
    ----------
    memories
        The newest version, under the write lock.
    config
        What each tier keeps.

    Returns
    -------
    lance.LanceDataset
        The version written; ``memories`` itself where there was nothing to do.
    Packed
        How many.
    """
    rows, codes, kept = _to_pack(memories, config)
    apart = small_cold_rows(memories, len(rows))
    apart = np.setdiff1d(apart, rows)
    moved = np.concatenate([rows, apart])
    if not len(rows) and not len(apart):
        return memories, Packed(0, kept)
    order = np.argsort(moved)
    stored = memories._take_rows(apart.tolist(), columns=[CODE_FIELD.name])
    all_codes = pa.concat_arrays([codes, stored[CODE_FIELD.name].combine_chunks()])
    vectors = memories.schema.field("text_embedding").type
    changes: Mapping[str, pa.Array] = {
        "text_embedding": pa.nulls(len(moved), vectors),
        "association_links": pa.nulls(len(moved), pa.list_(LINK_STRUCT)),
        CODE_FIELD.name: all_codes.take(pa.array(order)),
    }
    return gather(memories, moved[order], changes, plain_columns(config)), Packed(len(rows), kept)


def _to_pack(
    memories: lance.LanceDataset, config: CompressionConfig
) -> tuple[NDArray[np.int64], pa.Array, int]:
    """Return rows and their new codes, and of how many the vector was given and stays."""
    dimension = memories.schema.field("text_embedding").type.list_size
    rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    codes: list[pa.Array] = [pa.nulls(0, pa.binary())]
    kept = 0
    cold = [each.fragment_id for each in cold_fragments(memories)]
    columns = ["text_embedding", CODE_FIELD.name, "text_weight_version", "_rowid", "_rowaddr"]
    for tier in TIERS:
        precision: VectorPrecision = getattr(config, tier)
        if precision == "float32":
            continue
        found = memories.to_table(columns=[], filter=f"tier = '{tier}'", with_row_id=True)["_rowid"]
        for start in range(0, len(found), _BATCH_ROWS):
            some = found[start : start + _BATCH_ROWS].to_pylist()
            batch = memories._take_rows(some, columns=columns).combine_chunks()
            given = batch["text_weight_version"].is_null().to_numpy()
            kept += int((given & batch["text_embedding"].is_valid().to_numpy()).sum())
            finer = _is_finer(batch, precision, dimension) & ~given
            astray = ~finer & _is_astray(batch, cold)
            for chosen, made in ((finer, precision), (astray, None)):
                some_rows = batch.filter(pa.array(chosen))
                rows.append(some_rows["_rowid"].to_numpy().astype(np.int64))
                codes.append(_codes(some_rows, made, dimension))
    return np.concatenate(rows), pa.concat_arrays(codes), kept


def _is_finer(batch: pa.Table, precision: VectorPrecision, dimension: int) -> NDArray[np.bool_]:
    """Tell which memories keep more of their vector than a precision does."""
    order = {each: place for place, each in enumerate(PRECISIONS)}
    lengths = pc.fill_null(pc.binary_length(batch[CODE_FIELD.name]), -1).to_numpy()
    places = {
        size: order["float32"] if size < 0 else order[precision_of(size, dimension)]
        for size in np.unique(lengths).tolist()
    }
    finer = np.array([places[size] < order[precision] for size in lengths.tolist()], np.bool_)
    some: NDArray[np.bool_] = batch["text_embedding"].is_valid().to_numpy() | (lengths >= 0)
    return finer & some


def _is_astray(batch: pa.Table, cold: list[int]) -> NDArray[np.bool_]:
    """Tell which compressed memories lie among others that have their vectors."""
    coded: NDArray[np.bool_] = batch[CODE_FIELD.name].is_valid().to_numpy()
    return coded & ~np.isin(batch["_rowaddr"].to_numpy() >> np.uint64(32), cold)


def _codes(batch: pa.Table, precision: VectorPrecision | None, dimension: int) -> pa.Array:
    """Return codes of a precision, or those that are there."""
    if precision is None:
        return batch[CODE_FIELD.name].combine_chunks()
    return encode(_vectors(batch, dimension), precision)


def _vectors(batch: pa.Table, dimension: int) -> NDArray[np.float32]:
    vectors = decode(batch[CODE_FIELD.name].combine_chunks(), dimension)
    there = batch["text_embedding"].is_valid().to_numpy()
    if there.any():
        vectors[there] = as_numpy(batch["text_embedding"].filter(pa.array(there)))
    return vectors
