"""Where statements of SQL end, by DuckDB's tokenizer and parser: a ``;`` in a text or a comment ends none."""

from __future__ import annotations


def split_complete(text: str) -> tuple[str, str]:
    """Return the statements of ``text`` that are complete, and what follows them.

    What follows is empty when it is only space and comments. A text, a name or a comment that is not closed
    makes a statement incomplete.
    """
    import duckdb

    data = text.encode("utf-8", "replace")
    ends = [
        start
        for start, kind in duckdb.tokenize(text)
        if kind == duckdb.token_type.operator and data[start : start + 1] == b";"
    ]
    end = ends[-1] + 1 if ends else 0
    complete, rest = data[:end].decode(), data[end:].decode()
    return complete, "" if is_blank(rest) else rest


def is_blank(text: str) -> bool:
    """Tell whether ``text`` holds no statement: only space, and comments that are closed."""
    if not text.strip():
        return True
    import duckdb

    if any(kind != _comment() for _, kind in duckdb.tokenize(text)):
        return False
    try:
        return not duckdb.extract_statements(text)
    except duckdb.Error:
        return False


def _comment() -> object:
    import duckdb

    return duckdb.token_type.comment
