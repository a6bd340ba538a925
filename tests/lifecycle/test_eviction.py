"""What is evicted, why, how it comes back, and that it is gone in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main

Connect = Callable[..., aios_db.Connection]
LONG_AGO = datetime.now(timezone.utc) - timedelta(days=8)


def texts(con: aios_db.Connection, query: str) -> set[str]:
    return {each.text for each in con.recall(query, k=50)}


def holding(directory: Path, word: bytes) -> list[Path]:
    return [each for each in directory.rglob("*") if each.is_file() and word in each.read_bytes()]


def test_nothing_is_evicted_unless_it_is_configured(connect: Connect, sentences: list[str]) -> None:
    con = connect()
    con.remember(sentences)
    assert con.evict() == []
    assert con.execute("SELECT count(*) FROM memories WHERE expires_at IS NOT NULL").fetchone() == (0,)


def test_what_is_used_least_goes_and_what_is_pinned_stays(connect: Connect) -> None:
    con = connect({"eviction": {"short_rows": 3, "least": "use"}, "storage": {"link_recalled_s": 0}})
    ids = [con.remember([f"The number of the {each} boat is {each}."])[0] for each in "abcdef"]
    con.update(ids[0], pinned=True)
    con.recall("What is the number of the b boat?", k=1)
    planned = con.evict(dry_run=True)
    assert con.execute("SELECT count(*) FROM memories WHERE expires_at IS NOT NULL").fetchone() == (0,)
    done = con.evict()
    assert [(each.memory_id, each.reason) for each in done] == [
        (each.memory_id, each.reason) for each in planned
    ]
    gone = {each.memory_id for each in done}
    assert len(gone) == 3 and ids[0] not in gone and {each.action for each in done} == {"evict"}
    assert all("of the tier by use, which has room for 3 memories" in each.reason for each in done)
    assert len(texts(con, "the number of the boat")) == 3
    assert con.evict() == []


@pytest.mark.parametrize("limit", [{"short_rows": 4}, {"short_bytes": 120}])
def test_what_is_trusted_less_pushes_nothing_out_that_is_trusted_more(
    connect: Connect, limit: dict[str, int]
) -> None:
    con = connect({"eviction": limit, "trust": {"sources": {"web:*": 0.2}}})
    mine = con.remember([f"The number of the {each} boat is {each}." for each in "abc"])
    flood = [{"text": f"Buy {each} now, and here.", "pinned": each < 6} for each in range(12)]
    con.remember(flood, source="web:shop")
    gone = {each.memory_id for each in con.evict()}
    assert len(gone) == 6 and gone.isdisjoint(mine)


def test_bytes_and_importance(connect: Connect, sentences: list[str]) -> None:
    con = connect({"eviction": {"archived_bytes": 1000, "least_importance": 0.2}})
    con.remember([{"text": each, "tier": "archived"} for each in sentences])
    (idle,) = con.remember([{"text": "Perhaps it rained.", "importance": 0.1}])
    done = con.execute("FROM evict()").fetchall()
    reasons = {row[0]: row[3] for row in done}
    assert reasons[idle] == "its importance is 0.10, and the least is 0.20"
    left = con.execute(
        "SELECT sum(strlen(text)) FROM memories WHERE tier = 'archived' AND expires_at IS NULL"
    ).fetchone()
    assert left is not None and 800 < left[0] <= 1000
    call = con.execute("SELECT call, updated FROM changes ORDER BY change_id DESC LIMIT 1").fetchone()
    assert call == ("evict", len(done))


def test_it_comes_back_by_undo_and_by_hand(connect: Connect) -> None:
    con = connect({"eviction": {"least_importance": 0.5}})
    ids = con.remember([{"text": f"The {each} kettle leaks.", "importance": 0.1} for each in ("blue", "red")])
    con.remember(["The kettle shop is closed."])
    con.evict()
    assert texts(con, "kettle") == {"The kettle shop is closed."}
    change = con.execute("SELECT max(change_id) FROM changes").fetchone()
    assert change is not None
    con.undo(change[0])
    assert len(texts(con, "kettle")) == 3
    con.evict()
    con.execute("UPDATE memories SET expires_at = NULL WHERE memory_id = $1", [ids[0]])
    assert texts(con, "kettle") == {"The kettle shop is closed.", "The blue kettle leaks."}


def test_after_its_grace_no_file_holds_it(connect: Connect, tmp_path: Path) -> None:
    con = connect()
    con.remember([{"text": "The password is xylographique-77.", "expires_at": LONG_AGO}])
    con.remember(
        [{"text": "The kettle is zylindrique-88.", "expires_at": datetime.now(timezone.utc)}, "Tea."]
    )
    plan = con.execute("SELECT action, reason FROM eviction_plan() ORDER BY action").fetchall()
    assert plan == [("erase", "it expired"), ("grace", "it expired")]
    assert holding(tmp_path, b"xylographique")
    (erased,) = con.evict()
    assert erased.action == "erase"
    con.close()
    assert not holding(tmp_path, b"xylographique")
    assert holding(tmp_path, b"zylindrique")


def test_a_scope_evicts_its_own(connect: Connect) -> None:
    con = connect()
    con.remember(
        [{"text": f"The {each} kettle.", "user_id": user} for each in "abc" for user in ("ada", "bob")]
    )
    own = connect({"eviction": {"short_rows": 1}}, user_id="ada")
    assert len(own.evict()) == 2
    hidden = con.execute("SELECT user_id, count(*) FROM memories WHERE expires_at IS NOT NULL GROUP BY 1")
    assert hidden.fetchall() == [("ada", 2)]


def test_read_only_plans_and_does_not_carry_out(connect: Connect) -> None:
    config = {"eviction": {"least_importance": 0.5}}
    con = connect(config)
    con.remember([{"text": "The kettle.", "importance": 0.1}])
    con.close()
    con = connect(config, read_only=True)
    assert [each.action for each in con.evict(dry_run=True)] == ["evict"]
    with pytest.raises(aios_db.Error):
        con.evict()


def test_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "aios.yaml").write_text("eviction:\n  least_importance: 0.5\n", "utf-8")
    given = ["--config", str(tmp_path / "aios.yaml"), "--db", str(tmp_path / "a.aios")]
    with aios_db.connect(tmp_path / "a.aios") as con:
        (own, _) = con.remember(
            [{"text": "The kettle.", "importance": 0.1}, {"text": "Tea.", "tier": "archived"}]
        )
    assert main([*given, "evict", "--dry-run", "--json"]) == 0
    (planned,) = json.loads(capsys.readouterr().out)
    assert (planned["memory_id"], planned["action"]) == (own, "evict")
    assert main([*given, "evict"]) == 0
    assert "its importance is 0.10" in " ".join(capsys.readouterr().out.split())
    assert main([*given, "evict"]) == 0
    assert capsys.readouterr().out == "nothing to evict\n"
    assert main([*given, "compress", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memories"] == 1
