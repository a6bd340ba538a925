"""Features on the disk, so that another fit of the same pairs does not run the encoders again."""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

log = logging.getLogger("aios_db.joint")

_UNSAFE = re.compile(r"[^\w.@+-]")
_SCHEMA = pa.schema([pa.field("digest", pa.binary(16)), pa.field("features", pa.list_(pa.float32()))])


class FeatureCache:
    """The features that one encoder version made, in Parquet files that are only ever added.

    Deleting the directory costs time alone.

    Parameters
    ----------
    directory
        Of all encoders' features.
    version
        Of the encoder.
    """

    def __init__(self, directory: Path, version: str) -> None:
        self._directory = directory / _UNSAFE.sub("_", version)
        self._writable = True
        self._known: dict[bytes, NDArray[np.float32]] = {}
        for path in sorted(self._directory.glob("*.parquet")):
            try:
                table = pq.read_table(path, schema=_SCHEMA, page_checksum_verification=True)
            except (pa.ArrowException, OSError) as error:
                log.warning("%s cannot be read, what it held is computed again: %s", path, error)
                continue
            features = table["features"].combine_chunks()
            for digest, values in zip(table["digest"].to_pylist(), features, strict=True):
                self._known[digest] = values.values.to_numpy()

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """Return the features of an item, None where they are not known."""
        return self._known.get(digest)

    def add(self, digests: Sequence[bytes], features: Sequence[NDArray[np.float32]]) -> None:
        """Keep features; a file that is half written by a process that ends is never seen.

        Where the disk fails, they are kept in memory alone, and that is logged.
        """
        self._known |= zip(digests, features, strict=True)
        if not digests or not self._writable:
            return
        table = pa.table(
            [pa.array(digests, _SCHEMA.field(0).type), pa.array(features, _SCHEMA.field(1).type)],
            schema=_SCHEMA,
        )
        part = self._directory / f".{uuid.uuid4().hex}.part"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, part, write_page_checksum=True)
            part.rename(self._directory / f"{uuid.uuid4().hex}.parquet")
        except OSError as error:
            self._writable = False
            log.warning("features are made again by the next fit, as they cannot be kept: %s", error)
            with suppress(OSError):
                part.unlink(missing_ok=True)


def digest_of(item: bytes | str) -> bytes:
    """Return 16 bytes by which an item is known."""
    return hashlib.sha256(item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item).digest()[
        :16
    ]
