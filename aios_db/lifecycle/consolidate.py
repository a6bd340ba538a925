"""Consolidation from plan to commit: what is planned is written, compared with what was, and stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Any

import uuid_utils

from aios_db.lifecycle.comparing import Comparison, compare
from aios_db.lifecycle.log import Consolidation
from aios_db.lifecycle.planning import checked, planned
from aios_db.lifecycle.principles import Cluster, Principle
from aios_db.lifecycle.writing import Writer, writer_of
from aios_db.schema.consolidations import Outcome, Report

if TYPE_CHECKING:
    from aios_db.store.store import MemoryStore

logger = logging.getLogger("aios_db.lifecycle")

_AT_ONCE = 256  # clusters in one commit


def consolidate(
    store: MemoryStore, options: Mapping[str, Any], *, dry_run: bool = False, trigger: str = "manual"
) -> list[Report]:
    """Make principles of the clusters of a store, and archive what they were made of.

    Parameters
    ----------
    options
        ``min_age_s``, ``min_cluster``, ``max_cluster``, ``min_affinity``, ``max_clusters`` and ``policy``;
        what is not given is the configuration's, and of any age.
    dry_run
        Only say what would be done.
    trigger
        What set it off, for the log: manual, schedule or pressure.

    Returns
    -------
    list of Report
        One for each commit: of memories of one owner.

    Raises
    ------
    ProgrammingError, DataError
        An option makes no sense.
    """
    wanted = checked(options, store.config.consolidation)
    clusters = planned(store, wanted)
    with writer_of(store) as writer:
        return [
            _consolidated(store, some, wanted["policy"], writer, dry_run=dry_run, trigger=trigger)
            for some in _by_owner(clusters)
        ]


def _by_owner(clusters: Sequence[Cluster]) -> Iterator[list[Cluster]]:
    def owner(each: Cluster) -> tuple[str, str]:
        return repr(each.user_id), repr(each.agent_id)

    for _, group in groupby(sorted(clusters, key=owner), owner):
        of_one = list(group)
        for start in range(0, len(of_one), _AT_ONCE):
            yield of_one[start : start + _AT_ONCE]


def _consolidated(
    store: MemoryStore,
    clusters: Sequence[Cluster],
    policy: str,
    writer: Writer,
    *,
    dry_run: bool,
    trigger: str,
) -> Report:
    begun, started_at = time.monotonic(), datetime.now(timezone.utc)
    tokens = writer.input_tokens, writer.output_tokens
    principles = writer.principles(clusters)
    owner = {"user_id": clusters[0].user_id, "agent_id": clusters[0].agent_id}
    rows = store.principle_rows(principles)
    compared = compare(store, principles, rows, policy, store.queries.sample())
    most = store.config.consolidation.max_loss
    entry = Consolidation(
        consolidation_id=str(uuid_utils.uuid7()),
        state="refused" if compared.loses_more(most) else "planned" if dry_run else "begun",
        trigger=trigger,
        **owner,
        policy=policy,
        sources=[each.memory_id for cluster in clusters for each in cluster.sources],
        principles=[],
        model=writer.model,
        fallbacks=sum(bool(each.notes) for each in principles),
        note=_note(principles, compared, most),
        input_tokens=writer.input_tokens - tokens[0],
        output_tokens=writer.output_tokens - tokens[1],
        queries=compared.queries,
        recall_before=compared.before,
        recall_after=compared.after,
        change_id=None,
        started_at=started_at,
        duration_s=time.monotonic() - begun,
    )
    if entry.state == "refused":
        logger.warning(
            "a consolidation was not committed: %s", entry.note, extra={"event": "consolidation_refused"}
        )
    if not dry_run:
        entry = (
            store.refuse_consolidation(entry)
            if entry.state == "refused"
            else _committed(store, principles, entry, begun)
        )
    return _report(entry, len(principles), dry_run=dry_run)


def _committed(
    store: MemoryStore, principles: Sequence[Principle], entry: Consolidation, begun: float
) -> Consolidation:
    done = store.consolidate_clusters(principles, replace(entry, duration_s=time.monotonic() - begun))
    logger.info(
        "consolidation %s: %d principles of %d memories",
        done.consolidation_id, len(done.principles), len(done.sources),
        extra={"event": "consolidated", "consolidation_id": done.consolidation_id},
    )  # fmt: skip
    return done


def _note(principles: Sequence[Principle], compared: Comparison, most: float) -> str | None:
    said = list(dict.fromkeys(note for each in principles for note in each.notes))
    if compared.loses_more(most):
        said.insert(
            0,
            f"{compared.loss:.3f} of what {compared.queries} past queries had found would be found no more; "
            f"consolidation.max_loss is {most:g}",
        )
    return "; ".join(said) or None


def _report(entry: Consolidation, planned_count: int, *, dry_run: bool) -> Report:
    outcome = {each.name: getattr(entry, each.name) for each in fields(Outcome)}
    if dry_run or entry.state == "broken_off":
        outcome["consolidation_id"] = None
    clusters = len(entry.principles) if entry.state == "committed" else planned_count
    return Report(**outcome, clusters=clusters, memories=len(entry.sources))
