"""Questions whose answer is in a passage that another one names: chains, passages of one title, homonyms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig

pytestmark = pytest.mark.sql

PASSAGES = [
    ("The Glass Orchard", "The Glass Orchard is a 1974 film about a blind gardener, directed by Ilse Varga."),
    ("Ilse Varga", "Ilse Varga was born in 1931 in Pécs and studied architecture before she made films."),
    ("Ilse Varga", "After 1980 she taught in Graz, where a street and a library bear her name."),
    ("Ilse Varga", "Her brother kept bees, and she wrote a cookbook with honey in every recipe."),
    ("Ilse Varga (footballer)", "Ilse Varga played on the left wing for Szeged between 1999 and 2008."),
    ("Glass", "Glass is made from sand, soda and lime, and was known in Egypt."),
    ("The Iron Orchard", "The Iron Orchard is a 1966 novel about oil, written under another name."),
    ("Orchard", "An orchard is a plantation of fruit trees; many lie along the river near Pécs."),
    ("Green Harbour", "Green Harbour is the second album of the band Tin Lantern, recorded in one night."),
    ("Tin Lantern", "Tin Lantern were a folk trio from Cork, formed in 1988 by two sisters and a neighbour."),
    ("Tin Lantern", "The trio parted in 1996; the neighbour became a lighthouse keeper."),
    ("Tin Lantern (novel)", "Tin Lantern is a crime novel set in Cork, about a sailor who sells lamps."),
    ("Harbour", "A harbour is a place where ships shelter; some are green with weed in summer."),
    ("Cork", "Cork is a city in Ireland. Tin Lantern and many other bands first played there."),
]  # fmt: skip


@pytest.fixture(scope="module")
def con(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[aios_db.Connection]:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path_factory.mktemp("titles") / "agent.aios", config=config) as connection:
        connection.remember([{"title": title, "text": text} for title, text in PASSAGES])
        yield connection


@pytest.mark.parametrize(
    ("question", "start", "answer"),
    [
        ("Where was the director of The Glass Orchard born?", "The Glass Orchard is a", "born in 1931"),
        ("When was the band that recorded Green Harbour formed?", "Green Harbour is", "formed in 1988"),
        ("When did the band behind Green Harbour part?", "Green Harbour is", "parted in 1996"),
    ],
)
def test_a_chain_of_two_is_found_among_passages_of_one_title_and_homonyms(con, question, start, answer):
    found = [memory.text for memory in con.recall(question, k=4)]
    assert any(text.startswith(start) for text in found[:2])
    assert any(answer in text for text in found)
    without = [memory.text for memory in con.recall(question, k=len(PASSAGES), graph_weight=0.0)]
    place = next(i for i, text in enumerate(without) if answer in text)
    assert next(i for i, text in enumerate(found) if answer in text) <= place


def test_a_neighbour_gets_less_than_three_quarters_of_the_best(con):
    rows = con.execute(
        "SELECT graph_score, 1.5 * vector_score + keyword_score FROM recall(?, k := 14)",
        ["Where was the director of The Glass Orchard born?"],
    ).fetchall()
    best = max(fused for _, fused in rows)
    assert 0 < max(graph for graph, _ in rows) <= 0.76 * best


def test_passages_of_one_title_are_linked_from_where_it_is_mentioned_and_not_with_each_other(con):
    links = con.execute(
        "SELECT a.title, b.title FROM association_links l JOIN memories a ON a.memory_id = l.source_id "
        "JOIN memories b ON b.memory_id = l.target_id WHERE l.kind = 'same_entity'"
    ).fetchall()
    assert links.count(("The Glass Orchard", "Ilse Varga")) == 3
    assert links.count(("Green Harbour", "Tin Lantern")) == 2
    assert ("Green Harbour", "Tin Lantern (novel)") in links
    names = [{title.split(" (")[0] for title in pair} for pair in links]
    assert all(len(each) == 2 for each in names)
