"""Rows of an earlier version are what they were when they were written, or are not brought back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from aios_db.schema.errors import DataError, OperationalError
from aios_db.schema.identity import HEX
from aios_db.schema.memories import DERIVED
from aios_db.store.adoptable import check_links, checked, is_off

_CHANGED = "its content is not what its content_hash says"
_OFF = "its vector is not of length 1"


def verify_memories(rows: pa.Table) -> None:
    """Refuse memories with values that no memory has, or with another content than their hash says.

    Raises
    ------
    OperationalError
        With the first such memory and what is wrong with it.
    """
    if len(rows) and _problem(rows):
        for number in range(len(rows)):
            one = rows.slice(number, 1)
            if problem := _problem(one):
                raise OperationalError(_refusal(f"memory {one['memory_id'][0]}", problem))


def verify_links(links: pa.Table) -> None:
    """Refuse links that no link can be; raises as `verify_memories`."""
    try:
        check_links(links)
    except DataError as error:
        raise OperationalError(_refusal("a link", str(error))) from error


def _problem(rows: pa.Table) -> str:
    """Return what is wrong with one of some memories; nothing where all are as they were."""
    if is_off(rows["text_embedding"].combine_chunks()).any():
        return _OFF
    try:
        made = checked(rows.select([each for each in rows.column_names if each not in {"_rowid", *DERIVED}]))
    except DataError as error:
        return str(error).removeprefix("row 0: ")
    said, is_ = (
        np.array([each[:HEX] for each in table["content_hash"].to_pylist()]) for table in (rows, made)
    )
    return _CHANGED if (said != is_).any() else ""


def _refusal(what: str, problem: str) -> str:
    return (
        f"{what} is damaged in the earlier version that it would come from: {problem}. Nothing was written; "
        "a backup may have it whole"
    )
