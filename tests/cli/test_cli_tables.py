"""Results as people read them: widths, folding, NULL, what is left out."""

from __future__ import annotations

import pytest

import aios_db
from aios_db.cli.results import FORMATS, print_result
from aios_db.cli.running import Runner
from aios_db.cli.tables import fold, print_lines, print_markdown, print_table, width_of


@pytest.fixture
def printed(capsys, monkeypatch):
    """Return a function that prints rows on a screen so wide, or into a pipe."""

    def printed(print_, columns, rows, width=None):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width:
            monkeypatch.setenv("COLUMNS", str(width))
        print_(columns, rows)
        return capsys.readouterr().out

    return printed


def test_columns_are_aligned_by_what_a_terminal_shows(printed):
    rows = [["日本", 1], ["e\u0301t", 20], ["😀", None], ["plain", 3]]
    assert printed(print_table, ["a", "b"], rows, 80).splitlines() == [
        "a         b",
        "─────  ────",
        "日本      1",
        "e\u0301t       20",
        "😀     NULL",
        "plain     3",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_screen(printed, width):
    rows = [[i, "words of some length " * i, "日本語" * 20, None, b"x" * i] for i in range(1, 30)]
    out = printed(print_table, ["n", "text", "cjk", "nothing", "data"], rows, width)
    assert max(map(width_of, out.splitlines())) <= max(width, 60)  # a note may be wider


def test_empty_columns_give_way_and_a_note_says_so(printed):
    columns, row = ["a", "b", "c", "d"], ["x" * 30, None, None, "y" * 30]
    assert "NULL  NULL" in printed(print_table, columns, [row], 80)
    narrow = printed(print_table, columns, [row], 60)
    assert "(left out, all NULL: b, c)" in narrow
    assert "x" * 20 in narrow


def test_too_many_columns_are_printed_one_value_per_line(printed):
    columns = [f"column_{i}" for i in range(30)]
    out = printed(print_table, columns, [list(range(30))] * 2, 80)
    assert "column_0 = 0\n" in out
    assert "column_29 = 29\n" in out
    assert "(30 columns are too wide for a table: one value per line)" in out


def test_an_empty_result_names_its_columns(printed):
    columns = [f"column_{i}" for i in range(30)]
    out = printed(print_table, columns, [], 80)
    assert out.startswith("(no rows; columns: column_0, column_1,")
    assert max(map(width_of, out.splitlines())) <= 80
    assert "column_29)" in out


def test_a_pipe_gets_everything(printed):
    rows = [["word " * 500 + "end\nnext"]] * 1500
    lines = printed(print_table, ["t"], rows).splitlines()
    assert len(lines) == 1502
    assert all(line.endswith("end\\nnext") for line in lines[2:])


def test_vectors_binary_and_control_characters(printed):
    out = printed(print_table, ["v", "b", "t"], [[[0.5] * 384, b"\x01" * 100, "a\x1b[31mb"]])
    assert "[0.5, 0.5, 0.5, … (384 numbers)]" in out
    assert "… (100 bytes)" in out
    assert "a\\x1b[31mb" in out


def test_lines_and_markdown(printed):
    assert printed(print_lines, ["a", "bcd"], [[1, None], [2, "x\ny"]]) == (
        "  a = 1\nbcd = NULL\n\n  a = 2\nbcd = x\n      y\n"
    )
    assert printed(print_markdown, ["a|b", "n"], [["x|y\nz", None]]) == (
        "| a\\|b | n |\n| --- | --- |\n| x\\|y<br>z | NULL |\n"
    )


def test_folding_keeps_every_character():
    text = "a long line with verylongwordsthatmustbebroken 日本語の文章 👩‍🚀e\u0301 " * 3
    lines = fold(text, 10)
    assert all(width_of(line) <= 10 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert fold("", 5) == [""]
    assert fold("a\nb", 5) == ["a", "b"]


@pytest.mark.sql
@pytest.mark.parametrize("format_", FORMATS)
def test_memories_can_be_read_in_every_format(capsys, monkeypatch, tmp_path, format_):
    monkeypatch.setenv("COLUMNS", "80")
    with aios_db.connect(tmp_path / "agent.aios") as con:
        con.remember([{"text": "The spare key is under the pot", "text_embedding": [1.0] + [0.0] * 383}])
        runner = Runner(con.cursor())
        runner.cursor.execute("FROM memories LIMIT 2")
        print_result(runner, format_)
    out = capsys.readouterr().out
    assert "The spare key" in out.replace("\n", " ")
    if format_ in {"table", "line"}:
        assert max(map(width_of, out.splitlines())) <= 80
