"""What memories hold of each modality, and the bytes of the files that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.joint.media import Reach, media_type_of, tried
from aios_db.joint.reads import MediaReads, key_of
from aios_db.models.encoding import text_to_embed
from aios_db.schema.errors import DataError
from aios_db.schema.modalities import BITS

_COLUMNS = ("title", "text", "media", "media_uri", "media_type", "audio", "audio_uri")


@dataclass(frozen=True)
class Content:
    """What a memory holds of one modality.

    Attributes
    ----------
    row
        The memory's row in the table that it was read from.
    given
        A text, bytes, a path or a URI.
    vector
        Of a text, the stored one, float32; None where there is none, as of a compressed memory.
    """

    row: int
    given: bytes | str
    vector: NDArray[np.float32] | None = None


def contents_of(rows: pa.Table) -> dict[str, list[Content]]:
    """Return what memories hold, by modality."""
    found: dict[str, list[Content]] = {name: [] for name in BITS}
    vectors = rows["text_embedding"]
    columns = {name: rows[name].to_pylist() for name in _COLUMNS}
    for row in range(len(rows)):
        text = text_to_embed(columns["title"][row], columns["text"][row] or "")
        if vectors[row].is_valid:
            found["text"].append(Content(row, text, vectors[row].values.to_numpy()))
        elif text.strip():
            found["text"].append(Content(row, text))
        media = columns["media"][row] or columns["media_uri"][row]
        kind = columns["media_type"][row] or media_type_of(columns["media"][row], columns["media_uri"][row])
        modality = (kind or "").partition("/")[0]
        if media and modality in ("image", "audio"):
            found[modality].append(Content(row, media))
        sound = columns["audio"][row] or columns["audio_uri"][row]
        if sound and modality != "audio":
            found["audio"].append(Content(row, sound))
    return found


class MediaFiles:
    """The files that memories name, read only as they were when the memory was written.

    Parameters
    ----------
    reads
        What writers have read of them.
    reach
        What may be read besides the database.
    """

    def __init__(self, reads: MediaReads, reach: Reach) -> None:
        self._reads, self._reach = reads, reach

    def note(self, rows: pa.Table, reach: Reach | None = None) -> None:
        """Read the files that written memories name, as far as their writer may, and note what they hold.

        Only what was noted is put into a space, then and later, see `aios_db.joint.reads`.

        Parameters
        ----------
        reach
            What the writer may read, where that is less than the connection may.
        """
        if rows["media_uri"].null_count == rows["audio_uri"].null_count == len(rows):
            return
        users, agents = rows["user_id"].to_pylist(), rows["agent_id"].to_pylist()
        found = contents_of(rows)
        self._reads.note(
            key_of(users[each.row], agents[each.row], each.given, content)
            for modality in ("image", "audio")
            for each in found[modality]
            if isinstance(each.given, str) and isinstance(content := self._tried(each.given, reach), bytes)
        )

    def bytes_of(self, rows: pa.Table, content: Content) -> bytes | DataError:
        """Return the bytes of a memory's medium; of a file only what its writer read."""
        read = self._tried(content.given)
        if isinstance(content.given, bytes) or isinstance(read, DataError):
            return read
        user, agent = (rows[name][content.row].as_py() for name in ("user_id", "agent_id"))
        if key_of(user, agent, content.given, read) in self._reads:
            return read
        return DataError(
            f"{content.given} was not read when the memory was written, or has changed since: update its "
            "media_uri or audio_uri, or give the bytes"
        )

    def _tried(self, given: bytes | str, reach: Reach | None = None) -> bytes | DataError:
        """Return the bytes where the connection may read them, and ``reach``, if that is given."""
        return tried(given, self._reach if reach is None else _Both(self._reach, reach))


@dataclass(frozen=True)
class _Both:
    first: Reach
    second: Reach

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        self.first.check_path(path, others=others)
        self.second.check_path(path, others=others)
