"""A question finds something at any moment of an exchange: in the space before, or in the new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from joint_world import WORDS, pairs, picture

import aios_db
from aios_db.search import joint

World = Callable[..., aios_db.Connection]
RED = picture("red", 50)


def test_it_is_asked_between_the_exchange_and_the_activation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        con.remember([{"image": picture(colour, 60), "external_id": colour} for colour in WORDS])
        activate, found = con.store.versions.set_active, []

        def late(version: str) -> None:
            found.extend(con.recall(image=RED, k=1))
            activate(version)

        monkeypatch.setattr(con.store.versions, "set_active", late)
        first, second = con.store.joint.in_use.version, con.fit_fusion(pairs(), seed=5, name="second").version
        assert first != second == con.store.joint.in_use.version
        found += con.recall(image=RED, k=1)
        assert [each.external_id for each in found] == ["red", "red"]


def test_a_question_on_its_way_is_answered_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        con.remember([{"image": picture(colour, 60)} for colour in WORDS])
        index, question = con.store.index, con.store.joint.question(None, None, RED, None)
        assert question is not None
        before: Any = index.joint_search(question, 3)
        con.fit_fusion(pairs(), seed=5, name="second")
        con.remember(image=picture("red", 61))
        con.forget(con.recall(image=picture("blue", 60), k=1)[0].memory_id)
        np.testing.assert_array_equal(index.joint_search(question, 3)[0], before[0])
        monkeypatch.setattr(joint, "EARLIER_S", 0.0)
        question[1:] *= 2  # else the view knows what it was asked last
        assert len(index.joint_search(question, 3)[0]) == 0
