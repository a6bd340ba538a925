"""`Memory`, one row of `memories` as `Connection.get` returns it, and what its columns are given as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypedDict
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
else:  # Pillow is an extra, and who reads types at run time need not have it
    Image = Any

Name: TypeAlias = str | UUID | int | Enum | PathLike[str] | None
"""What names something: stored as text."""

Moment: TypeAlias = datetime | date | str | float | None
"""A time: one without a zone is UTC, a number is seconds since 1970, a text what `parse_time` reads."""

Sound: TypeAlias = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO | None
"""A sound: the bytes of a file, its path, or a ``file:`` or ``data:`` URI."""

Picture: TypeAlias = Sound | NDArray[np.uint8] | Image
"""A picture: as a sound, or an array ``(height, width, 3)`` of pixels in RGB, or a picture of Pillow."""


class Fields(TypedDict, total=False):
    """The columns that `remember` and `update` take besides the text."""

    kind: Name
    title: str | None
    media: bytes | None
    media_uri: Name
    media_type: str | None
    text_embedding: Sequence[float] | NDArray[Any] | None
    session_id: Name
    agent_id: Name
    user_id: Name
    speaker: Name
    occurred_at: Moment
    tier: Name
    importance: float | None
    source: Name
    trust: float | None
    derived_from: Sequence[str] | None
    metadata: Mapping[str, Any] | str | None
    external_id: Name
    valid_until: Moment
    superseded_by: Name
    expires_at: Moment
    pinned: bool | None
    image: Picture
    audio: Sound
    audio_uri: Name


class Selectors(TypedDict, total=False):
    """What `forget` and `erase` take besides ids; all given must hold, a list is one of them."""

    user_id: Name | Sequence[Name]
    agent_id: Name | Sequence[Name]
    session_id: Name | Sequence[Name]
    external_id: Name | Sequence[Name]
    source: Name | Sequence[Name]
    before: Moment


@dataclass(frozen=True)
class Memory:
    """A memory with every column that it has; docs/python.md says what each means."""

    memory_id: str
    kind: str
    title: str | None
    text: str
    media: bytes | None = field(repr=False)
    media_uri: str | None
    media_type: str | None
    modalities: list[str]
    text_embedding: NDArray[np.float32] | None = field(repr=False, compare=False)
    """float32 ``(dimension,)``, of unit length."""
    text_weight_version: str | None
    session_id: str | None
    agent_id: str | None
    user_id: str | None
    speaker: str | None
    occurred_at: datetime | None
    created_at: datetime
    tier: str
    access_count: int
    last_access_at: datetime | None
    importance: float
    source: str | None
    trust: float
    content_hash: str = field(repr=False)
    derived_from: list[str] | None
    metadata: dict[str, Any] | None
    association_links: list[dict[str, Any]] | None = field(repr=False)
    external_id: str | None
    times: list[datetime] | None
    occurrences: int
    valid_until: datetime | None
    superseded_by: str | None
    expires_at: datetime | None
    pinned: bool
    audio: bytes | None = field(repr=False)
    audio_uri: str | None
    joint_embedding: NDArray[np.float32] | None = field(repr=False, compare=False)
    """float32, of unit length, in the joint space `joint_weight_version`."""
    joint_weight_version: str | None


_VECTORS = ("text_embedding", "joint_embedding")
_COLUMNS = tuple(Memory.__dataclass_fields__)


def memories_from(rows: pa.Table) -> list[Memory]:
    """Return one dataclass per row of `memories`."""
    plain = rows.select([each for each in _COLUMNS if each not in _VECTORS])
    found = []
    for number, row in enumerate(plain.to_pylist()):
        for name in _VECTORS:
            vector = rows[name][number]
            row[name] = vector.values.to_numpy() if vector.is_valid else None
        row["metadata"] = json.loads(row["metadata"]) if row["metadata"] else None
        found.append(Memory(**row))
    return found
