"""What has expired is not recalled, from that second on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import aios_db

Connect = Callable[..., aios_db.Connection]


def soon(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def found(con: aios_db.Connection, text: str) -> list[str]:
    return [each.text for each in con.recall(text, k=5)]


def test_it_is_not_recalled_by_any_way(connect: Connect) -> None:
    con = connect()
    con.remember([{"text": f"The kettle is red, says note {each}.", "session_id": "s"} for each in range(5)])
    (own,) = con.remember([{"text": "The blue kettle leaks.", "session_id": "s", "expires_at": soon(1.5)}])
    assert found(con, "blue kettle leaks")[0] == "The blue kettle leaks."
    time.sleep(1.6)
    assert "The blue kettle leaks." not in found(con, "blue kettle leaks")
    searches = (
        "SELECT count(*) FROM vector_search(embed('The blue kettle leaks.'), 50) WHERE memory_id = $1",
        "SELECT count(*) FROM keyword_search('blue kettle leaks', 50) WHERE memory_id = $1",
    )
    assert [con.execute(each, [own]).fetchone() for each in searches] == [(0,), (0,)]
    assert con.get(own) is not None  # it is there until it is erased
    con.close()
    con = connect(read_only=True)
    assert "The blue kettle leaks." not in found(con, "blue kettle leaks")
    assert con.execute("SELECT count(*) FROM quarantined").fetchone() == (0,)


def test_what_expires_later_is_recalled_again(connect: Connect) -> None:
    con = connect()
    con.remember(["The kettle is red."])
    (own,) = con.remember([{"text": "The blue kettle leaks.", "expires_at": soon(-5)}])
    assert found(con, "blue kettle") == ["The kettle is red."]
    con.update(own, expires_at=soon(60))
    assert found(con, "blue kettle")[0] == "The blue kettle leaks."
    con.update(own, expires_at=soon(-1))
    con.execute("UPDATE memories SET expires_at = NULL WHERE memory_id = $1", [own])
    assert found(con, "blue kettle")[0] == "The blue kettle leaks."


def test_what_is_said_again_is_no_longer_expired(connect: Connect) -> None:
    con = connect()
    con.remember([{"text": "The blue kettle leaks.", "expires_at": soon(-5)}, {"text": "The kettle is red."}])
    assert found(con, "blue kettle") == ["The kettle is red."]
    con.remember(["The blue kettle leaks."])
    assert found(con, "blue kettle")[0] == "The blue kettle leaks."
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)


def test_scopes_and_another_process_see_it_the_same(connect: Connect) -> None:
    con = connect()
    con.remember([{"text": "The blue kettle leaks.", "user_id": "ada", "expires_at": soon(-5)}])
    con.remember([{"text": "The kettle is red.", "user_id": "ada"}])
    own = connect(user_id="ada")
    assert found(own, "blue kettle") == ["The kettle is red."]
