"""Consolidation from plan to commit: what is planned is written, compared with what was, and stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Any

import uuid_utils

from aios_db.lifecycle.comparing import Comparison, compare
from aios_db.lifecycle.log import Consolidation
from aios_db.lifecycle.planning import checked, planned
from aios_db.lifecycle.principles import Cluster, Principle
from aios_db.lifecycle.writing import Writer, writer_of
from aios_db.schema.amounts import amount
from aios_db.schema.consolidations import Outcome, Report

if TYPE_CHECKING:
    from aios_db.lifecycle.committing import Consolidating

logger = logging.getLogger("aios_db.lifecycle")

_AT_ONCE = 256  # clusters in one commit
_HALVINGS = 4  # of a commit that loses too much, until what loses it is refused


@dataclass(frozen=True)
class _How:
    policy: str
    trigger: str
    dry_run: bool


@dataclass(frozen=True)
class _Written:
    """Principles of one owner, and what it took to write them."""

    principles: Sequence[Principle]
    model: str
    input_tokens: int
    output_tokens: int
    begun: float
    started_at: datetime
    halvings: int = 0

    def halves(self) -> tuple[_Written, _Written]:
        """Return the two halves; what writing took is noted of the first."""
        middle = len(self.principles) // 2
        first = replace(self, principles=self.principles[:middle], halvings=self.halvings + 1)
        rest = replace(first, principles=self.principles[middle:], input_tokens=0, output_tokens=0)
        return first, rest


def consolidate(
    consolidating: Consolidating,
    options: Mapping[str, Any],
    *,
    dry_run: bool = False,
    trigger: str = "manual",
) -> list[Report]:
    """Make principles of the clusters of a database, and archive what they were made of.

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
    database = consolidating.database
    wanted = checked(options, database.config.consolidation)
    clusters = planned(database, wanted)
    how = _How(wanted["policy"], trigger, dry_run=dry_run)
    with writer_of(database) as writer:
        return [
            report
            for some in _by_owner(clusters)
            for report in _within_budget(consolidating, _written(some, writer), how)
        ]


def _by_owner(clusters: Sequence[Cluster]) -> Iterator[list[Cluster]]:
    def owner(each: Cluster) -> tuple[str, str]:
        return repr(each.user_id), repr(each.agent_id)

    for _, group in groupby(sorted(clusters, key=owner), owner):
        of_one = list(group)
        for start in range(0, len(of_one), _AT_ONCE):
            yield of_one[start : start + _AT_ONCE]


def _written(clusters: Sequence[Cluster], writer: Writer) -> _Written:
    begun, started_at = time.monotonic(), datetime.now(timezone.utc)
    tokens = writer.input_tokens, writer.output_tokens
    principles = writer.principles(clusters)
    spent = writer.input_tokens - tokens[0], writer.output_tokens - tokens[1]
    return _Written(principles, writer.model, *spent, begun, started_at)


def _within_budget(consolidating: Consolidating, written: _Written, how: _How) -> Iterator[Report]:
    """Commit what loses no more than is left to lose, half by half; refuse the rest, and yield reports."""
    database, principles = consolidating.database, written.principles
    most = database.config.consolidation.max_loss
    rows = consolidating.principle_rows(principles)
    compared = compare(database, principles, rows, how.policy, database.queries.sample())
    cluster = principles[0].cluster
    lost = consolidating.log.lost(cluster.user_id, cluster.agent_id)
    is_refused = compared.loses_more(most, lost)
    if is_refused and len(principles) > 1 and written.halvings < _HALVINGS:
        for half in written.halves():
            yield from _within_budget(consolidating, half, how)
        return
    entry = Consolidation(
        consolidation_id=str(uuid_utils.uuid7()),
        state="refused" if is_refused else "planned" if how.dry_run else "begun",
        trigger=how.trigger,
        user_id=cluster.user_id,
        agent_id=cluster.agent_id,
        policy=how.policy,
        sources=[source.memory_id for each in principles for source in each.cluster.sources],
        principles=[],
        model=written.model,
        fallbacks=sum(bool(each.notes) for each in principles),
        note=_note(principles, compared, most, lost),
        input_tokens=written.input_tokens,
        output_tokens=written.output_tokens,
        queries=compared.queries,
        recall_before=compared.before,
        recall_after=compared.after,
        change_id=None,
        started_at=written.started_at,
        duration_s=time.monotonic() - written.begun,
    )
    if is_refused:
        logger.warning(
            "a consolidation was not committed: %s", entry.note, extra={"event": "consolidation_refused"}
        )
    if not how.dry_run:
        entry = (
            consolidating.refuse(entry)
            if is_refused
            else _committed(consolidating, principles, entry, written.begun)
        )
    yield _report(entry, len(principles), dry_run=how.dry_run)


def _committed(
    consolidating: Consolidating, principles: Sequence[Principle], entry: Consolidation, begun: float
) -> Consolidation:
    done = consolidating.consolidate_clusters(principles, replace(entry, duration_s=time.monotonic() - begun))
    logger.info(
        "consolidation %s: %s of %s",
        done.consolidation_id, amount(len(done.principles), "principle"), amount(len(done.sources), "memory"),
        extra={"event": "consolidated", "consolidation_id": done.consolidation_id},
    )  # fmt: skip
    return done


def _note(principles: Sequence[Principle], compared: Comparison, most: float, lost: float) -> str | None:
    said = list(dict.fromkeys(note for each in principles for note in each.notes))
    if compared.loses_more(most, lost):
        before = f", and {lost:.3f} was lost by those before" if lost else ""
        said.insert(
            0,
            f"{compared.loss:.3f} of what {compared.queries} past queries had found would be found no more"
            f"{before}; consolidation.max_loss is {most:g}",
        )
    return "; ".join(said) or None


def _report(entry: Consolidation, planned_count: int, *, dry_run: bool) -> Report:
    outcome = {each.name: getattr(entry, each.name) for each in fields(Outcome)}
    if dry_run or entry.state == "broken_off":
        outcome["consolidation_id"] = None
    clusters = len(entry.principles) if entry.state == "committed" else planned_count
    return Report(**outcome, clusters=clusters, memories=len(entry.sources))
