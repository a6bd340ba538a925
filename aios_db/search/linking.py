"""Which links new memories get. No model is asked: all of it follows from order, names, titles and vectors.

What each kind is worth was measured on conversations (LoCoMo) and multi-hop questions (HotpotQA): the next
two turns of a session are worth most in conversations, mentioned titles in collections of passages; shared
names and similar vectors change little, so they are few and weigh less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aios_db.schema.config import LinksConfig
from aios_db.schema.retrieval import Rows
from aios_db.search.index import SearchIndex
from aios_db.search.labels import name_label, session_label, title_label
from aios_db.search.phrases import mentions, phrases, possible_mentions, title_keys

_STEPS = 2  # a turn is linked with the next one and, since that is the other speaker's, the next but one
_NAME_WEIGHT = 0.1
_MOST_MENTIONING = 64  # a title in more texts than this is a common word


@dataclass(frozen=True)
class NewMemories:
    """Memories just written and already in the index, as parallel columns in the order they were written."""

    rows: Rows
    texts: Sequence[str]
    titles: Sequence[str | None]
    user_ids: Sequence[str | None]
    agent_ids: Sequence[str | None]
    session_ids: Sequence[str | None]
    speakers: Sequence[str | None]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class ProposedLinks:
    """Links by row id, as parallel columns."""

    sources: Rows
    targets: Rows
    kinds: list[str]
    weights: NDArray[np.float32]


Link = tuple[int, int, str, float]


def propose_links(
    index: SearchIndex, new: NewMemories, config: LinksConfig, texts_of: Callable[[Rows], Sequence[str]]
) -> ProposedLinks:
    """Return the links that new memories should get, each pair of memories and kind once.

    Parameters
    ----------
    index
        Already synchronised with a table that holds the new memories.
    new
        The memories to link.
    config
        Thresholds and caps.
    texts_of
        Reads the texts of stored memories; called at most once, and only when a new title may be mentioned
        in one.
    """
    found: dict[tuple[int, int, str], float] = {}
    for links in (
        _next_in_session(index, new),
        _mentioned_titles(index, new),
        _mentions_of_new_titles(index, new, texts_of),
        _shared_names(index, new, config),
        _similar(index, new, config),
    ):
        for source, target, kind, weight in links:
            if source != target and (target, source, kind) not in found:
                key = (source, target, kind)
                found[key] = max(weight, found.get(key, 0.0))
    columns = np.array([(source, target) for source, target, _ in found], np.int64).reshape(-1, 2)
    weights = np.fromiter(found.values(), np.float32, len(found))
    return ProposedLinks(columns[:, 0], columns[:, 1], [kind for _, _, kind in found], weights)


def _next_in_session(index: SearchIndex, new: NewMemories) -> Iterator[Link]:
    sessions: dict[int, list[int]] = {}
    scopes = zip(new.rows.tolist(), new.user_ids, new.agent_ids, new.session_ids, strict=True)
    for row, user, agent, session in scopes:
        if session is not None:
            sessions.setdefault(session_label(user, agent, session), []).append(row)
    for label, rows in sessions.items():
        before = index.last_labelled(label, min(rows), _STEPS)
        turns = [*before.tolist(), *sorted(rows)]
        for step in range(1, _STEPS + 1):
            for source, target in zip(turns[:-step], turns[step:], strict=True):
                if target >= rows[0]:
                    yield source, target, "next_in_session", 1.0


def _mentioned_titles(index: SearchIndex, new: NewMemories) -> Iterator[Link]:
    """Link a new text with the memories whose title it mentions."""
    if not index.has_titles:
        return
    for row, text in zip(new.rows.tolist(), new.texts, strict=True):
        labels = [title_label(key) for key in possible_mentions(text)]
        for target in index.any_labelled(labels, _MOST_MENTIONING).tolist():
            yield row, target, "same_entity", 1.0


def _mentions_of_new_titles(
    index: SearchIndex, new: NewMemories, texts_of: Callable[[Rows], Sequence[str]]
) -> Iterator[Link]:
    """Link an older memory whose text mentions a new title."""
    first = int(new.rows.min()) if len(new.rows) else 0
    candidates = []
    for row, title in zip(new.rows.tolist(), new.titles, strict=True):
        for key in title_keys(title) if title else ():
            older = index.holding_all(key, _MOST_MENTIONING)
            candidates += [(source, row, title) for source in older[older < first].tolist()]
    if not candidates:
        return
    rows = np.unique(np.array([source for source, _, _ in candidates], np.int64))
    texts = dict(zip(rows.tolist(), texts_of(rows), strict=True))
    for source, row, title in candidates:
        if title is not None and mentions(texts[source], title):
            yield source, row, "same_entity", 1.0


def _shared_names(index: SearchIndex, new: NewMemories, config: LinksConfig) -> Iterator[Link]:
    """Link memories without titles that hold the same rare names; the rarer, the more a name counts.

    A titled passage is linked by its title; names besides blur that (HotpotQA: recall@5 .930, .945 without).
    """
    if config.entity_links == 0:
        return
    speakers = {speaker.lower() for speaker in new.speakers if speaker}
    for row, text, title in zip(new.rows.tolist(), new.texts, new.titles, strict=True):
        if title:
            continue
        shared: Counter[int] = Counter()
        for phrase in phrases(text):
            if phrase in speakers:
                continue
            others = index.labelled(name_label(phrase), config.entity_max_memories)
            for other in others.tolist():
                shared[other] += 1 / len(others)  # type: ignore[assignment]  # a Counter of floats
        del shared[row]
        for other, strength in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[
            : config.entity_links
        ]:
            yield min(other, row), max(other, row), "same_entity", _NAME_WEIGHT * min(strength, 1.0)


def _similar(index: SearchIndex, new: NewMemories, config: LinksConfig) -> Iterator[Link]:
    count = config.similar_neighbors
    if count == 0:
        return
    found, cosines = index.nearest(new.vectors, count + 1, config.similar_threshold)
    for row, others, values in zip(new.rows.tolist(), found.tolist(), cosines.tolist(), strict=True):
        for other, cosine in zip(others, values, strict=True):
            if other >= 0 and other != row:
                yield min(other, row), max(other, row), "similar", min(cosine, 1.0)
