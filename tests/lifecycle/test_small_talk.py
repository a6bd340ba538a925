"""What tells a fact, and what only greets, asks or reacts."""

from __future__ import annotations

import pytest

from aios_db.lifecycle.small_talk import tells_something


@pytest.mark.parametrize(
    "sentence",
    [
        "Wow, Caroline, that painting is amazing!",
        "Hey John, that's great!",
        "You're doing an awesome job.",
        "That sounds like a lot of fun, Mel.",
        "Thanks for the tip, Caroline.",
        "When does the ferry leave?",
        "Danke, Anna.",
    ],
)
def test_who_only_asks_or_reacts_tells_nothing(sentence: str) -> None:
    assert not tells_something(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "You are allergic to nuts.",
        "Anna, you are allergic to nuts.",
        "That bridge is closed.",
        "Great, I moved to York.",
        "Thanks, the code is 4471.",
        "Yes, it opens at 9.",
        "It is not the blue one.",
        "Our trip to Rome was awesome.",
        "The ferry is late!",
        "It is important to lock the shed.",
    ],
)
def test_a_fact_is_told_with_praise_or_without(sentence: str) -> None:
    assert tells_something(sentence)
