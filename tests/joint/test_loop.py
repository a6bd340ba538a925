"""The cognitive loop: what comes in and what is answered become memories, linked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from joint_world import pairs, picture, tone

import aios_db
from aios_db.loop import CognitiveLoop, Context
from aios_db.schema.errors import ProgrammingError

World = Callable[..., aios_db.Connection]


def test_a_picture_is_answered_with_what_was_heard_and_said(world: World) -> None:
    def respond(context: Context) -> str:
        return "I know: " + context.memories[0].text

    with world() as con:
        con.fit_fusion(pairs())
        con.remember("a red thing is in the hall", external_id="said", kind="document")
        con.remember(audio=tone("red", 60), external_id="heard")
        con.remember(audio=tone("blue", 60), external_id="other")
        loop = CognitiveLoop(con, respond, k=2, session_id="s", speaker="Ada")
        step = loop.step(image=picture("red", 50))
        assert {each.external_id for each in step.context.memories} == {"said", "heard"}
        answer = con.get(step.answer_id)
        assert answer is not None and answer.text == step.answer and answer.speaker == "agent"
        assert answer.derived_from == [
            step.context.input_id,
            *(each.memory_id for each in step.context.memories),
        ]
        links = con.execute(
            "SELECT target_id FROM association_links WHERE source_id = ? AND kind = 'cross_modal'",
            [step.context.input_id],
        ).fetchall()
        assert {each.memory_id for each in step.context.memories} <= {target for (target,) in links}
        assert list(step.seconds) == ["remember", "recall", "respond", "reinforce"]
        recorded = con.execute("SELECT count(*) FROM metrics WHERE operation LIKE 'loop.%'").fetchone()
        assert recorded == (4,)
    with world() as con:
        again = CognitiveLoop(con, lambda context: None, k=3)
        step = asyncio.run(again.astep("something red", audio=tone("red", 70)))
        assert step.answer is None and step.answer_id is None
        assert "heard" in {each.external_id for each in step.context.memories}


def test_an_input_is_kept_where_the_responder_fails(world: World) -> None:
    def respond(context: Context) -> str:
        raise ValueError("no")

    with world() as con:
        with pytest.raises(ProgrammingError, match="give a responder"):
            CognitiveLoop(con)
        loop = CognitiveLoop(con, respond)
        with pytest.raises(ProgrammingError, match="give a text"):
            loop.step()
        with pytest.raises(ValueError, match="no"):
            loop.step("tea at four")
        assert con.execute("SELECT text FROM memories").fetchall() == [("tea at four",)]
        assert CognitiveLoop(con, lambda context: "yes").step(image=picture("red")).answer == "yes"
