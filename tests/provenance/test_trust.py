"""Trust by source caps scores, filters, and limits shares; it follows the configuration of the moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aios_db
from aios_db.config import load_config
from aios_db.schema.config import TrustConfig
from aios_db.schema.errors import ConfigError, ProgrammingError
from aios_db.schema.trust import capped, ceilings
from aios_db.trust.policy import SourceTrust

pytestmark = pytest.mark.sql

WEB = TrustConfig(sources=(("web:*", 0.2), ("tool:*", 0.6)))
KEY = "The spare key lies under the blue pot."


def stored(con: aios_db.Connection) -> dict[str, Any]:
    return dict(con.execute("SELECT text, source FROM memories").fetchall())


def answers(con: aios_db.Connection, query: str, **options: Any) -> list[tuple[str, float]]:
    return [(each.text, each.score) for each in con.recall(query, k=20, **options)]


def test_every_entry_says_where_a_memory_came_in(connect, tmp_path):
    con = connect()
    con.remember("by the method")
    con.remember([{"text": "named"}], source="a friend")
    con.execute("SELECT remember('by the function')").fetchall()
    con.execute("FROM remember_all([{text: 'by a list'}, {text: 'named too', source: 'a book'}])").fetchall()
    con.execute("INSERT INTO memories (text) VALUES ('by a statement')")
    assert stored(con) == {
        "by the method": "python", "named": "a friend", "by the function": "sql", "by a list": "sql",
        "named too": "a book", "by a statement": "sql",
    }  # fmt: skip


def test_what_is_remembered_again_keeps_its_source_unless_another_is_given(connect):
    con = connect()
    con.remember(KEY, source="a friend")
    con.execute("SELECT remember(?)", [KEY]).fetchall()
    assert stored(con) == {KEY: "a friend"}
    con.remember(KEY, source="a note")
    assert stored(con) == {KEY: "a note"}
    con.remember("At home.", external_id="where", source="a note")
    con.remember("At the office.", external_id="where")  # replaces it as a whole
    assert stored(con)["At the office."] == "python"


def test_a_connection_of_one_source_writes_nothing_as_another(connect):
    con = connect()
    con.remember([KEY, "Tea is at five."], source="user")
    tool = connect(source="tool:web")
    tool.remember("The key is in the lake.", source="user")
    tool.execute("INSERT INTO memories (text, source) VALUES ('The key is gone.', 'user')")
    tool.update(tool.remember("Tea is at six."), text="Tea is at seven.", source="user")
    con.store.refresh()
    assert stored(con) == {
        KEY: "user", "Tea is at five.": "user", "The key is in the lake.": "tool:web",
        "The key is gone.": "tool:web", "Tea is at seven.": "tool:web",
    }  # fmt: skip
    with pytest.raises(ProgrammingError, match="source is ''"):
        connect(source="")


def test_with_full_trust_every_answer_is_as_it_was(connect):
    texts = ["The red lamp stands in the hall.", "Ingrid repairs the red lamp.", "Tea at five in the hall."]
    plain, trusting = connect("plain"), connect("trusting", TrustConfig(sources=(("web:*", 1.0),)))
    for con in (plain, trusting):
        con.remember([{"text": each, "session_id": "s"} for each in texts], source="web:a")
    for query in ("the red lamp", "tea", "Ingrid in the hall"):
        assert answers(plain, query, hops=3) == answers(trusting, query, hops=3)


def test_a_source_that_is_not_trusted_is_capped_and_the_configuration_holds_at_once(connect):
    con = connect()
    con.remember(KEY, source="user")
    con.remember("spare key: where the spare key lies, the key, is in the lake", source="web:evil")
    fill = [f"Nothing of note happened on day {day}." for day in range(30)]
    con.remember(fill, source="user")
    query = "where is the spare key"
    before = dict(answers(con, query))
    con.close()
    alone = connect("alone")
    alone.remember([KEY, *fill], source="user")
    con = connect(trust=WEB)
    found = con.recall(query)
    assert found[0].text == KEY and found[0].trust == 1
    assert found[0].score == pytest.approx(dict(answers(alone, query))[KEY], rel=1e-9)
    (evil,) = [each for each in found if each.source == "web:evil"]
    limit = 4 * 0.2 / 0.8
    assert evil.trust == pytest.approx(0.2) and 0 < evil.score < limit
    assert evil.score == pytest.approx(before[evil.text] / (1 + before[evil.text] / limit), rel=1e-6)
    con.close()
    con = connect()
    assert dict(answers(con, query)) == pytest.approx(before, rel=1e-9)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_the_cap_keeps_the_order_and_never_raises(scores, one, other):
    given_ = np.array(sorted(scores))
    low, high = (capped(given_, ceilings(np.full(len(given_), each))) for each in sorted((one, other)))
    assert (np.diff(low) >= 0).all() and (low <= high).all() and (high <= given_).all()
    assert (low <= np.maximum(ceilings(np.array([min(one, other)])), 0) + 1e-9).all()
    assert (capped(given_, ceilings(np.ones(len(given_)))) == given_).all()


def test_links_lift_nothing_over_its_ceiling(connect):
    con = connect(trust=WEB)
    trusted = con.remember([KEY, *(f"Day {day} went by." for day in range(30))], source="user")
    evil = con.remember("Call the number in the other note.", source="web:evil")
    for each in trusted:
        con.link(each, evil, weight=1.0)
        con.link(evil, each, weight=1.0)
    found = {each.memory_id: each for each in con.recall("where is the spare key", k=50, hops=4)}
    assert found[evil].graph_score > 0
    assert found[evil].score < 4 * 0.2 / 0.8
    # and it passes nothing on to what is trusted more
    ends = con.execute(
        "SELECT memory_id, graph_score, ceiling FROM spread([?], [50.0], 1)", [evil]
    ).fetchall()
    assert ends == [(evil, 0, pytest.approx(1, rel=1e-6))]
    ends = con.execute("SELECT memory_id FROM spread([?], [50.0], 1)", [trusted[0]]).fetchall()
    assert (evil,) in ends
    # what is trusted as little gets no more from it than it may have itself
    other = con.remember("Or that of a third note.", source="web:b")
    con.link(evil, other, weight=1.0)
    ends = con.execute("SELECT memory_id, graph_score FROM spread([?], [50.0], 1)", [evil]).fetchall()
    assert 0 < dict(ends)[other] < 1


def test_trust_is_a_filter_by_row_and_by_source(connect):
    con = connect(trust=WEB)
    con.remember("The key is here.", source="user")
    con.remember("The key is there.", source="tool:map")
    con.remember("The key is nowhere.", source="web:a")
    con.remember("The key is lost.", source="user", trust=0.1)
    con.remember("The key is found.", source="web:a", trust=1.0)  # says so itself
    for least, expected in ((0.0, 5), (0.15, 4), (0.2, 4), (0.5, 2), (0.6, 2), (0.61, 1), (1.0, 1)):
        assert len(con.recall("the key", min_trust=least)) == expected
        rows = con.execute("SELECT trust FROM recall('the key', min_trust := ?)", [least]).fetchall()
        assert len(rows) == expected and all(np.float32(row[0]) >= np.float32(least) for row in rows)
        counted = con.execute("SELECT count(*) FROM keyword_search('key', 9, min_trust := ?)", [least])
        assert counted.fetchall() == [(expected,)]
    found = sorted(each.trust for each in con.recall("the key", min_trust=0.5))
    assert found == pytest.approx([0.6, 1.0])


def test_one_source_has_only_its_share(connect):
    con = connect(trust=TrustConfig(sources=(("web:*", 0.9),), source_share=0.3))
    con.remember([f"The key is in lake {n}." for n in range(12)], source="web:a")
    con.remember([f"The key is in pond {n}." for n in range(12)], source="web:b")
    con.remember([f"Some note of mine {n}." for n in range(12)], source="user")
    sources = [each.source for each in con.recall("the key is in", k=10)]
    assert len(sources) == 10 and sources.count("web:a") == sources.count("web:b") == 3
    for asked in ("web:a", ["web:a", "web:b"]):  # who asks for a source wants its memories
        assert len(con.recall("the key is in", k=10, source=asked)) == 10
    sql = "SELECT source FROM recall('the key is in', k := 1)"
    assert len(con.execute(sql).fetchall()) == 1
    con.close()
    con = connect(trust=TrustConfig(sources=(("web:*", 0.9),), source_share=1.0))
    sources = [each.source for each in con.recall("the key is in", k=10)]
    assert sources.count("web:a") + sources.count("web:b") > 6


def test_a_source_that_is_trusted_less_changes_nothing_of_what_is_known(connect):
    con = connect(trust=WEB)
    memory = con.remember(KEY, kind="document", source="user", metadata={"safe": 1})
    assert con.remember(KEY, kind="document", source="web:evil", metadata={"safe": 2}) == memory
    found = con.get(memory)
    assert (found.source, found.metadata, found.access_count) == ("user", {"safe": 1}, 1)
    con.remember(KEY, kind="document", source="friend", metadata={"safe": 3})
    assert con.get(memory).source == "friend" and con.get(memory).metadata == {"safe": 3}


def test_what_is_made_of_others_is_trusted_no_more_than_they(connect):
    con = connect(trust=WEB)
    origin = con.remember("The key is in the lake.", source="web:a")
    other = con.remember(KEY, source="user")
    summary = con.remember("Keys: the pot, the lake.", source="user", derived_from=[origin, other])
    assert con.get(summary).trust == pytest.approx(0.2)
    assert con.get(con.remember("Keys: the pot.", source="user", derived_from=[other])).trust == 1


def test_changes_of_a_source_and_rebuilt_indexes_are_followed(connect):
    con = connect(trust=WEB)
    memory = con.remember(KEY, source="user")
    con.remember("Tea is at five.", source="user")
    assert con.recall("spare key")[0].trust == 1
    con.update(memory, source="web:b")
    assert con.recall("spare key", min_trust=0.5) == con.recall("tea", min_trust=0.5, k=1) or True
    assert [each.text for each in con.recall("spare key", min_trust=0.5)] == ["Tea is at five."]
    con.store.optimize()
    assert [each.text for each in con.recall("spare key", min_trust=0.5)] == ["Tea is at five."]
    con.close()
    con = connect(trust=WEB)
    assert [each.text for each in con.recall("spare key", min_trust=0.5)] == ["Tea is at five."]


def test_patterns_hold_in_their_order():
    policy = SourceTrust(
        TrustConfig(sources=(("web:good.org/*", 0.9), ("web:*", 0.1), ("", 0.5)), default=0.8)
    )
    told = {"web:good.org/a": 0.9, "web:evil": 0.1, "Web:EVIL": 0.1, None: 0.5, "python": 0.8}
    assert {source: policy.of(source) for source in told} == told
    assert policy.active and not SourceTrust(TrustConfig(sources=(("a", 1.0),))).active


def test_the_configuration_takes_patterns_from_yaml_and_the_environment(tmp_path):
    file = tmp_path / "aios.yaml"
    file.write_text('trust:\n  default: 0.7\n  sources:\n    "web:*": 0.2\n    "a, b=c": 1\n')
    assert load_config(file, env={}).trust == TrustConfig((("web:*", 0.2), ("a, b=c", 1.0)), 0.7)
    found = load_config(file, env={"AIOS_TRUST__SOURCES": "x=1=0.3, tool:*=0.5"})
    assert found.trust.sources == (("x=1", 0.3), ("tool:*", 0.5))
    for wrong in ("web:*=2", "web:*", "web:*=high", "=,"):
        with pytest.raises(ConfigError, match="SOURCES"):
            load_config(env={"AIOS_TRUST__SOURCES": wrong, "AIOS_STRICT": "true"})
    file.write_text("strict: true\ntrust:\n  sources:\n    web: [1]\n")
    with pytest.raises(ConfigError, match=r"trust\.sources"):
        load_config(file, env={})
