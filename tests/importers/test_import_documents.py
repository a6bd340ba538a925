from __future__ import annotations

from datetime import datetime, timezone

import pytest

from aios_db.importers import UnreadableError, read_path

UTC = timezone.utc


def texts(rows):
    return [row.fields["text"] for row in rows]


def test_markdown_sections(write):
    rows, rejected = write(
        "docs/guide.md",
        "---\ntitle: Guide\ndate: 2024-02-03\n---\nIntro.\n\n# Install #\nOne.\n\nTwo.\n"
        "```sh\n# not a heading\n```\n## Linux\nThree.\n# Empty\n# Use\nFour.\n",
    )
    assert not rejected
    assert [(row.fields["title"], row.fields["text"], row.location) for row in rows] == [
        ("Guide", "Intro.", "guide.md:5"),
        ("Guide › Install", "One.\n\nTwo.\n```sh\n# not a heading\n```", "guide.md:8"),
        ("Guide › Install › Linux", "Three.", "guide.md:15"),
        ("Guide › Use", "Four.", "guide.md:18"),
    ]
    assert {row.fields["occurred_at"] for row in rows} == {datetime(2024, 2, 3, tzinfo=UTC)}
    assert {row.fields["session_id"] for row in rows} == {"guide.md"}
    assert {row.fields["kind"] for row in rows} == {"document"}


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("---\nno end\n", ["---\nno end"]),
        ("---\n[: bad\n---\nx\n", ["---\n[: bad\n---\nx"]),
        ("---\ndate: soon\ntitle: [a]\n---\nx\n", ["x"]),
        ("---\njust words\n---\nx\n", ["x"]),
        ("", []),
        ("# Only a heading\n", []),
    ],
)
def test_markdown_front_matter_that_is_none(write, text, passages):
    rows, rejected = write("a.md", text)
    assert (texts(rows), rejected) == (passages, [])


def test_long_sections_are_cut_between_paragraphs(write):
    paragraphs = [f"{number} " + ("word " * 60).strip() for number in range(10)]
    rows, _ = write("a.txt", "\n\n\n".join(paragraphs))
    assert len(rows) == 4
    assert "\n\n".join(texts(rows)).split("\n\n") == paragraphs
    assert [row.location for row in rows] == ["a.txt:1", "a.txt:10", "a.txt:19", "a.txt:28"]
    assert {row.fields["title"] for row in rows} == {"a"}


def test_text_that_is_not_utf8_names_the_line(write):
    with pytest.raises(UnreadableError, match=r"a\.txt:3: is not UTF-8 text"):
        write("a.txt", b"one\ntwo\nthr\xe9e\n")


def test_folder_in_order_without_hidden_and_unknown_files(tmp_path):
    for name in ("b.txt", "a/z.md", ".git/x.txt", "a/.hidden.md", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [row.fields["source"] for row in read_path(tmp_path)] == ["a/z.md", "b.txt"]
