"""The cognitive loop: what comes in and what is answered become memories, linked."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joint_world import pairs, picture, seen, tone

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


def test_an_asynchronous_responder_is_awaited_by_astep_alone(world: World) -> None:
    async def respond(context: Context) -> str:
        await asyncio.sleep(0)
        return f"asked {context.text}"

    with world() as con:
        loop = CognitiveLoop(con, respond)
        assert asyncio.run(loop.astep("the time")).answer == "asked the time"
        with pytest.raises(ProgrammingError, match=r"await astep"):
            loop.step("the day")
        assert [each.text for each in con.recall("the day", k=1)] == ["the day"]


@pytest.mark.parametrize("answer", ["", "  \n", None])
def test_a_responder_that_says_nothing_leaves_the_input_alone(world: World, answer: str | None) -> None:
    with world() as con:
        step = CognitiveLoop(con, lambda context: answer).step("a question")
        assert step.answer is None and step.answer_id is None
        assert con.execute("SELECT text FROM memories").fetchall() == [("a question",)]


@pytest.mark.parametrize("answer", [5, b"yes", ["yes"], {"text": "yes", "trust": 1.0}])
def test_a_responder_writes_no_rows(world: World, answer: Any) -> None:
    with world() as con:
        with pytest.raises(ProgrammingError, match=f"returned a {type(answer).__name__}; give a text"):
            CognitiveLoop(con, lambda context: answer).step("a question")
        assert con.execute("SELECT text FROM memories").fetchall() == [("a question",)]


def test_a_cancelled_step_keeps_its_input_and_no_answer(world: World) -> None:
    async def respond(context: Context) -> str:
        await asyncio.sleep(60 if context.text == "slow" else 0)
        return f"answer to {context.text}"

    async def both(loop: CognitiveLoop) -> list[Any]:
        tasks = [asyncio.create_task(loop.astep(text)) for text in ("slow", "fast")]
        await tasks[1]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with world() as con:
        slow, fast = asyncio.run(both(CognitiveLoop(con, respond)))
        assert isinstance(slow, asyncio.CancelledError) and fast.answer == "answer to fast"
        texts = {text for (text,) in con.execute("SELECT text FROM memories").fetchall()}
        assert texts == {"slow", "fast", "answer to fast"}


@pytest.mark.parametrize("forgotten", ["input", "memory"])
def test_what_the_responder_forgets_is_not_linked(world: World, forgotten: str) -> None:
    def respond(context: Context) -> str:
        con.forget(context.input_id if forgotten == "input" else context.memories[0].memory_id)
        return "done"

    with world() as con:
        con.remember(["tea is at four", "tea is at five"])
        step = CognitiveLoop(con, respond).step("when is tea?")
        assert len(step.context.memories) == 2 and step.answer == "done" and step.answer_id is not None
        linked = con.execute(
            "SELECT count(*) FROM association_links WHERE source_id = ? AND kind = 'recalled_together'",
            [step.context.input_id],
        ).fetchone()
        assert linked == (0 if forgotten == "input" else 1,)


def test_words_go_on_where_a_picture_cannot_ask(world: World, tmp_path: Path) -> None:
    def step(con: aios_db.Connection, seed: int) -> set[str]:
        loop = CognitiveLoop(con, lambda context: None, k=2)
        found = loop.step("where is the red thing?", image=picture("red", seed)).context.memories
        assert loop.step(image=picture("red", seed + 10)).context.memories == []  # nothing asks
        return {each.text for each in found}

    with world() as con:
        space = con.fit_fusion(pairs()).path
        con.remember("the red thing is in the kitchen")
        con.register_encoder("quarters", "image", 12, seen, size=32, version="2")
        assert "the red thing is in the kitchen" in step(con, 1)
    shutil.move(space, tmp_path / "lost")
    with world() as con:
        assert "the red thing is in the kitchen" in step(con, 2)
