"""Pictures and sounds in SQL: their encoders, the joint space, and searches in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.schema.modalities import SETS
from aios_db.schema.retrieval import Filter, RowIds
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.lists import each_row, numbers
from aios_db.udfs.memory_filter import filters_of, index_of
from aios_db.udfs.searchable import Pinned, Searchable
from aios_db.udfs.searching import MATCHED, scored
from aios_db.udfs.types import BIGINT, BLOB, BOOLEAN, DOUBLES, FLOATS, VARCHAR, VARCHARS

Vector = NDArray[np.float32]
Given = bytes | str | None


class JointPinned(Pinned, Protocol):
    """What is asked of the search index."""

    def joint_search(
        self, question: Vector, k: int, where: Filter | None = None, *, media: bool = False
    ) -> tuple[RowIds, NDArray[np.float64]]:
        """Return the memories that answer a question in the joint space best."""
        ...

    def joint_scores(self, question: Vector, row_ids: RowIds, *, media: bool = False) -> NDArray[np.float64]:
        """Return the scores of given memories in the joint space."""
        ...


class JointSpace(Protocol):
    """The joint space of a store."""

    def encode(self, modality: str, items: Sequence[Given]) -> list[Vector | None]:
        """Return unit vectors by the model of a modality."""
        ...

    def encode_with(self, name: str, items: Sequence[Given]) -> list[Vector | None]:
        """Return unit vectors by a user's encoder."""
        ...

    def embed(
        self, texts: Sequence[str | None], images: Sequence[Given], audios: Sequence[Given]
    ) -> list[Vector | None]:
        """Return unit vectors in the joint space."""
        ...

    def question(self, text: str | None, vector: Vector | None, image: Given, audio: Given) -> Vector | None:
        """Return what ranks memories for a compound question."""
        ...

    def status(self) -> Sequence[Any]:
        """Return what each modality is found by, with a field per column of `joint_space()`."""
        ...


class HasJointSpace(Searchable, Protocol):
    """A store with a joint space."""

    @property
    def joint(self) -> JointSpace:
        """The space."""
        ...


def embed_audio(store: HasJointSpace, files: pa.StructArray) -> pa.Array:
    """Return a list of float32 per sound, null for null."""
    return _vectors(store.joint.encode("audio", _given(files)))


def embed_image(store: HasJointSpace, files: pa.StructArray) -> pa.Array:
    """Return a list of float32 per picture, null for null."""
    return _vectors(store.joint.encode("image", _given(files)))


def embed_with(store: HasJointSpace, names: pa.Array, items: pa.StructArray) -> pa.Array:
    """Return a list of float32 per item by the encoder of each name."""
    given, told = _given(items), names.to_pylist()
    found: list[Vector | None] = [None] * len(given)
    for name in dict.fromkeys(each for each in told if each is not None):
        places = [place for place, each in enumerate(told) if each == name]
        made = store.joint.encode_with(name, [given[place] for place in places])
        for place, vector in zip(places, made, strict=True):
            found[place] = vector
    return _vectors(found)


def embed_joint(
    store: HasJointSpace, texts: pa.Array, images: pa.StructArray, audios: pa.StructArray
) -> pa.Array:
    """Return a list of float32 per compound, null where nothing of it is given."""
    return _vectors(store.joint.embed(texts.to_pylist(), _given(images), _given(audios)))


def joint_question(
    store: HasJointSpace, texts: pa.Array, vectors: pa.Array, images: pa.StructArray, audios: pa.StructArray
) -> pa.Array:
    """Return what ranks memories for each compound question, row by row in a list; null for nothing."""
    columns = zip(texts.to_pylist(), vectors, _given(images), _given(audios), strict=True)
    found = [
        store.joint.question(text, numbers(vector.values) if vector.is_valid else None, image, audio)
        for text, vector, image, audio in columns
    ]
    return _vectors([None if each is None else each.ravel() for each in found])


