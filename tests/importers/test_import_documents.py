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


def test_bytes_that_are_no_text_are_refused(write):
    with pytest.raises(UnreadableError, match=r"a\.txt: is not text"):
        write("a.txt", bytes(range(256)))


def test_folder_in_order_without_hidden_and_unknown_files(tmp_path):
    for name in ("b.txt", "a/z.md", ".git/x.txt", "a/.hidden.md", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [row.fields["source"] for row in read_path(tmp_path)] == ["a/z.md", "b.txt"]


@pytest.mark.parametrize(
    "content",
    [
        b"\0\1\2\3",
        bytes(range(32)) * 4,
        b"\0\1\0\2\0\3\0\4",
        b"\1\0\2\0\3\0",
        b"\xff\xfe\1\0\2\0\3\0",
        b"\xef\xbb\xbf\0\1\2",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06",
        b"\x7fELF\2\1\1" + b"\0" * 64,
        b"PK\3\4\x14\0\0\0\x08\0",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.log", "a.html"])
def test_control_characters_are_no_text(write, name, content):
    with pytest.raises(UnreadableError, match=r": is not text"):
        write(name, content)


@pytest.mark.parametrize(
    "content", ["ö" * 70_000, "a\tb\x1b[31mred\x1b[0m\f\r\n", "x" * 65_535 + "€", "word " * 20 + "\0"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_text_with_a_few_control_characters_is_read(write, content, encoding):
    rows, rejected = write("a.md", content.encode(encoding))
    assert rows
    assert not rejected
