"""What kind of statement a text is, beyond what DuckDB says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import duckdb

_BETWEEN_CREATE_AND_KIND = {
    "or", "replace", "temp", "temporary", "persistent", "local", "global", "recursive", "unlogged",
}  # fmt: skip
_BODIES = {"macro", "function", "view"}


def first_word(query: str) -> str:
    """Return the first word of a statement in lower case, behind comments; empty where there is none."""
    return next((word for word, _ in words(query)), "")


def only_defines(statement: duckdb.Statement) -> bool:
    """Tell whether a statement makes a macro or a view, so that what is in it is not evaluated."""
    if statement.type != duckdb.StatementType.CREATE:
        return False
    kind = next(
        (word for word, _ in words(statement.query) if word not in _BETWEEN_CREATE_AND_KIND | {"create"}), ""
    )
    return kind in _BODIES


def only_explains(statement: duckdb.Statement) -> bool:
    """Tell whether a statement shows a plan and does not run it, as EXPLAIN ANALYZE does."""
    if statement.type != duckdb.StatementType.EXPLAIN:
        return False
    options = [word for word, _ in itertools.islice(words(statement.query), 1, 6)]
    before = itertools.takewhile(lambda word: word not in {"select", "with", "from"}, options)
    return not {"analyze", "analyse"}.intersection(before)


def selects_from(statement: duckdb.Statement, function: str) -> bool:
    """Tell whether a SELECT names a function, in lower case, in its own text and outside of its values."""
    if statement.type != duckdb.StatementType.SELECT or function not in statement.query.lower():
        return False
    return any(word == function for word, _ in words(statement.query))


def returns_count(statement: duckdb.Statement, description: Sequence[Sequence[object]] | None) -> bool:
    """Tell whether the result of a statement is how many rows it changed, and not rows of its own."""
    if duckdb.ExpectedResultType.CHANGED_ROWS not in statement.expected_result_type:
        return False
    if statement.type == duckdb.StatementType.MULTI:  # a PIVOT: it makes a type, and selects
        return False
    named = description is not None and len(description) == 1 and description[0][0] == "Count"
    return named and not returning(statement.query)


def returning(query: str) -> str:
    """Return what stands behind RETURNING, a reserved word that is a name only after AS; else nothing."""
    before = ""
    for word, depth, end in _tokens(query):
        if word == "returning" and depth == 0 and before != "as":
            return query.encode()[end:].decode().strip().removesuffix(";")
        before = word
    return ""


def dotted_name(words_: Iterable[str]) -> list[str]:
    """Return the parts of the dotted name that words begin with, without quotes; one empty part of none."""
    parts: list[str] = []
    for word in words_:
        if word == ".":
            parts.append("")
        elif parts and parts[-1]:
            break
        else:
            parts = [*parts[:-1], word.strip('"')]
    return parts or [""]


def words(query: str) -> Iterator[tuple[str, int]]:
    """Yield each token but comments and brackets, in lower case, and how deep in brackets it is."""
    for word, depth, _ in _tokens(query):
        yield word, depth


def _tokens(query: str) -> Iterator[tuple[str, int, int]]:
    text, depth = query.encode(), 0
    tokens = [start for start, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    # DuckDB 1.5 has a statement without text for the type that a PIVOT makes.
    for start, end in itertools.pairwise([*tokens, len(text)] if tokens else []):
        token = text[start:end].split(b"--")[0].split(b"/*")[0].strip()
        if token[:1] in b"()[]":
            depth += sum(token.count(each) for each in (b"(", b"["))
            depth -= sum(token.count(each) for each in (b")", b"]"))
        elif token:
            yield token.decode("utf-8", "replace").lower(), depth, start + len(token)
