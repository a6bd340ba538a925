"""Which links new memories get: order in the session, titles mentioned, shared names, similar vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.schema.association_links import KINDS
from aios_db.schema.config import LinksConfig
from aios_db.search.linking import NewMemories, propose_links
from aios_db.search.phrases import mention_shares, phrases, possible_mentions, title_keys

DEFAULT = LinksConfig()
NO_SIMILAR = LinksConfig(similar_neighbors=0)


@pytest.fixture
def linked(tables, unit):
    """Write memories, one batch a call; return the proposed links as (source, target, kind) with weights."""
    texts: dict[int, str] = {}

    def write(*memories, config=DEFAULT):
        rows = [{"text_embedding": unit(hash(each["memory_id"]) % 997), **each} for each in memories]
        tables.remember(*rows)
        ids = tables.index.find_ids([row["memory_id"] for row in rows])
        texts.update(zip(ids.tolist(), [row["text"] for row in rows], strict=True))

        def column(name):
            return [row.get(name) for row in rows]

        new = NewMemories(
            ids, column("text"), column("title"), column("user_id"), column("agent_id"), column("session_id"),
            column("speaker"), np.stack([row["text_embedding"] for row in rows]).astype(np.float32),
        )  # fmt: skip
        found = propose_links(
            tables.index.kinship, new, config, lambda wanted: [texts[row] for row in wanted.tolist()]
        )
        kinds = [KINDS[code] for code in found.kinds]
        ends = zip(tables.names(found.sources), tables.names(found.targets), kinds, strict=True)
        return dict(zip(ends, found.weights.tolist(), strict=True))

    return write


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_a_turn_is_linked_with_the_next_two_of_its_session(linked, batches):
    turns = [{"memory_id": f"t{i}", "text": f"turn {i}", "session_id": "s"} for i in range(4)]
    turns[1:1] = [{"memory_id": "x", "text": "elsewhere", "session_id": "s", "user_id": "another"}]
    size = -(-len(turns) // batches)
    links = {}
    for start in range(0, len(turns), size):
        links |= linked(*turns[start : start + size], config=NO_SIMILAR)
    pairs = [("t0", "t1"), ("t1", "t2"), ("t2", "t3"), ("t0", "t2"), ("t1", "t3")]
    assert links == {(*pair, "next_in_session"): 1.0 for pair in pairs}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("title_first", [True, False])
def test_a_mentioned_title_is_linked_whichever_came_first(linked, together, title_first):
    film = {"memory_id": "film", "title": "Lilu (film)", "text": "A film of 1999."}
    actor = {
        "memory_id": "actor",
        "title": "Ann Doe",
        "text": "She became known through Lilu, and won a prize.",
    }
    other = {"memory_id": "other", "title": "Other", "text": "No mention of anything here."}
    order = [film, actor, other] if title_first else [actor, other, film]
    links = linked(*order, config=NO_SIMILAR) if together else {}
    if not together:
        for memory in order:
            links |= linked(memory, config=NO_SIMILAR)
    assert links == {("actor", "film", "same_entity"): 1.0}


def test_shared_names_count_unless_they_are_titled_frequent_or_the_speakers(linked):
    config = LinksConfig(similar_neighbors=0, entity_max_memories=3)
    first = {"memory_id": "a", "text": "Ann: I went to Lake Garda.", "speaker": "Ann"}
    links = linked(
        first, {"memory_id": "b", "text": "Bob: we saw Lake Garda too", "speaker": "Bob"}, config=config
    )
    assert links == {("b", "a", "same_entity"): pytest.approx(0.05)}
    links = linked({"memory_id": "c", "title": "Trip", "text": "It was Lake Garda again."}, config=config)
    assert links == {}
    links = linked(
        {"memory_id": "d", "text": "Ann: Ann again, to Lake Garda", "speaker": "Ann"}, config=config
    )
    assert links == {}  # four memories hold the name now
    assert linked({"memory_id": "e", "text": "Nothing shared"}, config=config) == {}


def test_similar_memories(linked, unit):
    near = unit(1) + 0.05 * unit(2)
    linked({"memory_id": "a", "text": "one", "text_embedding": unit(1)})
    links = linked({"memory_id": "b", "text": "two", "text_embedding": near / np.linalg.norm(near)})
    assert list(links) == [("b", "a", "similar")]
    assert links["b", "a", "similar"] == pytest.approx(0.998, abs=0.01)


def test_phrases_are_names_numbers_and_dates():
    text = "Yesterday Ann met the President of France at 10.5 km from Paris. In 1999? On 2023-05-08!"
    found = phrases(text)
    assert {"president of france", "paris", "10.5", "1999", "2023-05-08"} <= set(found)
    assert "in" not in found
    assert phrases("") == []


def test_titles_and_mentions():
    assert title_keys("Lilu (mythology)") == ["lilu mythology", "lilu"]
    assert title_keys("The") == []
    assert "eiffel tower" in possible_mentions("See the Eiffel Tower now")


@pytest.mark.parametrize(
    ("text", "key", "share"),
    [
        ("It is the Eiffel Tower's base.", "eiffel tower", 1),
        ("Paris is a city.", "paris", 1),
        ("He met Paris Hilton.", "paris", 1 / 2),
        ("He met Paris Hilton in Paris.", "paris", 1),
        ("The United States Army came.", "united", 1 / 3),
        ("then President Barack Obama spoke", "barack obama", 2 / 3),
        ("In London, Paris and Rome", "paris", 1),
        ("The Beatles played", "the beatles", 1),
        ("the President of France said", "president of france", 1),
        ("Flight 370 was lost", "370", None),  # three signs could be anything
        ("the eiffel of a tower", "eiffel tower", None),
        ("See paris.", "paris", None),
        ("Anything", "", None),
        ("", "paris", None),
        ("Straße nach Wien. WIEN!", "wien", 1),
    ],
)
def test_how_sure_a_mention_is(text, key, share):
    found = mention_shares(text, [key, "absent name"])
    assert found == ({} if share is None else {key: pytest.approx(share)})
    assert set(found) <= set(possible_mentions(text))


WORDS = st.sampled_from(["Paris", "Hilton", "of", "the", "United", "States", "paris", "1999", "1", "É"])


@settings(deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_mentions_are_found_either_way(words):
    text = " ".join(words)
    possible = possible_mentions(text)
    shares = mention_shares(text, possible)
    assert set(shares) == set(possible)
    assert all(0 < share <= 1 for share in shares.values())


def passage(number, title, text):
    return {"memory_id": f"p{number}", "title": title, "text": text}


def test_the_rarer_a_name_the_larger_the_weight(linked):
    weights = []
    for mentioning in (1, 8, 9, 20, 64, 65):
        name = f"Lake {'abcdefgh'[mentioning % 8].upper()}{'x' * mentioning}"
        texts = [
            passage(f"{mentioning}-{i}", f"Story {mentioning} {i}", f"It was near {name} once.")
            for i in range(mentioning)
        ]
        found = linked(*texts, passage(f"town{mentioning}", name, "A town."), config=NO_SIMILAR)
        weights.append(found.get((f"p{mentioning}-0", f"ptown{mentioning}", "same_entity"), 0))
    assert weights[:2] == [1, 1]
    assert weights == sorted(weights, reverse=True)
    assert weights[3] == pytest.approx((8 / 20) ** 0.5)
    assert weights[-1] == 0


def test_passages_of_one_title_are_not_linked_with_each_other(linked):
    same = [passage(i, "Green (album)" if i % 2 else "Green", f"Green was the {i}th.") for i in range(6)]
    song = passage("song", "Song", "It is on Green, they say.")
    links = linked(*same, song, config=NO_SIMILAR)
    assert links.keys() == {("psong", f"p{i}", "same_entity") for i in range(6)}


@pytest.mark.parametrize("one_by_one", [True, False])
def test_links_grow_with_the_passages_and_not_with_their_square(linked, one_by_one):
    one = [passage(i, "Great Novel", f"Great Novel, part {i}, by Ann Doe.") for i in range(150)]
    author = [passage(f"a{i}", "Ann Doe", f"She wrote Great Novel in {i}.") for i in range(150)]
    both = [each for pair in zip(one, author, strict=True) for each in pair]
    size = 10 if one_by_one else len(both)
    links = {}
    for start in range(0, len(both), size):
        links |= linked(*both[start : start + size], config=NO_SIMILAR)
    assert len(links) <= 64 * 64 * 2
