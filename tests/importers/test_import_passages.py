from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.importers.passages import PASSAGE_CHARACTERS, cut

letters = st.text(st.sampled_from("ab .\n\t。!-e\u0301👍🏽👨\u200d👩🇩🇪ก"), max_size=400)


@given(letters | st.text(), st.integers(1, 60))
def test_passages_hold_the_limit_and_lose_nothing(text, limit):
    passages = list(cut(text, limit))
    assert all(0 < len(passage) <= limit for _, passage in passages)
    assert "".join("".join(passage.split()) for _, passage in passages) == "".join(text.split())
    starts = [start for start, _ in passages]
    assert starts == sorted(set(starts))
    assert all(text[start:].startswith(passage[:1]) for start, passage in passages)


@pytest.mark.parametrize(
    ("unit", "end"),
    [
        ("One line of some words, and no blank line after it\n", r"after it$"),
        ("One sentence stands after the other here. ", r"here\.$"),
        ("这是一个没有空格的句子。", r"。$"),
        ("words ", r"words$"),
        ("x", r"x$"),
        ("e\u0301", "e\u0301$"),
        ("👨\u200d👩", "👨\u200d👩$"),
    ],
)
def test_the_limit_holds_without_blank_lines(write, unit, end):
    rows, _ = write("a.txt", unit * 2000)
    assert len(rows) > 1
    texts = [row.fields["text"] for row in rows]
    assert all(len(text) <= PASSAGE_CHARACTERS and re.search(end, text) for text in texts)
    assert all(len(text) > PASSAGE_CHARACTERS / 4 for text in texts[:-1])


def test_passages_of_one_section_share_its_title_and_know_their_line(write):
    rows, _ = write("a.md", "# A\n" + "A line of the list\n" * 100 + "# B\nb\n")
    assert [row.fields["title"] for row in rows] == ["A", "A", "B"]
    assert [row.location for row in rows] == ["a.md:2", "a.md:54", "a.md:103"]


def test_headings_that_are_underlined(write):
    rows, _ = write("a.md", "Title\n=====\nOne.\n\nPart\n----\nTwo.\n\nnot\na heading\n---\n| a |\n")
    assert [(row.fields["title"], row.fields["text"]) for row in rows] == [
        ("Title", "One."),
        ("Title › Part", "Two.\n\nnot\na heading\n---\n| a |"),
    ]
