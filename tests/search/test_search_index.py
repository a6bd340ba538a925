"""The index follows the tables: inserts, updates, deletes, links; reopened, it answers the same."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

import aios_db.search.keeping_up as keeping_up_module
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.retrieval import Filter
from aios_db.search.build import merge
from aios_db.search.index import SearchIndex


@pytest.fixture
def filled(tables, unit):
    tables.remember(
        *(
            {
                "memory_id": f"m{i}",
                "text": f"memory number{i} about {'tea' if i % 2 else 'coffee'}",
                "text_embedding": unit(i),
                "session_id": f"s{i // 5}",
                "user_id": "ann" if i < 10 else "bob",
            }
            for i in range(20)
        )
    )
    return tables


@pytest.fixture(params=["tail", "segment", "reopened", "both"])
def index(request, filled, unit):
    """The same twenty memories, in the tail, in a segment, mapped from disk, or half in each."""
    if request.param == "both":
        filled.forget("m19")
        filled.index.save()
        filled.remember(
            {"memory_id": "m19", "text": "memory number19 about tea", "text_embedding": unit(19),
             "session_id": "s3", "user_id": "bob"}
        )  # fmt: skip
    elif request.param != "tail":
        filled.index.save()
    if request.param == "reopened":
        filled.index = SearchIndex.open(filled.path / "index", 8)
        filled.sync()
    return filled


def test_vector_search_equals_numpy(index, unit):
    query = unit(99)
    exact = np.stack([unit(i) for i in range(20)]) @ query
    hits = index.index.vector_search(query, 5)
    expected = np.argsort(-exact)[:5]
    assert index.names(hits.row_ids) == [f"m{i}" for i in expected]
    np.testing.assert_allclose(hits.scores, exact[expected], rtol=1e-5)
    assert hits.mean == pytest.approx(exact.mean(), abs=1e-6)
    assert hits.std == pytest.approx(exact.std(), rel=1e-4)


def test_keyword_search_finds_the_word_and_equals_bm25(index):
    hits = index.index.keyword_search("tea number7?", 3)
    assert index.names(hits.row_ids)[0] == "m7"
    idf_tea = np.log(1 + (20 - 10 + 0.5) / 10.5)
    idf_7 = np.log(1 + (20 - 1 + 0.5) / 1.5)
    impact = 1.9 / (1 + 0.9)  # every memory has the mean length
    assert hits.scores[0] == pytest.approx((idf_tea + idf_7) * impact, rel=1e-5)
    assert hits.scores[1] == pytest.approx(idf_tea * impact, rel=1e-5)
    assert len(index.index.keyword_search("tea", 100).row_ids) == 10


def test_filters_apply_before_the_cut(index, unit):
    hits = index.index.vector_search(unit(0), 3, Filter(user_id="bob"))
    assert len(hits.row_ids) == 3
    assert {int(name[1:]) >= 10 for name in index.names(hits.row_ids)} == {True}
    hits = index.index.keyword_search("tea", 50, Filter(session_id="s1"))
    assert sorted(index.names(hits.row_ids)) == ["m5", "m7", "m9"]
    assert len(index.index.keyword_search("tea", 5, Filter(tier="long")).row_ids) == 0


def test_score_gives_both_scores_of_any_memory(index, unit):
    query, rows = unit(50), np.array([index.row("m3"), index.row("m4"), 12345])
    vector, keyword = index.index.vector_scores(query, rows), index.index.keyword_scores("tea", rows)
    np.testing.assert_allclose(vector.scores[:2], [unit(3) @ query, unit(4) @ query], rtol=1e-5)
    assert keyword.scores[0] > 0 == keyword.scores[1] == keyword.scores[2] == vector.scores[2]


def test_deleted_and_changed_memories(index, unit):
    index.forget("m7")
    assert index.row("m7") == -1
    assert "m7" not in index.names(index.index.keyword_search("number7", 5).row_ids)
    index.replace(
        {"memory_id": "m3", "text": "now about chess", "text_embedding": unit(300), "tier": "long"},
        {"memory_id": "m4", "text": "memory number4 about coffee", "text_embedding": unit(4), "tier": "long"},
    )
    assert index.names(index.index.keyword_search("chess", 5).row_ids) == ["m3"]
    assert len(index.index.keyword_search("number3", 5).row_ids) == 0
    assert index.names(index.index.vector_search(unit(300), 1).row_ids) == ["m3"]
    assert index.names(index.index.keyword_search("coffee", 5, Filter(tier="long")).row_ids) == ["m4"]
    mean = np.mean([unit(i) @ unit(1) for i in range(20) if i not in (3, 7)] + [unit(300) @ unit(1)])
    assert index.index.vector_search(unit(1), 1).mean == pytest.approx(mean, abs=1e-5)


def test_nearest_of_many(index, unit):
    vectors = np.stack([unit(i) for i in range(100, 104)])
    exact = vectors @ np.stack([unit(i) for i in range(20)]).T
    rows, cosines = index.index.kinship.nearest(vectors, 3)
    np.testing.assert_allclose(cosines, -np.sort(-exact, axis=1)[:, :3], rtol=1e-4)
    assert index.names(rows[0]) == [f"m{i}" for i in np.argsort(-exact[0])[:3]]
    rows, _ = index.index.kinship.nearest(vectors, 3, least=0.99)
    assert (rows == -1).all()


def test_ids_and_content(index):
    assert index.index.find_content(["hash of m5", "unknown"]).tolist() == [index.row("m5"), -1]
    assert index.index.find_ids([]).tolist() == []


def test_links_spread_and_delete(index):
    index.link(("m1", "m2", "next_in_session", 1.0), ("m2", "m3", "same_entity", 1.0))
    one, two, three = (index.row(name) for name in ("m1", "m2", "m3"))
    rows, arrived, distances = index.index.spread(np.array([one]), np.array([2.0]), 2)
    scores = dict(zip(rows.tolist(), zip(arrived.tolist(), distances.tolist(), strict=True), strict=True))
    assert scores[two] == (pytest.approx(0.5), 1)
    assert scores[three] == (pytest.approx(0.375), 2)
    assert scores[one][1] == 0
    rows, distances = index.index.neighbors(one, 2)
    assert (rows.tolist(), distances.tolist()) == ([two, three], [1, 2])
    index.index.save()
    index.links.delete("kind = 'next_in_session'")
    index.sync()
    assert index.index.neighbors(one, 2)[0].tolist() == []
    index.forget("m3")
    assert index.index.neighbors(two, 1)[0].tolist() == []


def test_bad_queries(index, unit):
    with pytest.raises(DataError, match="3 numbers, the memories have 8"):
        index.index.vector_search(np.zeros(3, np.float32), 5)
    with pytest.raises(DataError, match="NaN"):
        index.index.vector_search(np.full(8, np.nan, np.float32), 5)
    with pytest.raises(ProgrammingError, match="k is -1"):
        index.index.vector_search(unit(0), -1)
    assert len(index.index.vector_search(unit(0), 0).row_ids) == 0
    assert len(index.index.vector_search(unit(0), 10**6).row_ids) == 20
    for text in ("", " \0 ", "the of", "\0" * 10, "x" * 1_000_000, "tea " * 250_000):
        assert len(index.index.keyword_search(text, 10).row_ids) in (0, 10)


def test_a_damaged_index_is_read_again(filled, caplog):
    filled.index.save()
    pointer = filled.path / "index" / "CURRENT"
    segment: Path = filled.path / "index" / pointer.read_text()
    (segment / "rows.npy").write_bytes(b"garbage")
    again = SearchIndex.open(filled.path / "index", 8)
    assert "search index unusable" in caplog.text
    again.sync(filled.memories, filled.links)
    assert len(again.keyword_search("tea", 50).row_ids) == 10


def test_a_reader_takes_the_segment_that_a_writer_saved(filled, monkeypatch):
    reader = SearchIndex.open(filled.path / "index", 8)
    reader.sync(filled.memories, filled.links)
    assert reader.growing_rows == 20
    filled.index.save()
    monkeypatch.setattr(keeping_up_module, "_FEW_GROWING", 10)
    filled.remember({"memory_id": "new", "text": "one more"})
    reader.sync(filled.memories, filled.links)
    assert reader.growing_rows == 1
    assert len(reader) == 21


def test_writing_goes_on_while_a_segment_is_saved(filled, monkeypatch):
    def merge_slowly(state):
        filled.remember({"memory_id": "during", "text": "written meanwhile"})
        filled.forget("m2")
        filled.link(("m1", "during", "user", 1.0))
        return merge(state)

    monkeypatch.setattr(keeping_up_module, "merge", merge_slowly)
    filled.index.save()
    assert filled.index.growing_rows == 1
    assert filled.names(filled.index.keyword_search("meanwhile", 5).row_ids) == ["during"]
    assert filled.row("m2") == -1
    assert filled.index.neighbors(filled.row("m1"), 1)[0].tolist() == [filled.row("during")]
    assert len(filled.index) == 20


@pytest.mark.parametrize("saved", [False, True])
def test_deletions_are_found_when_lance_cleaned_the_old_version_up(filled, saved):
    filled.link(("m1", "m2", "user", 1.0), ("m2", "m3", "user", 1.0))
    if saved:
        filled.index.save()
    filled.memories.delete("memory_id = 'm1'")
    filled.links.delete("target_id = 'm3'")
    for dataset in (filled.memories, filled.links):
        dataset.cleanup_old_versions(older_than=dt.timedelta(0))
    filled.sync()
    assert len(filled.index) == 19
    assert filled.row("m1") == -1
    assert filled.index.neighbors(filled.row("m2"), 1)[0].tolist() == []


@pytest.mark.parametrize("saved", [False, True])
def test_links_made_by_recall_do_not_weaken_others(tables, unit, saved):
    tables.remember(*({"memory_id": f"m{i}", "text": "tea", "text_embedding": unit(i)} for i in range(20)))
    tables.link(("m0", "m1", "same_entity", 1.0), ("m0", "m2", "user", 0.5))

    def arrived():
        rows, scores, _ = tables.index.spread(np.array([tables.row("m0")]), np.ones(1), 1)
        found = dict(zip(tables.names(rows), scores.tolist(), strict=True))
        return [found["m1"], found["m2"]]

    before = arrived()
    tables.link(*((f"m{i}", f"m{j}", "recalled_together", 1.0) for i in range(2) for j in range(3, 19)))
    if saved:
        tables.index.save()
    assert arrived() == pytest.approx(before, rel=1e-6)
