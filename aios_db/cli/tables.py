"""Rows for people to read: tables, one value per line, Markdown.

On a terminal (or with ``COLUMNS`` set) results are laid out for its width: long text is folded, columns that
hold nothing are left out when there is no room, and what fits no other way is printed one value per line,
with a note. Into a pipe goes everything, one line for each row of a table.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeGuard

import click

from aios_db.cli.output import TABLE_ROWS, cell
from aios_db.schema.amounts import amount

GAP = 2
LEAST_WIDTH = 12  # of a column that is folded
_SAMPLE = 1000  # rows that say how wide the columns are in a pipe
_MOST_NUMBERS = 8
_SHOWN_BYTES = 16
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Row = Sequence[object]


def screen_width() -> int | None:
    """Return how many columns the output has; None when it is a pipe or a file."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def shown(value: object, *, one_line: bool, whole: bool) -> str:
    """Return a value as tables show it: NULL by its name, vectors and binary data abbreviated."""
    if value is None:
        return "NULL"
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        rest = f"… ({len(data):,} bytes)" if len(data) > _SHOWN_BYTES else ""
        return f"{data[:_SHOWN_BYTES].hex()}{rest}"
    if _is_vector(value):
        return f"[{', '.join(f'{each:.4g}' for each in value[:3])}, … ({len(value):,} numbers)]"
    text = str(value) if whole and isinstance(value, str) else cell(value)
    text = text.replace("\r\n", "\n").expandtabs(4)
    if one_line:
        text = text.replace("\n", "\\n")
    return str(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def _is_vector(value: object) -> TypeGuard[Sequence[float]]:
    if not isinstance(value, (list, tuple)) or len(value) <= _MOST_NUMBERS:
        return False
    return all(isinstance(each, (int, float)) for each in value)


def width_of(text: str) -> int:
    """Return the columns that a line takes on a terminal: two for a Chinese character, none for an accent."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fold(text: str, width: int) -> list[str]:
    """Return the lines of a text, none wider than ``width``, broken at spaces where there are any."""
    import regex

    lines = []
    for paragraph in text.split("\n"):
        line, used = "", 0
        for word in re.split(r"(?<= )", paragraph):
            size = width_of(word.rstrip(" "))
            if used and used + size > width:
                lines.append(line.rstrip(" "))
                line, used = "", 0
            if size <= width:
                line, used = line + word, used + width_of(word)
                continue
            for character in regex.findall(r"\X", word):
                size = width_of(character)
                if used and used + size > width:
                    lines.append(line)
                    line, used = "", 0
                line, used = line + character, used + size
        lines.append(line.rstrip(" "))
    return lines


def print_table(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows as a table; on a terminal the first `TABLE_ROWS`, and then a line says how many are left."""
    width = screen_width()
    iterator = iter(rows)
    if width is None:
        _print_whole_table(columns, iterator)
        return
    values = list(islice(iterator, TABLE_ROWS))
    table = [[shown(value, one_line=False, whole=False) for value in row] for row in values]
    kept, widths = _fitted(columns, values, table, width)
    if widths is None and not table:
        click.echo("\n".join(fold(f"(no rows; columns: {', '.join(columns)})", width)))
    elif widths is None:
        _print_records(columns, iter(table), width)
        click.echo(f"({len(columns)} columns are too wide for a table: one value per line)")
    else:
        numeric = [all(_is_number(row[i]) for row in values) and bool(values) for i in kept]
        for line in _table_lines(
            [columns[i] for i in kept], [[row[i] for i in kept] for row in table], widths, numeric
        ):
            click.echo(line)
        left_out = [name for i, name in enumerate(columns) if i not in kept]
        if left_out:
            click.echo(f"(left out, all NULL: {', '.join(left_out)})")
    if (rest := sum(1 for _ in iterator)) > 0:
        click.echo(f"… and {amount(rest, 'more row')}; csv and json print all of them")


def print_lines(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print one value per line, rows apart."""
    width = screen_width()
    texts = ([shown(value, one_line=False, whole=True) for value in row] for row in rows)
    _print_records(columns, texts, width)


def print_markdown(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows as a table in Markdown."""
    click.echo(f"| {' | '.join(map(_markdown, columns))} |")
    click.echo(f"|{' --- |' * len(columns)}")
    for row in rows:
        texts = (shown(value, one_line=False, whole=True) for value in row)
        click.echo(f"| {' | '.join(map(_markdown, texts))} |")


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _print_whole_table(columns: Sequence[str], rows: Iterator[Row]) -> None:
    sample = list(islice(rows, _SAMPLE))
    numeric = [bool(sample) and all(_is_number(row[i]) for row in sample) for i in range(len(columns))]
    texts = [[shown(value, one_line=True, whole=True) for value in row] for row in sample]
    widths = [max(map(width_of, column)) for column in zip(columns, *texts, strict=True)]
    rest = ([shown(value, one_line=True, whole=True) for value in row] for row in rows)
    for line in _table_lines(columns, chain(texts, rest), widths, numeric):
        click.echo(line)


def _fitted(
    columns: Sequence[str], values: Sequence[Row], table: Sequence[Sequence[str]], width: int
) -> tuple[list[int], list[int] | None]:
    """Return the columns to show and their widths; no widths when they do not fit."""
    natural = [
        max(width_of(line) for text in (name, *(row[i] for row in table)) for line in text.split("\n"))
        for i, name in enumerate(columns)
    ]

    def room(kept: Sequence[int]) -> int:
        return width - GAP * (len(kept) - 1)

    kept = list(range(len(columns)))
    if sum(natural) > room(kept):
        kept = [i for i in kept if any(row[i] is not None for row in values)] or kept
    least = [min(natural[i], max(LEAST_WIDTH, min(width_of(columns[i]), 2 * LEAST_WIDTH))) for i in kept]
    narrow = [natural[i] for i in kept]
    for limit in range(max(narrow, default=0), -1, -1):
        widths = [min(each, max(floor, limit)) for each, floor in zip(narrow, least, strict=True)]
        if sum(widths) <= room(kept):
            return kept, widths
    return kept, None


def _table_lines(
    columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]
) -> Iterator[str]:
    yield from _row_lines(columns, widths, numeric)
    yield (" " * GAP).join("─" * each for each in widths)
    for row in rows:
        yield from _row_lines(row, widths, numeric)


def _row_lines(texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> Iterator[str]:
    folded = [
        [text]
        if "\n" not in text and width_of(text) <= width
        else fold(text, width)
        if screen_width()
        else [text]
        for text, width in zip(texts, widths, strict=True)
    ]
    for line in range(max(map(len, folded), default=0)):
        parts = []
        for lines, width, right in zip(folded, widths, numeric, strict=True):
            text = lines[line] if line < len(lines) else ""
            space = " " * max(width - width_of(text), 0)
            parts.append(space + text if right else text + space)
        yield (" " * GAP).join(parts).rstrip()


def _print_records(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int | None) -> None:
    names = max(map(width_of, columns), default=0)
    for place, row in enumerate(rows):
        if place:
            click.echo()
        for name, text in zip(columns, row, strict=True):
            space = " " * (names - width_of(name))
            lines = fold(text, max(width - names - 3, LEAST_WIDTH)) if width else text.split("\n")
            click.echo(f"{space}{name} = {lines[0]}".rstrip())
            for line in lines[1:]:
                click.echo(f"{' ' * (names + 3)}{line}".rstrip())
