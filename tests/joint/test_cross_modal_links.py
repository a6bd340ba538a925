"""A picture or sound without words is found by what was said around it, over its links."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from joint_world import picture, tone

import aios_db

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def con(minilm_dir, tmp_path):
    config = {"engine": {"models_dir": str(minilm_dir.parent)}, "device": {"target": "cpu"}}
    with aios_db.connect(tmp_path / "a.aios", config=config) as con:
        yield con


def links(con: aios_db.Connection) -> list[tuple[str, str]]:
    return con.execute(
        "SELECT a.external_id, b.external_id FROM association_links l "
        "JOIN memories a ON a.memory_id = source_id JOIN memories b ON b.memory_id = target_id "
        "WHERE l.kind = 'cross_modal' ORDER BY ALL"
    ).fetchall()


def test_in_a_session(con: aios_db.Connection) -> None:
    con.remember("Here is our boat at the old pier.", session_id="s", external_id="said", occurred_at=NOON)
    later = NOON + timedelta(hours=2)
    con.remember(image=picture("blue"), session_id="s", external_id="shown", occurred_at=later)
    con.remember(
        audio=tone("red"), session_id="other", external_id="elsewhere", occurred_at=NOON + timedelta(days=1)
    )
    assert links(con) == [("shown", "said")]
    found = con.recall("the boat at the pier", k=2)
    assert [each.external_id for each in found] == ["said", "shown"]
    assert found[1].graph_score > 0


def test_at_one_time_and_of_one_user(con: aios_db.Connection) -> None:
    con.remember(image=picture("blue"), external_id="shown", occurred_at=NOON, user_id="ada")
    con.remember("Look at that", external_id="said", occurred_at=NOON + timedelta(seconds=20), user_id="ada")
    con.remember("Who is it", external_id="bo's", occurred_at=NOON, user_id="bo")
    con.remember("Much later", external_id="late", occurred_at=NOON + timedelta(hours=1), user_id="ada")
    con.remember("With words", image=picture("red"), external_id="both", occurred_at=NOON, user_id="ada")
    assert links(con) == [("both", "shown"), ("said", "shown")]


def test_texts_alone_are_not_linked_so(con: aios_db.Connection) -> None:
    con.remember([{"text": f"line {n}", "session_id": "s"} for n in range(5)])
    assert links(con) == []


def test_when_many_were_written_at_once_says_nothing(con: aios_db.Connection) -> None:
    many = [{"image": picture("blue", n), "external_id": f"shown {n}"} for n in range(6)]
    many += [{"audio": tone("red", n), "external_id": f"heard {n}"} for n in range(6)]
    con.remember(many)
    assert links(con) == []
    timed = [{**each, "external_id": f"later {at}", "occurred_at": NOON} for at, each in enumerate(many)]
    con.remember(timed)
    assert len(links(con)) > 0
    assert all(one.startswith("later") and other.startswith("later") for one, other in links(con))
