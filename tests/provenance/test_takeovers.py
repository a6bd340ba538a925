"""A source changes nothing that is trusted more than it, by whatever way it writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aios_db.importers import import_path
from aios_db.schema.config import LinksConfig, TrustConfig
from aios_db.schema.errors import IntegrityError, NotSupportedError

pytestmark = pytest.mark.sql

TRUST = TrustConfig(sources=(("web:*", 0.2), ("tool:*", 0.6)))
KEY, LAKE = "The spare key lies under the blue pot.", "The spare key is in the lake."


@pytest.fixture
def con(connect):
    found = connect(trust=TRUST)
    found.remember(KEY, external_id="key", source="user", kind="document")
    return found


def unharmed(con) -> bool:
    con.store.refresh()
    row = con.execute("SELECT text, source, trust FROM memories WHERE external_id = 'key'").fetchall()
    return row == [(KEY, "user", 1.0)]


WAYS = {
    "remember": lambda con: con.remember(LAKE, external_id="key"),
    "remember_all": lambda con: con.remember([{"text": "Tea."}, {"text": LAKE, "external_id": "key"}]),
    "function": lambda con: con.execute(
        f"SELECT remember('{LAKE}', external_id := 'key')"
    ).fetchall(),
    "insert": lambda con: con.execute(f"INSERT INTO memories (text, external_id) VALUES ('{LAKE}', 'key')"),
    "update": lambda con: con.execute(f"UPDATE memories SET text = '{LAKE}' WHERE external_id = 'key'"),
    "update_all": lambda con: con.execute(
        f"FROM update_all((SELECT list({{memory_id: memory_id, text: '{LAKE}'}}) FROM memories))"
    ),
    "method": lambda con: con.update(con.recall(KEY, k=1)[0].memory_id, text=LAKE),
    "delete": lambda con: con.execute("DELETE FROM memories WHERE external_id = 'key'"),
    "forget": lambda con: con.forget(con.recall(KEY, k=1)[0].memory_id),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_of_a_source_changes_nothing_that_is_trusted_more(con, connect, way):
    other = connect(trust=TRUST, source="web:evil")
    count = con.execute("SELECT count(*) FROM memories").fetchall()
    with pytest.raises(IntegrityError, match=r"another source and trusted 1, 'web:evil' is trusted 0\.2"):
        WAYS[way](other)
    assert unharmed(con) and con.execute("SELECT count(*) FROM memories").fetchall() == count


@pytest.mark.parametrize(
    "statement",
    [
        f"MERGE INTO memories USING (SELECT 'key' AS name, '{LAKE}' AS said) AS given ON external_id = name "
        "WHEN MATCHED THEN UPDATE SET text = said",
        "MERGE INTO memories USING (SELECT 'key' AS name) AS given ON external_id = name "
        "WHEN MATCHED THEN DELETE",
        f"INSERT INTO memories (text, external_id) VALUES ('{LAKE}', 'key') ON CONFLICT DO UPDATE SET "
        "text = excluded.text",
        f"INSERT OR REPLACE INTO memories (text, external_id) VALUES ('{LAKE}', 'key')",
    ],
)
def test_a_merge_is_nobodys_way(con, connect, statement):
    with pytest.raises(NotSupportedError, match="MERGE, ON CONFLICT"):
        connect(trust=TRUST, source="web:evil").execute(statement)
    assert unharmed(con)


def test_neither_does_a_row_that_names_its_source(con):
    with pytest.raises(IntegrityError, match="cannot replace the memory with the external_id 'key'"):
        con.remember(LAKE, external_id="key", source="web:evil")
    with pytest.raises(IntegrityError):
        con.execute(f"INSERT INTO memories (text, external_id, source) VALUES ('{LAKE}', 'key', 'web:evil')")
    assert unharmed(con)
    con.remember(LAKE, external_id="key", source="a friend")  # trusted as much
    assert con.execute("SELECT source FROM memories").fetchall() == [("a friend",)]


def test_an_import_sets_such_rows_aside(con, connect, tmp_path):
    file = tmp_path / "notes.jsonl"
    rows = [{"text": LAKE, "external_id": "key"}, {"text": "Tea is at five.", "external_id": "tea"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    report = import_path(connect(trust=TRUST, source="web:evil"), file)
    assert (report.stored, report.rejected) == (1, 1)
    assert unharmed(con)


def test_the_same_words_under_another_name_are_another_memory(con):
    evil = con.remember(KEY, external_id="mine", source="web:evil", kind="document")
    plain = con.remember("Tea is at five.", kind="document", source="user")
    other = con.remember("Tea is at five.", kind="document", source="web:evil", external_id="tea")
    assert other != plain and con.get(plain).source == "user"
    con.rollback_source("web:evil")
    assert unharmed(con) and con.get(evil) is None and con.get(plain) is not None


def test_who_is_trusted_more_makes_a_memory_its_own(connect):
    con = connect(trust=TRUST)
    origin = con.remember(LAKE, source="web:evil")
    memory = con.remember(KEY, source="web:evil", trust=0.1, derived_from=[origin])
    assert con.remember(KEY) == memory
    found = con.get(memory)
    assert (found.source, found.trust, found.derived_from) == ("python", 1.0, None)
    assert con.recall("spare key", min_trust=1.0)[0].memory_id == memory
    assert con.rollback_source("web:evil").memory_ids == (origin,)
    assert con.get(memory) is not None
    con.remember(KEY, source="web:evil", trust=0.1)
    assert con.get(memory).trust == 1.0
    con.remember(KEY, trust=0.5)  # who may, may lower it
    assert con.get(memory).trust == 0.5


def test_a_link_of_two_that_are_trusted_more_is_refused(con, connect):
    tea = con.remember("Tea is at five.", source="user")
    key = con.recall(KEY, k=1)[0].memory_id
    other = connect(trust=TRUST, source="web:evil")
    with pytest.raises(IntegrityError, match="cannot change the link"):
        other.link(tea, key)
    other.link(other.remember(LAKE), key)
    assert con.execute("SELECT count(*) FROM association_links WHERE kind = 'user'").fetchall() == [(1,)]


def test_recalling_joins_no_two_that_are_trusted_more(connect, monkeypatch):
    con = connect(trust=TRUST)
    tea, key = con.remember("Tea is at five."), con.remember(KEY)
    for source, count in (("web:evil", 0), ("user", 1)):
        reader = connect(trust=TRUST, source=source)
        own = reader.remember(f"A spare tea of {source}.")
        for store in (con.store, reader.store):
            config = replace(store.config, links=LinksConfig(reinforce_recalled=True))
            monkeypatch.setattr(store.database, "config", config)
        found = {each.memory_id for each in reader.recall("spare key tea", k=4)}
        assert {tea, key, own} <= found
        reader.store.optimize()
        con.store.refresh()
        joined = con.store.links.to_table(filter="kind = 'recalled_together'").to_pylist()
        pairs = [{row["source_id"], row["target_id"]} for row in joined]
        assert any(own in pair for pair in pairs)
        assert pairs.count({tea, key}) == count


def test_an_export_of_a_source_links_nothing_that_is_trusted_more(con, connect, tmp_path):
    tea = con.remember("Tea is at five.", source="user")
    con.link(tea, con.recall(KEY, k=1)[0].memory_id)
    con.export(tmp_path / "export")
    con.execute("DELETE FROM association_links WHERE kind = 'user'")
    links = "SELECT count(*) FROM association_links WHERE kind = 'user'"
    import_path(connect(trust=TRUST, source="web:evil"), tmp_path / "export")
    con.store.refresh()
    assert con.execute(links).fetchall() == [(0,)]
    import_path(con, tmp_path / "export")
    assert con.execute(links).fetchall() == [(1,)]


def test_what_it_is_trusted_as_much_as_it_may_change(connect):
    con = connect(trust=TRUST)
    memory = con.remember("The shop opens at nine.", source="web:shop", external_id="shop")
    tool = connect(trust=TRUST, source="tool:browser")
    assert tool.remember("The shop opens at ten.", external_id="shop") == memory
    assert con.get(memory).source == "tool:browser"
    with pytest.raises(IntegrityError):
        connect(trust=TRUST, source="web:shop").remember("The shop is closed.", external_id="shop")


def test_without_a_configuration_a_connection_of_a_source_changes_its_own_only(connect):
    con, tool = connect(), connect(source="tool:x")
    mine = con.remember(KEY, source="user", external_id="key")
    tea = con.remember("Tea is at five.", source="user", kind="document", metadata={"safe": 1})
    own = tool.remember("Rain.", external_id="rain")
    for write in (
        lambda: tool.update(mine, text=LAKE),
        lambda: tool.remember(LAKE, external_id="key"),
        lambda: tool.forget(mine),
        lambda: tool.erase(mine),
    ):
        with pytest.raises(IntegrityError, match="'tool:x' is trusted 1"):
            write()
    assert tool.remember("Tea is at five.", kind="document", metadata={"safe": 2}) == tea
    con.store.refresh()
    assert (con.get(tea).source, con.get(tea).metadata) == ("user", {"safe": 1})
    assert tool.remember("Sun.", external_id="rain") == own and tool.update(own, text="Snow.") == 1
    assert con.rollback_source("tool:x").memory_ids == (own,)
    assert con.get(mine).text == KEY and con.get(tea) is not None


def test_who_is_not_trusted_fully_removes_no_versions_of_others(connect):
    con = connect(trust=TRUST)
    con.forget(con.remember("Tea is at five.", source="user"))
    forgotten = con.history(limit=1)[0]
    other = connect(trust=TRUST, source="web:evil")
    own = other.remember(LAKE)
    for erase in (
        lambda: other.erase(own),
        lambda: other.erase([]),
        lambda: other.erase(source="web:evil"),
        lambda: other.execute("SELECT erase(?)", [own]),
        lambda: other.execute("FROM erase_all(?)", [[own]]),
    ):
        with pytest.raises(NotSupportedError, match="'web:evil' is trusted 0"):
            erase()
    assert other.get(own).text == LAKE and other.forget(own) == 1
    assert con.undo(forgotten).added == 1
    assert connect(trust=TRUST, source="user").erase([]).memories == 0  # it is trusted fully
