"""Two users in one database, and each in a database of their own: the answers are the same."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.config import Config

pytestmark = [pytest.mark.sql, pytest.mark.slow]

TEXTS = [
    "The red lamp stands in the hall.",
    "The red lamp is broken, said Ingrid Solberg.",
    "Ingrid Solberg repairs lamps in Tromsø.",
    "Tea is at five.",
    "Tea with Samir Haddad at five, in the hall.",
    "Samir Haddad plays the viola.",
    "A viola, a lamp and a cup of tea.",
    "The hall is painted green.",
    "Green tea for Ingrid Solberg.",
    "yes",
]
QUERIES = ["the red lamp", "Ingrid Solberg", "who plays the viola?", "tea in the hall", "green"]
SEARCHES = ["recall(?, k := 20)", "keyword_search(?, 20)", "vector_search(embed(?), 20)"]
SCORES = {"score", "standard_score", "vector_score", "graph_score", "recency_score"}
USERS = ["ada", "bo", None]

TITLES = st.sampled_from([None, None, "Ingrid Solberg", "The hall"])
REMEMBER = st.tuples(
    st.just("remember"),
    st.sampled_from(USERS),
    st.sampled_from(TEXTS),
    st.sampled_from([None, "s", "t"]),
    TITLES,
    st.booleans(),
)
FORGET = st.tuples(st.just("forget"), st.sampled_from(USERS), st.integers(0, 5), st.booleans())
UPDATE = st.tuples(
    st.just("update"), st.sampled_from(USERS), st.integers(0, 5), st.sampled_from(TEXTS), st.booleans()
)
RECALL = st.tuples(st.just("recall"), st.sampled_from(["ada", "bo"]), st.sampled_from(QUERIES))
OPTIMIZE = st.just(("optimize",))
STEPS = st.lists(
    st.one_of(REMEMBER, REMEMBER, REMEMBER, REMEMBER, FORGET, UPDATE, RECALL, OPTIMIZE),
    min_size=6,
    max_size=24,
)


class Database:
    """A database that some users share, with a connection for each and one for all of it."""

    def __init__(self, path: Path, users: list[str], stack: ExitStack) -> None:
        config = Config(storage=replace(Config().storage, durability="normal", maintenance_delay_s=3600))

        def connect(**scope: str) -> aios_db.Connection:
            return stack.enter_context(aios_db.connect(path, config=config, **scope))  # type: ignore[arg-type]

        self.everything = connect()
        self.of = {user: connect(user_id=user) for user in users}

    def take(self, step: tuple[Any, ...]) -> None:
        """Do a step, unless it is of a user who is not here."""
        kind, *rest = step
        if kind == "optimize":
            for con in self.of.values():
                con.store.optimize()
            return
        user, *values = rest
        if user is not None and user not in self.of:
            return
        if kind == "recall":
            self.of[user].recall(values[0], k=5)
            return
        *values, scoped = values
        con = self.of[user] if scoped and user is not None else self.everything
        if kind == "remember":
            text, session, title = values
            con.remember(text, user_id=user, session_id=session, title=title)
            return
        rows = con.execute(
            "SELECT memory_id FROM memories WHERE user_id IS NOT DISTINCT FROM ? ORDER BY memory_id", [user]
        ).fetchall()
        if not rows:
            return
        memory_id = rows[values[0] % len(rows)][0]
        if kind == "forget":
            con.forget(memory_id)
        else:
            with suppress(aios_db.IntegrityError):  # another memory says so already
                con.update(memory_id, text=values[1])

    def answers(self, user: str) -> dict[str, Any]:
        """Return all that a user is told, with texts in the place of ids."""
        con = self.of[user]
        texts = dict(con.execute("SELECT memory_id, coalesce(title, '') || text FROM memories").fetchall())
        found: dict[str, Any] = {"all": sorted(texts.values())}
        found["order"] = [texts[each] for each in sorted(texts)]
        for query in QUERIES:
            for search in SEARCHES:
                rows = con.execute(f"FROM {search}", [query]).df().to_dict("records")
                found[f"{search} {query}"] = [
                    (
                        texts[row["memory_id"]],
                        *(round(row[name], 4) for name in row if name in SCORES and row[name] == row[name]),
                    )
                    for row in rows
                ]
        found["links"] = sorted(
            (texts[source], texts[target], kind, round(weight, 5))
            for source, target, kind, weight in con.execute(
                "SELECT source_id, target_id, kind, weight FROM association_links"
            ).fetchall()
        )
        for name, text in texts.items():
            near = con.execute("SELECT memory_id FROM neighbors(?, 2)", [name]).fetchall()
            found.setdefault(f"near {text}", []).append(sorted(texts[row[0]] for row in near))
        return found


@settings(max_examples=int(os.environ.get("AIOS_EXAMPLES", "2")), deadline=None)
@given(STEPS)
def test_what_a_user_is_told_does_not_depend_on_others(
    minilm_dir: Path, steps: list[tuple[Any, ...]]
) -> None:
    del minilm_dir  # it is there
    with TemporaryDirectory() as directory, ExitStack() as stack:
        mixed = Database(Path(directory, "mixed.aios"), ["ada", "bo"], stack)
        alone = {user: Database(Path(directory, f"{user}.aios"), [user], stack) for user in ("ada", "bo")}
        for step in steps:
            for database in (mixed, *alone.values()):
                database.take(step)
        for user, database in alone.items():
            expected, found = database.answers(user), mixed.answers(user)
            for name, answer in expected.items():
                assert found[name] == answer, name
