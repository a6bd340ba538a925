"""The plan of a consolidation, with the memories in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aios_db.lifecycle.asking import Asking
from aios_db.lifecycle.principles import Cluster, Source
from aios_db.lifecycle.salience import sentences
from aios_db.lifecycle.small_talk import tells_something
from aios_db.schema.config import ConsolidationConfig
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.store.reading import Reading

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase
    from aios_db.store.snapshot import Level

_NUMBERS = ("min_age_s", "min_cluster", "max_cluster", "min_affinity", "max_clusters")
_PLAN = "FROM consolidation_plan({})"
POLICIES = ("archive", "delete")


def checked(options: Mapping[str, Any], config: ConsolidationConfig) -> dict[str, Any]:
    """Return the options of a consolidation, those that are not given from the configuration.

    Raises
    ------
    ProgrammingError
        There is no such option, or a number makes no sense.
    DataError
        The policy is none.
    """
    known = (*_NUMBERS, "policy")
    for name, value in options.items():
        if name not in known:
            raise ProgrammingError(f"consolidate: no option {name!r}; there are {', '.join(known)}")
        if name in _NUMBERS and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**31
        ):
            raise ProgrammingError(f"consolidate: {name} is {value!r}; give a number that is not negative")
    found = {
        "min_age_s": 0.0,
        **{
            name: getattr(config, name)
            for name in known
            if name in ("min_cluster", "max_cluster", "min_affinity", "policy")
        },
        **{name: value for name, value in options.items() if value is not None},
    }
    if found["policy"] not in POLICIES:
        raise DataError(f"consolidate: policy is {found['policy']!r}; it is one of {', '.join(POLICIES)}")
    return found


def planned(database: OpenDatabase, options: Mapping[str, Any]) -> list[Cluster]:
    """Return the clusters of `consolidation_plan`, in its order."""
    arguments = ", ".join(f"{name} := {options[name]!r}" for name in _NUMBERS if name in options)
    rows, sources = database.read(partial(_plan, database, _PLAN.format(arguments)))
    clusters = [
        Cluster(
            row["user_id"], row["agent_id"],
            [sources[name] for name in row["sources"] if name in sources], row["because"],
        )
        for row in rows
    ]  # fmt: skip
    return [
        each for each in clusters if len(each.sources) >= options["min_cluster"] and _says_something(each)
    ]


def _plan(database: OpenDatabase, query: str, now: Level) -> tuple[list[dict[str, Any]], dict[str, Source]]:
    """Return the rows of a plan, and the memories in it by their ids."""
    with Asking(database, now) as asking:
        rows = asking.table(query).to_pylist()
    ids = [name for row in rows for name in row["sources"]]
    return rows, {each.memory_id: each for each in _sources(now, ids)}


def _says_something(cluster: Cluster) -> bool:
    """Tell whether there is more in a cluster than questions, greetings, thanks, praise and reactions."""
    return any(tells_something(said) for each in cluster.sources for said in sentences(each.said))


def vectors_of(database: OpenDatabase, sources: Sequence[Source]) -> list[NDArray[np.float32] | None]:
    """Return the vectors of memories, float32 ``(dimension,)``, None of those without."""
    known, rows = Reading(database).rows([each.memory_id for each in sources])
    column = rows["text_embedding"].combine_chunks()
    given = iter(
        column[place].values.to_numpy() if column[place].is_valid else None for place in range(len(rows))
    )
    return [next(given) if is_known else None for is_known in known.tolist()]


def _sources(now: Level, ids: Sequence[str]) -> list[Source]:
    """Return memories as they are, with the trust in them as it counts."""
    names = [each.name for each in fields(Source)]
    found = now.index.find_ids(list(ids))
    found = found[found >= 0]
    rows: pa.Table = now.memories._take_rows(found.tolist(), columns=names)
    trust = now.index.trust(found).tolist()
    return [Source(**{**row, "trust": share}) for row, share in zip(rows.to_pylist(), trust, strict=True)]
