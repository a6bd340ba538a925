"""Whoever has a view is answered as they were when it was published, whatever was written since."""

from __future__ import annotations

import datetime as dt
import random
import threading
from typing import Any

import numpy as np
import pytest

from aios_db.schema.retrieval import Filter
from aios_db.search.answers import Answers
from aios_db.search.labels import name_label

WORDS = ("tea", "coffee", "chess", "rain", "Berlin", "Ada Lovelace", "42")
NAMES = [f"m{number}" for number in range(30)]
PASSED = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)


def answers(index: Answers, unit: Any) -> list[Any]:
    """Everything that an index can be asked."""
    found: list[Any] = []
    for word in WORDS:
        for where in (None, Filter(tier="long"), Filter(min_trust=0.6)):
            hits = index.keyword_search(word, 50, where, by_trust=True)
            found.append([hits.row_ids.tolist(), hits.scores.tolist(), str(hits.mean), str(hits.std)])
        found.append(index.kinship.labelled(name_label(word.casefold()), 99).tolist())
        found.append(index.kinship.holding_all(word, 99).tolist())
    for seed in range(3):
        hits = index.vector_search(unit(seed), 50)
        found.append([hits.row_ids.tolist(), hits.scores.tolist(), str(hits.mean), str(hits.std)])
    rows = np.sort(index.rows())
    found += [rows.tolist(), index.trust(rows).tolist(), index.classes(rows).tolist(), index.held()]
    found += [
        index.find_ids(NAMES).tolist(),
        index.find_content([f"hash of {name}" for name in NAMES]).tolist(),
    ]
    found += [index.memories(NAMES)[1].to_pylist(), index.times(rows).tolist()]
    found.append([column.tolist() for column in index.spread(rows[::2], np.ones(len(rows[::2])), 2)])
    links = vars(index.links()).values()
    found.append(sorted(zip(*(column.tolist() for column in links), strict=True)))
    return found


class Writes:
    """Anything that can happen to the tables, at random."""

    def __init__(self, tables: Any, unit: Any, seed: int) -> None:
        self.tables, self.unit, self.random = tables, unit, random.Random(seed)
        self.there: set[str] = set()

    def memory(self, name: str) -> dict[str, Any]:
        chosen = self.random.choice
        return {
            "memory_id": name,
            "text": " ".join(chosen(WORDS) for _ in range(4)),
            "title": chosen([None, "Berlin", "Tea"]),
            "tier": chosen(["short", "long"]),
            "trust": chosen([1.0, 1.0, 0.7, 0.3]),
            "session_id": chosen([None, "s"]),
            "derived_from": [chosen(NAMES)] if chosen([True, False]) else None,
            "expires_at": chosen([None, None, PASSED]),
            "text_embedding": self.unit(self.random.randrange(9)),
        }

    def step(self) -> None:
        """Do one thing."""
        tables, there = self.tables, sorted(self.there)
        act = self.random.choice([0, 1, 2, 3, 4, 5, 5, 6, 6, 7])
        absent = [name for name in NAMES if name not in self.there]
        if (act < 2 and absent) or len(there) < 4:
            some = self.random.sample(absent, min(3, len(absent)))
            self.there.update(some)
            tables.remember(*map(self.memory, some))
        elif act == 2:
            self.there.discard(there[0])
            tables.forget(there[0])
        elif act == 3:
            tables.replace(*map(self.memory, self.random.sample(there, 2)))
        elif act == 4:
            tables.memories.update({"tier": "'long'"}, f"memory_id = '{self.random.choice(there)}'")
            tables.sync()
        elif act == 5:
            ends = (self.random.sample(there, 2) for _ in range(3))
            tables.link(*((a, b, "similar", self.random.choice([0.2, 0.9])) for a, b in ends))
        elif act == 6:
            chosen, weight = self.random.choice(there), self.random.choice(["0.1", "0.5", "0.7"])
            tables.links.update({"weight": weight}, f"source_id = '{chosen}' OR target_id = '{chosen}'")
            tables.links.delete(f"target_id = '{self.random.choice(there)}'")
            tables.sync()
        else:
            tables.index.save()


@pytest.mark.parametrize("seed", range(4))
def test_every_view_answers_as_it_did(tables, unit, seed, monkeypatch):
    monkeypatch.setattr("aios_db.search.graph._RUN", (4, 64)[seed % 2])  # links lie in runs or alone
    monkeypatch.setattr("aios_db.search.postings._BULK", 64)
    monkeypatch.setattr("aios_db.search.stored_rows._MOST_RECENT", 3)
    writes, held = Writes(tables, unit, seed), []
    for _ in range(30):
        writes.step()
        view = tables.index.pinned()
        held.append((view, answers(view, unit)))
        for other in (tables.index, held[0][0]):  # each remembers what it was asked
            answers(other, unit)
    for number, (view, wanted) in enumerate(held):
        assert answers(view, unit) == wanted, number


def test_readers_beside_a_writer_see_one_state_each(tables, unit):
    """A memory and its double are always written together, and deleted so."""
    tables.remember(*({"memory_id": f"{name}0", "text": "tea", "text_embedding": unit(1)} for name in "ab"))
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            index = tables.index.pinned()
            rows = index.keyword_search("tea", 99).row_ids
            names = index.memory_ids(rows).to_pylist()
            known, found = index.memories(names)
            if sorted(name[1:] for name in names if name[0] == "a") != sorted(
                name[1:] for name in names if name[0] == "b"
            ):
                wrong.append(f"half of {sorted(names)}")
            if not known.all() or set(found["text"].to_pylist()) != {"tea"}:
                wrong.append(f"{names} are not all there")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for each in readers:
        each.start()
    for number in range(1, 20):
        pair = (
            {"memory_id": f"{name}{number}", "text": "tea", "text_embedding": unit(number)} for name in "ab"
        )
        tables.remember(*pair)
        if number % 3 == 0:
            tables.memories.delete(f"memory_id IN ('a{number - 1}', 'b{number - 1}')")
            tables.sync()
        if number % 5 == 0:
            tables.index.save()
    done.set()
    for each in readers:
        each.join()
    assert wrong == []
