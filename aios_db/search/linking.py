"""Which links new memories get. No model is asked: all of it follows from order, names, titles and vectors.

What each kind is worth was measured on conversations (LoCoMo) and multi-hop questions (HotpotQA): the next
two turns of a session are worth most in conversations, mentioned titles in collections of passages; shared
names and similar vectors change little, so they are few and weigh less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.config import LinksConfig
from aios_db.schema.retrieval import Filter, RowIds
from aios_db.search.graph import SIMILAR, kind_code
from aios_db.search.labels import name_label, session_label, title_label
from aios_db.search.phrases import mention_shares, possible_mentions, title_keys
from aios_db.search.visible import Linkable

_STEPS = 2  # a turn is linked with the next one and, since that is the other speaker's, the next but one
_NAME_WEIGHT = 0.1
_NEAR = 8  # memories before a picture or sound without words that it may belong to
_MOST_MENTIONING = 64  # a title of or in more texts than this is a common word
_FEW_MENTIONING = 8  # a name in so many texts is rare; in four times as many, it counts half


@dataclass(frozen=True)
class NewMemories:
    """Memories just written and already in the index, as parallel columns in the order they were written.

    ``rows`` is int64 ``(n,)``, ``vectors`` float32 ``(n, dimension)``, zeros where there is none.
    """

    rows: RowIds
    texts: Sequence[str]
    titles: Sequence[str | None]
    user_ids: Sequence[str | None]
    agent_ids: Sequence[str | None]
    session_ids: Sequence[str | None]
    speakers: Sequence[str | None]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class ProposedLinks:
    """Links by the row ids of their ends, as parallel columns.

    Row ids are int64, ``kinds`` uint8 places in `association_links.KINDS`, ``weights`` float32.
    """

    sources: RowIds
    targets: RowIds
    kinds: NDArray[np.uint8]
    weights: NDArray[np.float32]


Link = tuple[int, int, float]


def propose_links(
    index: Linkable, new: NewMemories, config: LinksConfig, texts_of: Callable[[RowIds], Sequence[str]]
) -> ProposedLinks:
    """Return the links that new memories should get, each pair of memories and kind once.

    A link starts at the memory that was written later, so that the links of older ones stay as they are; but
    a turn links to the next, and a mention to the title.

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
    return _distinct(
        [
            _columns("next_in_session", _next_in_session(index, new)),
            _between_titles(index, _mentioned_titles(index, new)),
            _between_titles(index, _mentions_of_new_titles(index, new, texts_of)),
            _columns("same_entity", _shared_names(index, new, config)),
            _columns("cross_modal", _across_modalities(index, new, config)),
            _similar(index, new, config),
        ]
    )


def _columns(kind: str, links: Iterable[Link]) -> ProposedLinks:
    columns = list(zip(*links, strict=True)) or [(), (), ()]
    return ProposedLinks(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int64),
        np.full(len(columns[0]), kind_code(kind), np.uint8),
        np.array(columns[2], np.float32),
    )


def _distinct(proposed: Sequence[ProposedLinks]) -> ProposedLinks:
    """Return each pair and kind as it was proposed first, with the greatest weight of all its proposals."""
    names = ("sources", "targets", "kinds", "weights")
    sources, targets, kinds, weights = (
        np.concatenate([getattr(each, name) for each in proposed]) for name in names
    )
    low, high = np.minimum(sources, targets), np.maximum(sources, targets)
    order = np.lexsort((kinds, high, low))
    order = order[low[order] != high[order]]
    if not len(order):
        return ProposedLinks(sources[:0], targets[:0], kinds[:0], weights[:0])
    same = np.ones(len(order), np.bool_)
    same[0] = False
    for column in (low, high, kinds):
        same[1:] &= column[order[1:]] == column[order[:-1]]
    starts = np.flatnonzero(~same)
    first = order[starts]
    return ProposedLinks(
        sources[first], targets[first], kinds[first], np.maximum.reduceat(weights[order], starts)
    )


def _next_in_session(index: Linkable, new: NewMemories) -> Iterator[Link]:
    sessions: dict[tuple[str | None, str | None, str], list[int]] = {}
    scopes = zip(new.rows.tolist(), new.user_ids, new.agent_ids, new.session_ids, strict=True)
    for row, user, agent, session in scopes:
        if session is not None:
            sessions.setdefault((user, agent, session), []).append(row)
    for scope, rows in sessions.items():
        user, agent, session = scope
        here = Filter(user_id=user, agent_id=agent, session_id=session)
        turns = index.labelled_around(session_label(*scope), np.array(rows), _STEPS, here).tolist()
        new_rows = set(rows)
        for step in range(1, _STEPS + 1):
            for source, target in zip(turns[:-step], turns[step:], strict=True):
                if source in new_rows or target in new_rows:
                    yield source, target, 1.0


def _mentioned_titles(index: Linkable, new: NewMemories) -> Iterator[Link]:
    """Link a new text with the memories whose title it mentions."""
    if not index.has_titles:
        return
    for row, text in zip(new.rows.tolist(), new.texts, strict=True):
        keys = {title_label(key): key for key in possible_mentions(text)}
        present = [keys[label] for label in index.present_labels(list(keys))]
        for key, share in mention_shares(text, present).items() if present else ():
            weight = share * _rarity(index, key)
            for target in index.labelled(title_label(key), _MOST_MENTIONING).tolist() if weight else ():
                yield row, target, weight