def joint_search(  # noqa: PLR0917 - one argument a column
    store: HasJointSpace,
    questions: pa.Array,
    counts: pa.Array,
    wheres: pa.StringArray,
    media: pa.Array,
    besides: pa.StructArray,
) -> pa.Array:
    """Return the memories that answer each question best, with their scores by the text besides."""

    def one(
        question: pa.Array, k: int, where: Filter, only: bool, beside: Mapping[str, Any]
    ) -> pa.StructArray:
        index = cast("JointPinned", index_of(store, where).pinned())
        vector = None if beside["vector"] is None else pa.array(beside["vector"], pa.float32())
        rows, _ = index.joint_search(_question(question), k, where, media=only)
        return scored(index, rows, beside["content"], vector)

    return each_row(MATCHED, one, questions, counts, filters_of(wheres), media, besides.to_pylist())


def joint_scores(
    store: HasJointSpace, questions: pa.Array, media: pa.Array, memory_ids: pa.Array, wheres: pa.StringArray
) -> pa.Array:
    """Return the joint score of each of some memories, zeros where there is no question."""
    found: list[list[float] | None] = []
    filters = filters_of(wheres)
    for question, only, ids, where in zip(questions, media.to_pylist(), memory_ids, filters, strict=True):
        if not ids.is_valid:
            found.append(None)
        elif not question.is_valid:
            found.append([0.0] * len(ids.values))
        else:
            index = cast("JointPinned", index_of(store, where).pinned())
            rows = index.find_ids(ids.values)
            found.append(index.joint_scores(_question(question.values), rows, media=only).tolist())
    return pa.array(found, pa.list_(pa.float64()))


def joint_space(store: HasJointSpace, rows: pa.Array) -> pa.Array:
    """Return what each modality is found by, for each row."""
    found = [asdict(each) for each in store.joint.status()]
    return pa.array([found] * len(rows), pa.list_(_STATUS))


def _question(flat: pa.Array) -> Vector:
    found: Vector = numbers(flat).reshape(SETS, -1)
    return found


def _given(items: pa.StructArray) -> list[Given]:
    """Return bytes, or the text of a path, or None."""
    return [
        None if each is None else each["uri"] if each["file"] is None else each["file"]
        for each in items.to_pylist()
    ]


def _vectors(found: Sequence[Vector | None]) -> pa.Array:
    return pa.array(found, pa.list_(pa.float32()))


_MEDIUM = pa.struct([("file", BLOB), ("uri", VARCHAR)])
_QUERY = pa.struct([("content", VARCHAR), ("vector", FLOATS)])
_SEARCHES = (
    ScalarFunction("aios_joint_question", [VARCHAR, FLOATS, _MEDIUM, _MEDIUM], FLOATS, joint_question),
    ScalarFunction(
        "aios_joint_search",
        [FLOATS, BIGINT, VARCHAR, BOOLEAN, _QUERY],
        pa.list_(MATCHED),
        joint_search,
    ),
    ScalarFunction("aios_joint_scores", [FLOATS, BOOLEAN, VARCHARS, VARCHAR], DOUBLES, joint_scores),
)

_STATUS = pa.struct(
    [(name, pa.string()) for name in ("modality", "space", "fitted_with", "encoder")]
    + [("usable", pa.bool_()), ("note", pa.string())]
)

FUNCTIONS = (
    ScalarFunction("aios_embed_audio", [_MEDIUM], FLOATS, embed_audio),
    ScalarFunction("aios_embed_image", [_MEDIUM], FLOATS, embed_image),
    ScalarFunction("aios_embed_with", [VARCHAR, _MEDIUM], FLOATS, embed_with),
    ScalarFunction("aios_embed_joint", [VARCHAR, _MEDIUM, _MEDIUM], FLOATS, embed_joint),
    ScalarFunction("aios_joint_space", [BOOLEAN], pa.list_(_STATUS), joint_space),
    *(replace(each, retrieves="recall") for each in _SEARCHES),
)
