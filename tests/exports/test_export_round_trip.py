"""A new database that imports an export is the one that was exported; to import it again changes nothing."""

from __future__ import annotations

import shutil
import string
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from export_helpers import DIMENSION, open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_db.exports import export, read_export
from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import ProgrammingError
from aios_db.store.tables import table_from

# No line ends of Unicode, quotes or backslashes may be lost in JSON.
ODD = st.sampled_from(string.ascii_letters + ' "\\\n\u2028é')
TEXTS = st.text(st.one_of(ODD, st.characters(codec="utf-8")))
VECTORS = st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).standard_normal(DIMENSION).tolist())
NAMES = st.one_of(st.none(), st.sampled_from(["ann", "bob"]))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc))
MEMORIES = st.fixed_dictionaries(
    {"text": TEXTS.map(lambda text: f"m {text}")},
    optional={
        "title": TEXTS, "kind": st.sampled_from(["message", "document", "my own"]),
        "media": st.binary(min_size=1), "media_type": st.just("image/png"),
        "user_id": NAMES, "session_id": NAMES, "speaker": NAMES, "occurred_at": MOMENTS,
        "tier": st.sampled_from(["short", "long", "archived"]), "importance": st.floats(0, 1, width=32),
        "trust": st.floats(0, 1, width=32), "source": NAMES,
        "metadata": st.dictionaries(TEXTS, st.one_of(st.none(), st.integers(-9, 9), TEXTS), max_size=2),
        "external_id": st.sampled_from(["x", "y", "z"]),
        "text_embedding": VECTORS,
    },
)  # fmt: skip


def content(store: MemoryStore) -> dict[str, Any]:
    """Return all rows of an open database, with counts."""
    store.flush()
    store.refresh()
    rows = store.memories.to_table().combine_chunks().to_batches()
    shown = pa.Table.from_batches([store.recalls.with_counts(each) for each in rows], store.memories.schema)
    memories = shown.sort_by("memory_id").to_pylist()
    for each in memories:
        each["association_links"] = sorted(each["association_links"] or [], key=str)
    return {"memories": memories, "links": sorted(store.links.to_table().to_pylist(), key=str)}


def versions(store: MemoryStore) -> tuple[int, int]:
    store.refresh()
    return store.memories.version, store.links.version


@pytest.mark.parametrize("name", ["exported", "exported.jsonl"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(MEMORIES, min_size=1, max_size=6), chosen=st.data())
def test_import_after_export_is_the_identity(name, rows, chosen):
    place = Path(tempfile.mkdtemp())
    try:
        store, again = (open_store(place / each) for each in ("a.aios", "b.aios"))
        store.remember(table_from(rows[:2]), append=True)
        ids = list(dict.fromkeys(store.remember(table_from(rows), fold=chosen.draw(st.booleans()))))
        if len(ids) > 1 and chosen.draw(st.booleans()):
            with suppress(ProgrammingError):  # they may be of different users
                store.link(pa.table({"source_id": ids[:1], "target_id": ids[1:2], "weight": [0.5]}))
            store.touch(ids[:2])
        before = content(store)
        report = export(store, place / name)
        assert (report.memories, report.links) == (len(before["memories"]), len(before["links"]))
        taken = read_export(again, place / name)
        assert (taken.read, taken.stored, taken.links) == (report.memories, report.memories, report.links)
        assert content(again) == before
        written = versions(again)
        for target in (again, store):
            once_more = read_export(target, place / name)
            assert (once_more.read, once_more.merged, once_more.links) == (
                report.memories,
                report.memories,
                0,
            )
            assert content(target) == before
        assert versions(again) == written
        store.close()
        again.close()
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("name", ["exported", "exported.jsonl"])
def test_what_is_here_under_another_id_gets_the_links(tmp_path, name):
    """A mirror that remembered the same by itself keeps its ids, and the links are between those."""
    there, here = (open_store(tmp_path / each) for each in ("a.aios", "b.aios"))
    names = there.remember(table_from(["tea", "coffee", "milk"]))
    there.link(pa.table({"source_id": names[:2], "target_id": names[1:], "kind": ["with", "with"]}))
    export(there, tmp_path / name)
    (own,) = here.remember(table_from(["coffee"]))
    report = read_export(here, tmp_path / name)
    assert (report.stored, report.merged, report.links) == (2, 1, 2)
    links = {
        (each["source_id"], each["target_id"]) for each in content(here)["links"] if each["kind"] == "with"
    }
    assert links == {(names[0], own), (own, names[2])}
    assert read_export(here, tmp_path / name).links == 0
    there.close()
    here.close()


def test_counts_and_times_are_kept(tmp_path):
    there, here = (open_store(tmp_path / each) for each in ("a.aios", "b.aios"))
    long_ago = datetime.now(timezone.utc) - timedelta(days=1)
    (name,) = there.remember(pa.table({"text": ["tea"], "occurred_at": [long_ago]}))
    for _ in range(3):
        there.touch([name])
    export(there, tmp_path / "exported.jsonl")
    read_export(here, tmp_path / "exported.jsonl")
    (row,) = content(here)["memories"]
    assert (row["memory_id"], row["access_count"], row["occurred_at"]) == (name, 3, long_ago)
    here.touch([name])
    assert content(here)["memories"][0]["access_count"] == 4
    there.close()
    here.close()