def _mentions_of_new_titles(
    index: Linkable, new: NewMemories, texts_of: Callable[[RowIds], Sequence[str]]
) -> Iterator[Link]:
    """Link an older memory whose text mentions a new title."""
    first = int(new.rows.min()) if len(new.rows) else 0
    candidates = []
    for row, title in zip(new.rows.tolist(), new.titles, strict=True):
        for key in title_keys(title) if title else ():
            if index.label_count(title_label(key)) > _MOST_MENTIONING:
                continue
            older = index.holding_all(key, _MOST_MENTIONING)
            candidates += [(source, row, key) for source in older[older < first].tolist()]
    if not candidates:
        return
    rows = np.unique(np.array([source for source, _, _ in candidates], np.int64))
    keys: dict[int, set[str]] = {}
    for source, _, key in candidates:
        keys.setdefault(source, set()).add(key)
    shares = {
        row: mention_shares(text, keys[row]) for row, text in zip(rows.tolist(), texts_of(rows), strict=True)
    }
    for source, row, key in candidates:
        weight = shares[source].get(key, 0.0) * _rarity(index, key)
        if weight:
            yield source, row, weight


def _rarity(index: Linkable, key: str) -> float:
    """Return how much it says that a text holds a name: 1 when few do, 0 when it is a common word."""
    texts = index.label_count(name_label(key))
    return 0.0 if texts > _MOST_MENTIONING else min(1.0, math.sqrt(_FEW_MENTIONING / max(texts, 1)))


def _between_titles(index: Linkable, links: Iterable[Link]) -> ProposedLinks:
    """Return mentions without those among passages of one title, which the title itself brings together."""
    found = _columns("same_entity", links)
    source, target = index.title_names(found.sources), index.title_names(found.targets)
    keep = (source != target) | (source == 0)
    return ProposedLinks(*(column[keep] for column in vars(found).values()))


def _shared_names(index: Linkable, new: NewMemories, config: LinksConfig) -> Iterator[Link]:
    """Link memories without titles that hold the same rare names; the rarer, the more a name counts.

    A titled passage is linked by its title; names besides blur that (HotpotQA: recall@5 .930, .945 without).
    """
    if config.entity_links == 0:
        return
    speakers = {speaker.lower() for speaker in new.speakers if speaker}
    for row, text, title in zip(new.rows.tolist(), new.texts, new.titles, strict=True):
        names = () if title else index.names(row, text)
        if not names:
            continue
        shared: Counter[int] = Counter()
        for phrase in names:
            if phrase in speakers:
                continue
            others = index.labelled(name_label(phrase), config.entity_max_memories)
            for other in others.tolist():
                shared[other] += 1 / len(others)  # type: ignore[assignment]  # a Counter of floats
        del shared[row]
        for other, strength in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[
            : config.entity_links
        ]:
            yield max(other, row), min(other, row), _NAME_WEIGHT * min(strength, 1.0)


def _across_modalities(index: Linkable, new: NewMemories, config: LinksConfig) -> Iterator[Link]:
    """Link a picture or sound without words with what else came in its session, or about when it did.

    What has words is linked by them; of what has none, nothing else says what it belongs to. Of many memories
    that one call brings, when they were written says nothing; when they occurred does.
    """
    if config.cross_modal_window_s == 0 or not len(new.rows):
        return
    around = max(0, int(new.rows.min()) - _NEAR), int(new.rows.max()) + 1
    rows, told = index.described(*around, ["modalities"])
    kinds = [frozenset(each) for each in told["modalities"].to_pylist()]
    if all("text" in each for each in kinds):
        return
    _, told = index.described(*around, ["user_id", "agent_id", "session_id", "occurred_at", "created_at"])
    scopes = list(zip(told["user_id"].to_pylist(), told["agent_id"].to_pylist(), strict=True))
    sessions = told["session_id"].to_pylist()
    moments = pc.coalesce(told["occurred_at"], told["created_at"]).cast(pa.int64()).to_numpy()
    in_bulk = (
        np.isin(rows, new.rows) & (len(new.rows) > _NEAR) & told["occurred_at"].is_null().to_numpy(False)
    )
    fresh = np.isin(rows, new.rows).tolist()
    for later in range(len(rows)):
        for earlier in range(max(0, later - _NEAR), later):
            wordless = "text" not in kinds[later] or "text" not in kinds[earlier]
            same = sessions[later] is not None and sessions[later] == sessions[earlier]
            apart = abs(int(moments[later]) - int(moments[earlier]))
            timed = not (in_bulk[later] and in_bulk[earlier])
            near = same or (timed and apart <= config.cross_modal_window_s * 1e6)
            there = (fresh[later] or fresh[earlier]) and scopes[later] == scopes[earlier]
            if wordless and near and there and kinds[later] != kinds[earlier]:
                yield int(rows[later]), int(rows[earlier]), 1.0


def _similar(index: Linkable, new: NewMemories, config: LinksConfig) -> ProposedLinks:
    count = config.similar_neighbors
    if count == 0:
        return _columns("similar", ())
    others, cosines = index.nearest(new.vectors, count + 1, config.similar_threshold)
    rows = np.broadcast_to(new.rows[:, np.newaxis], others.shape)
    wanted = (others >= 0) & (others != rows)
    wanted &= np.cumsum(wanted, axis=1) <= count  # a memory may not have been found itself
    others, rows = others[wanted], rows[wanted]
    return ProposedLinks(
        np.maximum(others, rows),
        np.minimum(others, rows),
        np.full(len(rows), SIMILAR, np.uint8),
        np.minimum(cosines[wanted], np.float32(1)),
    )
