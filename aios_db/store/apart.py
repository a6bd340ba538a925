"""Which memories a connection does not join by recalling them together, since others rely on their links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aios_db.search.index import SearchIndex
from aios_db.security.scope import Scope


def apart(
    index: SearchIndex, memory_ids: Sequence[str], scope: Scope, ceiling: float | None
) -> list[list[str]]:
    """Return groups of memories; of two in one group, a joint recall says nothing.

    Those that a connection with a scope shares with other users, or with other agents, and those that are
    trusted more than the source that a connection writes as.

    Parameters
    ----------
    index
        It knows the memories.
    memory_ids
        What was recalled.
    scope
        Of the connection.
    ceiling
        Trust in its source; None where it has none.
    """
    if not scope and ceiling is None:
        return []
    rows = index.find_ids(list(memory_ids))
    groups = []
    for axis in scope.values:
        groups.append(index.owners(rows, axis) == 0)
    if ceiling is not None:
        groups.append(index.trust(rows) > np.float32(ceiling))
    return [
        [each for each, inside in zip(memory_ids, group.tolist(), strict=True) if inside] for group in groups
    ]
