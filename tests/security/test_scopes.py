from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import aios_db
from aios_db.config import Config

pytestmark = pytest.mark.sql


def _connect(path: Path, **scope: str) -> aios_db.Connection:
    return aios_db.connect(path, config=Config(), **scope)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with memories of two users and of nobody."""
    path = tmp_path_factory.mktemp("scopes") / "agent.aios"
    with _connect(path) as con:
        con.remember("The office closes at six.", external_id="office")
        for user, drink in (("ada", "green tea"), ("bo", "black coffee")):
            ids = con.remember(
                [
                    {"text": f"{user} drinks {drink}.", "external_id": "drink", "title": f"Drinks of {user}"},
                    {"text": f"The code of {user}'s safe is {len(drink)}77.", "session_id": "s"},
                    {"text": "Dr. Samir Haddad called.", "session_id": "s", "agent_id": f"agent of {user}"},
                ],
                user_id=user,
            )
            con.link(ids[0], ids[1], weight=0.5)
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    """Return a copy of that database."""
    return Path(shutil.copytree(original, tmp_path / "agent.aios"))


@pytest.fixture
def ada(path: Path) -> Iterator[aios_db.Connection]:
    """The database as Ada sees it."""
    with _connect(path, user_id="ada") as con:
        yield con


def _of_bo(path: Path) -> list[str]:
    with _connect(path) as con:
        return _seen_of_bo(con)


def _seen_of_bo(everybody: aios_db.Connection) -> list[str]:
    rows = everybody.execute("SELECT memory_id FROM memories WHERE user_id = 'bo' ORDER BY text").fetchall()
    return [row[0] for row in rows]


QUERIES = {
    "view": "SELECT user_id FROM memories",
    "raw view": "SELECT user_id FROM lance_memories",
    "view, filtered": "SELECT user_id FROM memories WHERE user_id = 'bo' OR text LIKE '%coffee%' OR true",
    "view, filtered on lists": "SELECT user_id FROM memories WHERE len(modalities) > 0",
    "view, filtered on counts": "SELECT user_id FROM memories WHERE access_count >= 0",
    "joined": "SELECT a.user_id FROM memories a, memories b WHERE a.user_id IS DISTINCT FROM b.user_id",
    "recall": "SELECT user_id FROM recall('coffee safe code Samir', k := 50)",
    "recall, everybody": "SELECT user_id FROM recall('coffee', user_id := NULL, k := 50)",
    "recall, the other": "SELECT user_id FROM recall('coffee', user_id := 'bo', k := 50)",
    "recall, both": "SELECT user_id FROM recall('coffee', user_id := ['ada', 'bo'], k := 50)",
    "keywords": "SELECT user_id FROM keyword_search('coffee tea safe', 50) JOIN memories USING (memory_id)",
    "vectors": "SELECT user_id FROM vector_search(embed('coffee'), 50) JOIN memories USING (memory_id)",
    "past": "SELECT user_id FROM memories_at(now())",
    "past version": "SELECT user_id FROM memories_at((SELECT max(version) FROM memory_versions()))",
    "recall of the past": "SELECT user_id FROM recall('coffee', as_of := now(), k := 50)",
    "by id": "SELECT user_id FROM memories_by_id({of_bo})",
    "recall within": "SELECT user_id FROM recall('coffee', within := {of_bo})",
    "neighbours": "SELECT 'bo' FROM neighbors({of_bo}[3], 3)",
    "spread": "SELECT 'bo' FROM spread({of_bo}, [1.0, 1.0, 1.0], 2)",
    "scores": "SELECT 'bo' FROM score_memories(embed('coffee'), 'coffee', {of_bo})",
    "links": "SELECT 'bo' FROM association_links WHERE source_id IN {of_bo} OR target_id IN {of_bo}",
    "raw links": "SELECT 'bo' FROM lance_association_links WHERE list_contains({of_bo}, source_id)",
    "column of links": (
        "SELECT 'bo' FROM (SELECT unnest(association_links).target_id AS id FROM memories) "
        "WHERE id IN {of_bo}"
    ),
    "internal": "SELECT unnest(aios_memories({of_bo})).user_id",
}


@pytest.fixture(scope="module")
def readers(
    original: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[aios_db.Connection, aios_db.Connection]]:
    """Ada's connection and everybody's, of one database that nothing changes."""
    path = shutil.copytree(original, tmp_path_factory.mktemp("read") / "agent.aios")
    with _connect(path, user_id="ada") as ada, _connect(path) as everybody:
        yield ada, everybody


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_shows_another_users_memories(
    readers: tuple[aios_db.Connection, aios_db.Connection], name: str
) -> None:
    ada, everybody = readers
    query = QUERIES[name].format(of_bo=_seen_of_bo(everybody))
    for _ in range(2):  # the second time from a plan
        users = {row[0] for row in ada.execute(query).fetchall()}
        assert users <= {"ada", None}, query
    found = {row[0] for row in everybody.execute(query).fetchall()}
    assert "bo" in found, "the query finds what there is"


def test_what_is_there_is_counted_in_the_scope(path: Path, ada: aios_db.Connection) -> None:
    assert ada.execute("SELECT count(*) FROM memories").fetchone() == (4,)
    assert ada.execute("SELECT count(*), count(user_id) FROM memories").fetchone() == (4, 3)
    assert ada.store.stats().memories == 4
    assert ada.store.stats().links == ada.execute("SELECT count(*) FROM association_links").fetchall()[0][0]
    assert {each.user_id for each in ada.recall("coffee safe", k=50)} == {"ada", None}
    assert ada.execute("SELECT text FROM memories WHERE user_id IS NULL").fetchall() == [
        ("The office closes at six.",)
    ]


def test_reading_by_id_and_by_name(path: Path, ada: aios_db.Connection) -> None:
    of_bo = _of_bo(path)
    assert ada.get(of_bo) == [None] * 3
    assert ada.get(of_bo[0]) is None
    drink, office = ada.get(external_id="drink"), ada.get(external_id="office")
    assert drink is not None and drink.text == "ada drinks green tea."
    assert office is not None and office.user_id is None
    assert ada.get(external_id="drink", user_id="bo") is None


def test_nothing_of_another_user_is_changed(path: Path, ada: aios_db.Connection) -> None:
    of_bo = _of_bo(path)
    mine = ada.execute("SELECT memory_id FROM memories WHERE user_id = 'ada'").fetchall()[0][0]
    for change in (
        lambda: ada.update(of_bo[0], text="changed"),
        lambda: ada.link(mine, of_bo[0]),
        lambda: ada.link(of_bo[0], of_bo[1]),
        lambda: ada.execute("FROM link_all([{source_id: ?, target_id: ?}])", [mine, of_bo[0]]),
        lambda: ada.execute("SELECT link(?, ?)", [of_bo[0], of_bo[1]]),
    ):
        with pytest.raises(aios_db.ProgrammingError, match="no memory"):
            change()
    assert ada.forget(of_bo) == 0
    assert ada.forget(user_id="bo") == 0
    assert ada.forget(user_id=["bo"], before="2100-01-01") == 0
    assert ada.erase(of_bo).memories == 0
    assert ada.execute("SELECT forget(?)", [of_bo[0]]).fetchone() == (False,)
    assert ada.execute("FROM forget_all(?)", [of_bo]).fetchone() == (0,)
    assert ada.execute("DELETE FROM memories WHERE user_id = 'bo'").rowcount == 0
    assert ada.execute("UPDATE memories SET importance = 1 WHERE user_id = 'bo'").rowcount == 0
    assert (
        ada.execute("DELETE FROM association_links WHERE list_contains(?, source_id)", [of_bo]).rowcount == 0
    )
    with _connect(path) as con:
        assert _of_bo(path) == of_bo
        assert con.execute("SELECT count(*) FROM memories WHERE importance = 1").fetchone() == (0,)


def test_deleting_without_a_filter_leaves_the_others(path: Path, ada: aios_db.Connection) -> None:
    of_bo = _of_bo(path)
    assert ada.execute("DELETE FROM memories").rowcount == 4
    assert _of_bo(path) == of_bo
    with _connect(path, user_id="bo") as bo:
        assert bo.recall("coffee", k=1)[0].text == "bo drinks black coffee."
        assert bo.execute("SELECT count(*) FROM association_links").fetchall()[0][0] >= 1


def test_selecting_by_session_stays_in_the_scope(path: Path, ada: aios_db.Connection) -> None:
    assert ada.forget(session_id="s") == 2
    assert len(_of_bo(path)) == 3
    assert ada.erase(session_id="s").memories == 0
    assert len(_of_bo(path)) == 3


def test_what_is_remembered_is_of_the_scope(path: Path) -> None:
    with _connect(path, user_id="ada", agent_id="helper") as con:
        con.remember("One.")
        con.remember([{"text": "Two."}, {"text": "Three.", "user_id": "ada"}])
        con.execute("SELECT remember('Four.')")
        con.execute("FROM remember_all([{text: 'Five.'}])")
        con.execute("INSERT INTO memories (text) VALUES ('Six.')")
        for user in ("bo", "ADA"):
            with pytest.raises(aios_db.ProgrammingError, match="the connection is that of 'ada'"):
                con.remember("No.", user_id=user)
            with pytest.raises(aios_db.ProgrammingError, match="the connection is that of 'ada'"):
                con.execute("SELECT remember('No.', user_id := ?)", [user])
            with pytest.raises(aios_db.ProgrammingError, match="the connection is that of 'ada'"):
                con.execute("INSERT INTO memories (text, user_id) VALUES ('No.', ?)", [user])
    with _connect(path) as con:
        rows = con.execute("""
            SELECT user_id, agent_id, count(*) FROM memories
            WHERE text SIMILAR TO '[A-Z][a-z]+[.]' GROUP BY ALL
        """).fetchall()
        assert rows == [("ada", "helper", 6)]


@pytest.mark.parametrize("other", ["'bo'", "NULL"])
def test_no_memory_changes_hands(ada: aios_db.Connection, other: str) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="user_id stays"):
        ada.execute(f"UPDATE memories SET user_id = {other} WHERE user_id = 'ada'")
    mine = ada.execute("SELECT memory_id FROM memories WHERE user_id = 'ada'").fetchall()[0][0]
    with pytest.raises(aios_db.ProgrammingError, match="user_id stays"):
        ada.update(mine, user_id="bo")
    with pytest.raises(aios_db.ProgrammingError, match="user_id stays"):  # what is shared, stays shared
        ada.execute("UPDATE memories SET user_id = 'ada' WHERE user_id IS NULL")


def test_shared_memories_are_everybodys(path: Path, ada: aios_db.Connection) -> None:
    office = ada.get(external_id="office")
    assert office is not None
    ada.update(office.memory_id, text="The office closes at seven.")
    with _connect(path, user_id="bo") as bo:
        assert bo.recall("when does the office close?", k=1)[0].text == "The office closes at seven."
    assert ada.forget(office.memory_id) == 1


def test_a_writer_sees_what_others_do_to_its_memories(path: Path, ada: aios_db.Connection) -> None:
    with _connect(path) as con:
        new = con.remember("Ada's lamp is red.", user_id="ada")
        con.remember("Bo's lamp is blue.", user_id="bo")
        assert [each.text for each in ada.recall("lamp", k=1)] == ["Ada's lamp is red."]
        con.update(new, user_id="bo")
        assert "lamp" not in " ".join(each.text for each in ada.recall("lamp", k=9))
        con.forget(user_id="ada")
        assert ada.execute("SELECT count(*) FROM memories").fetchone() == (1,)


def test_agents_are_scopes_too(path: Path) -> None:
    with _connect(path, agent_id="agent of bo") as con:
        texts = {row[0] for row in con.execute("SELECT agent_id FROM memories").fetchall()}
        assert texts == {None, "agent of bo"}
    with _connect(path, user_id="ada", agent_id="agent of bo") as con:
        assert con.execute("SELECT count(*) FROM memories WHERE text LIKE 'Dr%'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("shared", "scope", "other"),
    [
        ({}, {"user_id": "ada"}, {"user_id": "bo"}),
        ({"user_id": "ada"}, {"user_id": "ada", "agent_id": "x"}, {"user_id": "ada", "agent_id": "y"}),
        ({"agent_id": "x"}, {"user_id": "ada", "agent_id": "x"}, {"user_id": "bo", "agent_id": "x"}),
    ],
)
def test_what_one_asks_links_nothing_that_others_see(
    tmp_path: Path, shared: dict[str, str], scope: dict[str, str], other: dict[str, str]
) -> None:
    with _connect(tmp_path / "a.aios") as con:
        con.remember(["The cello needs a new bow.", "Violins are small."], **shared)  # type: ignore[call-overload]
    with _connect(tmp_path / "a.aios", **scope) as con:
        assert len(con.recall("cello bow", k=2)) == 2
        con.optimize()
    with _connect(tmp_path / "a.aios", **other) as con:
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]
        assert con.execute("FROM association_links").fetchall() == []


def _named(con: aios_db.Connection, memory_id: str) -> dict[str, set[str]]:
    """Return which memories a connection is told that one is linked with, by how it asks."""
    view = f"SELECT association_links FROM {{}} WHERE memory_id = '{memory_id}'"
    changed = (
        f"UPDATE memories SET importance = 0.6 WHERE memory_id = '{memory_id}' RETURNING association_links"
    )
    got, named = con.get(memory_id), con.get(external_id="office")
    assert got is not None and named is not None
    told = {name: con.execute(view.format(name)).fetchall()[0][0] for name in ("memories", "lance_memories")}
    told |= {"get": got.association_links, "get by name": named.association_links}
    told |= {"RETURNING": con.execute(changed).fetchall()[0][0]}
    return {name: {each["target_id"] for each in links or ()} for name, links in told.items()}


@pytest.mark.parametrize("axis", ["user_id", "agent_id"])
def test_the_links_of_a_shared_memory_are_those_of_the_scope(tmp_path: Path, axis: str) -> None:
    path = tmp_path / "a.aios"
    with _connect(path) as con:
        office = con.remember("The office closes at six.", external_id="office")
    own = {}
    for name, weight, count in (("ada", 0.2, 3), ("bo", 0.9, 12)):
        with _connect(path, **{axis: name}) as con:
            own[name] = con.remember([f"{name} keeps note {number}." for number in range(count)])
            for each in own[name]:
                con.link(office, each, weight=weight)
    with _connect(path, **{axis: "ada"}) as ada:
        for how, told in _named(ada, office).items():
            assert told == set(own["ada"]), f"{how}: all of hers, though those of others weigh more"
    with _connect(path, **{axis: "bo"}) as bo:
        for how, told in _named(bo, office).items():
            assert len(told) == 8 and told < set(own["bo"]), how
    with _connect(path) as con:
        assert len(_named(con, office)["memories"] - set(own["bo"])) == 0, "eight of all, the heaviest"


def test_no_link_leads_from_one_user_to_another(path: Path) -> None:
    with _connect(path) as con:
        for number in range(6):
            for user in ("ada", "bo", None):
                text = f"Dr. Samir Haddad met Ingrid Solberg in Tromsø, {number} times."
                con.remember(text, user_id=user, title=f"Visit of Samir Haddad {number}")
        ids = dict(con.execute("SELECT user_id, any_value(memory_id) FROM memories GROUP BY ALL").fetchall())
        with pytest.raises(aios_db.ProgrammingError, match="different users"):
            con.link(ids["ada"], ids["bo"])
        con.link(ids["ada"], ids[None])
        for _ in range(3):
            con.recall("Samir Haddad met Ingrid Solberg", k=9)
        con.store.optimize()
        across = con.execute("""
            SELECT count(*), count(*) FILTER (a.user_id <> b.user_id) FROM association_links l
            JOIN memories a ON a.memory_id = source_id JOIN memories b ON b.memory_id = target_id
        """).fetchone()
        assert across is not None and across[0] > 20
        assert across[1] == 0
        con.store.repair()
        mixed = con.execute("""
            SELECT count(*) FROM (SELECT user_id, unnest(association_links).target_id AS id FROM memories) a
            JOIN memories b ON b.memory_id = id WHERE a.user_id <> b.user_id
        """).fetchone()
        assert mixed == (0,)


def test_imports_go_into_the_scope(path: Path, tmp_path: Path) -> None:
    from aios_db.importers import import_files

    (tmp_path / "notes.jsonl").write_text('{"text": "The gate code is 4711."}\n')
    for user in ("ada", "bo"):
        with _connect(path, user_id=user) as con:
            assert import_files(con, [tmp_path / "notes.jsonl"]).stored == 1
            assert con.recall("gate code", k=1)[0].user_id == user


def test_what_is_for_the_whole_database_is_refused(ada: aios_db.Connection, tmp_path: Path) -> None:
    with pytest.raises(aios_db.NotSupportedError, match="whole database"):
        ada.store.repair()
    with pytest.raises(aios_db.NotSupportedError, match="whole database"):
        ada.backup(tmp_path / "backup")


@pytest.mark.parametrize("name", ["out", "out.jsonl"])
def test_an_export_holds_the_scope(path: Path, ada: aios_db.Connection, tmp_path: Path, name: str) -> None:
    from aios_db.importers import import_files

    report = ada.export(tmp_path / name)
    assert report.memories == 4
    files = [each for each in [tmp_path / name, *(tmp_path / name).glob("*")] if each.is_file()]
    assert not any("coffee" in each.read_text("utf-8", "replace") for each in files)
    with _connect(tmp_path / "new.aios") as con:
        import_files(con, [tmp_path / name])
        assert con.execute("SELECT count(*), max(user_id), min(user_id) FROM memories").fetchone() == (
            4, "ada", "ada",
        )  # fmt: skip
        assert con.execute("SELECT count(*) FROM association_links").fetchone() == (report.links,)
    with pytest.raises(aios_db.NotSupportedError, match="whole database"):
        import_files(ada, [tmp_path / name])


@pytest.mark.parametrize(
    "scope",
    [{"user_id": ""}, {"user_id": " "}, {"agent_id": ""}, {"user_id": b"ada"}, {"agent_id": "\ud800"}],
)
def test_a_blank_scope_is_not_everybody(path: Path, scope: dict[str, str]) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="names somebody"):
        _connect(path, **scope)


@pytest.mark.slow
def test_counts_of_others_outlive_a_scoped_connection(path: Path) -> None:
    with _connect(path, user_id="bo") as bo:
        for _ in range(5):
            bo.recall("coffee", k=1)
    with _connect(path, user_id="ada") as ada:
        for number in range(300):
            ada.recall(f"tea {number}", k=3)
    with _connect(path) as con:
        row = con.execute("SELECT access_count FROM memories WHERE text LIKE '%coffee%'").fetchone()
    assert row == (5,)
