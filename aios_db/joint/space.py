"""`Joint`: the joint space of one open database, which memories are put into and questions are asked in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.joint.clip import ClipSpace
from aios_db.joint.contents import MediaFiles
from aios_db.joint.encoders import Encoders
from aios_db.joint.media import Reach
from aios_db.joint.questions import Questions
from aios_db.joint.reads import MediaReads
from aios_db.joint.status import ModalityStatus, status_of
from aios_db.joint.usable import SpaceInUse
from aios_db.joint.vectors import MemoryVectors, has_picture
from aios_db.models.versions import WeightVersions
from aios_db.security.restrictions import Restrictions


class _Store(Protocol):
    """What is asked of the store."""

    @property
    def restrictions(self) -> Restrictions:
        """What may be read besides the database."""
        ...


@dataclass(frozen=True)
class _OfStore:
    """What a store may read, now."""

    store: _Store

    def check_path(self, path: Path, *, others: Sequence[Path] = ()) -> None:
        self.store.restrictions.check_path(path, others=others)


class Joint(Questions):
    """The joint space of one open database; safe to use from several threads.

    Parameters
    ----------
    store
        Whose restrictions hold.
    encoders
        What makes features.
    versions
        Finds the weights of the active version.
    table
        Returns the newest `weight_versions`, or None where it cannot be read.
    reads
        What writers have read of the files that memories name.
    clip
        Makes what puts CLIP's own space to use.

    Attributes
    ----------
    in_use
        The space, with the encoders.
    memories
        The vectors of memories.
    clip
        CLIP's own space, for as long as none was fitted.
    """

    def __init__(  # noqa: PLR0917 - what the space is made of
        self,
        store: _Store,
        encoders: Encoders,
        versions: WeightVersions,
        table: Callable[[], lance.LanceDataset | None],
        reads: MediaReads,
        clip: Callable[[SpaceInUse], ClipSpace],
    ) -> None:
        reach = _OfStore(store)
        self.encoders = encoders
        self.in_use = SpaceInUse(encoders, versions, table)
        self.clip = clip(self.in_use)
        self._files = MediaFiles(reads, reach)
        self.memories = MemoryVectors(self.in_use, self._files)
        super().__init__(self.in_use, reach, self.clip.ensure)

    def status(self) -> list[ModalityStatus]:
        """Return what each modality is found by: a fitted space, CLIP's own, or text as the pivot."""
        return list(status_of(self.in_use))

    def note_files(self, rows: pa.Table, reach: Reach | None = None) -> None:
        """Note what is in the files that written memories name, see `MediaFiles.note`."""
        self._files.note(rows, reach)

    def complete(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> pa.Table:
        """Return rows with the joint vectors that are wanted, see `MemoryVectors.complete`.

        The first picture puts CLIP's own space to use, where CLIP is installed and no space was fitted.
        """
        if self.in_use.version is None and (wanted & has_picture(rows)).any():
            self.clip.ensure()
        return self.memories.complete(rows, wanted)
