"""`MemoryVectors`: the vectors of memories in the joint space, with a note of what was missing for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.joint.contents import Content, MediaFiles, contents_of
from aios_db.joint.usable import Active, SpaceInUse
from aios_db.schema import deadlines
from aios_db.schema.amounts import amount
from aios_db.schema.errors import DataError, Error
from aios_db.schema.modalities import MODALITIES, made_by, made_without

if TYPE_CHECKING:
    from aios_db.engine.encoders.features import Features

log = logging.getLogger("aios_db.joint")

COLUMNS = ("joint_embedding", "joint_hubness", "joint_weight_version")
_OFF = 1e-3  # greatest distance of a vector's length from 1
_AT_ONCE = 256  # memories whose media are read at a time

Values = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, str]
"""Of `COLUMNS`; the first two are None where nothing of a memory could be put into the space."""


@dataclass
class _Parts:
    """Features of a memory by modality, those whose encoder is not there, and those that cannot be read."""

    found: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class MemoryVectors:
    """Puts memories into the space in use.

    Where an encoder is missing in this process, or the weights of the space, that is noted in
    ``joint_weight_version``, and made up by a process that has them (`JointReembedding.complete`). What
    cannot be read is noted, too, and left out for good, until the memory is changed or a space is fitted.

    Parameters
    ----------
    in_use
        The space.
    files
        Reads the files that memories name.
    """

    def __init__(self, in_use: SpaceInUse, files: MediaFiles) -> None:
        self._in_use, self._files = in_use, files

    def complete(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> pa.Table:
        """Return rows, as from `rows.normalise`, with a joint vector for each that is wanted and not tried.

        A medium that cannot be read is logged and left out; its memory has the rest.
        """
        version = self._in_use.version
        if version is None:
            return rows
        tried = [each is not None and made_by(each)[0] == version for each in rows[COLUMNS[-1]].to_pylist()]
        active = self._in_use.usable()
        if active is not None and active.space.untrained:
            wanted = wanted & has_picture(rows)
        todo = np.flatnonzero(wanted & ~np.array(tried, np.bool_))
        if not len(todo):
            return rows
        columns = {name: rows[name].to_pylist() for name in COLUMNS}
        for start in range(0, len(todo), _AT_ONCE):
            some = todo[start : start + _AT_ONCE]
            of = rows.take(pa.array(some))
            made = _of_lost_space(of, version) if active is None else self.vectors(of, active)
            for place, values in zip(some.tolist(), made, strict=True):
                for name, value in zip(COLUMNS, values, strict=True):
                    columns[name][place] = value
        for name, values in columns.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, pa.array(values, rows.schema.field(name).type))
        return rows

    def vectors(self, rows: pa.Table, active: Active) -> list[Values]:
        """Return vector, hubness and what made them, for each memory."""
        parts = self._parts(rows, active)
        found = [each.found for each in parts]
        sets = [active.space.bits(each) for each in found]
        vectors = active.space.embed(found)
        hubness = active.space.hubness(vectors, sets)
        made = [made_without(active.version, each.missing, each.unreadable) for each in parts]
        return [
            (vector, near, version) if bits else (None, None, version)
            for vector, near, bits, version in zip(vectors, hubness, sets, made, strict=True)
        ]

    def own(self, rows: pa.Table) -> pa.Table:
        """Return rows of another database without the joint vectors that are not of the space in use."""
        made = rows[COLUMNS[-1]]
        if made.null_count == len(rows) == rows[COLUMNS[0]].null_count:
            return rows
        active = self._in_use.usable()
        kept = [
            active is not None
            and recorded is not None
            and made_by(recorded)[0] == active.version
            and _is_of(active, vector, near)
            for recorded, vector, near in zip(
                made.to_pylist(), rows[COLUMNS[0]].to_pylist(), rows[COLUMNS[1]].to_pylist(), strict=True
            )
        ]
        for name in COLUMNS:
            column = rows[name].combine_chunks()
            own = pc.if_else(pa.array(kept, pa.bool_()), column, pa.scalar(None, column.type))
            rows = rows.set_column(rows.schema.get_field_index(name), name, own)
        return rows

    def _parts(self, rows: pa.Table, active: Active) -> list[_Parts]:
        """Return the features of memories by modality."""
        found = [_Parts() for _ in range(len(rows))]
        for modality, contents in contents_of(rows).items():
            if modality not in active.space.encoders or not contents:
                continue
            if active.space.untrained and modality == "text":
                continue
            try:
                self._in_use.check_fits(active, modality)
                read = self._read(rows, self._in_use.features(active, modality), contents)
            except Error as error:
                deadlines.check()  # an encoder that was not waited for is not missing
                log.warning(
                    "no %s in the joint space of %s: %s", modality, amount(len(contents), "memory"), error
                )
                for each in contents:
                    found[each.row].missing.append(modality)
                continue
            for each, made in zip(contents, read, strict=True):
                if isinstance(made, DataError):
                    found[each.row].unreadable.append(modality)
                    shown = each.given[:200] if isinstance(each.given, str) else f"{len(each.given)} bytes"
                    log.warning(
                        "the %s of row %d (%s) is not in the joint space: %s", modality, each.row, shown,
                        made, extra={"event": "unreadable_media", "row": each.row},
                    )  # fmt: skip
                else:
                    found[each.row].found[modality] = made
        return found

    def _read(
        self, rows: pa.Table, features: Features, contents: list[Content]
    ) -> list[NDArray[np.float32] | DataError]:
        """Return the features of contents of one modality, and errors for what cannot be read."""
        encoders = self._in_use.encoders
        if features.modality != "text":
            return encoders.read(features, [self._files.bytes_of(rows, each) for each in contents])
        if encoders.is_plugged("text"):
            return encoders.read(features, [each.given for each in contents])
        wordy = [each.given for each in contents if each.vector is None]
        made = iter(encoders.read(features, wordy) if wordy else ())
        return [next(made) if each.vector is None else each.vector for each in contents]


def _is_of(active: Active, vector: list[float] | None, near: list[float] | None) -> bool:
    """Tell whether a vector and its hubness may be those of a space: both of its form, or both not there."""
    if vector is None or near is None:
        return vector is near
    both = np.array([*vector, *near], np.float64)
    return (
        len(vector) == active.space.dimension
        and len(near) == len(MODALITIES)
        and bool(np.isfinite(both).all())
        and abs(float(np.linalg.norm(both[: len(vector)])) - 1) < _OFF
    )


def _of_lost_space(rows: pa.Table, version: str) -> list[Values]:
    """Return no vectors, with a note that all that memories hold is missing in them."""
    missing: list[set[str]] = [set() for _ in range(len(rows))]
    for modality, contents in contents_of(rows).items():
        for each in contents:
            missing[each.row].add(modality)
    return [(None, None, made_without(version, each)) for each in missing]


def has_picture(rows: pa.Table) -> NDArray[np.bool_]:
    """Tell which memories hold a picture."""
    return np.array(["image" in (each or ()) for each in rows["modalities"].to_pylist()], np.bool_)
