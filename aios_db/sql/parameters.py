"""Parameters of a prepared query: what each has as its type, and how it is passed on.

DuckDB plans a prepared query anew at each EXECUTE unless the type of each parameter is clear from the query
and is that of the value. So a query is prepared with its parameters cast to the types of the values, which
are what they would be if the query was run without a plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timezone
from typing import Any

import duckdb

from aios_db.sql.one_row import one_row
from aios_db.sql.trees import nodes, tree_of
from aios_db.udfs.macros import quoted

Parameters = Sequence[Any] | Mapping[str, Any]

_VARIABLE = "aios_parameters"
_INTEGER, _BIGINT = 1 << 31, 1 << 63
_TYPES = {bool: "BOOLEAN", float: "DOUBLE", type(None): '"NULL"'}


class Texts:
    """The texts that running calls of prepared queries are given; DuckDB asks for them by number."""

    FUNCTION = "aios_parameter"

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        """Register the function in the instance of ``database``."""
        self._texts: dict[int, str] = {}
        self._numbers = itertools.count()

        def text(number: int) -> str:
            return self._texts[number]

        create_function: Any = database.create_function  # its annotations know no type written as text
        create_function(self.FUNCTION, text, ["BIGINT"], "VARCHAR", side_effects=True)

    @contextmanager
    def kept(self) -> Iterator[Callable[[str], int]]:
        """Yield a function that keeps a text, until the end of the block, and returns its number."""
        mine: list[int] = []

        def keep(text: str) -> int:
            mine.append(next(self._numbers))
            self._texts[mine[-1]] = text
            return mine[-1]

        try:
            yield keep
        finally:
            for number in mine:
                del self._texts[number]


@dataclass(frozen=True)
class Given:
    """The parameters of one execution.

    Attributes
    ----------
    names
        Name of each, or None where they are given by their places.
    types
        SQL type of each.
    called
        SQL that stands for each, made of digits and words of our own.
    """

    names: tuple[str, ...] | None
    types: tuple[str, ...]
    called: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """What stands behind the name in an EXECUTE."""
        called = self.called
        if self.names is not None:
            called = tuple(f"{quoted(name)} := {each}" for name, each in zip(self.names, called, strict=True))
        return f"({', '.join(called)})" if called else ""

    def type_of(self, name: str, place: int) -> str | None:
        """Return the type of the parameter of this name, or at this place, from 0; None of one not given."""
        if self.names is not None:
            return self.types[self.names.index(name)] if name in self.names else None
        if name:
            place = int(name) - 1 if name.isdecimal() else -1
        return self.types[place] if 0 <= place < len(self.types) else None


@contextmanager
def given(
    database: duckdb.DuckDBPyConnection, parameters: Parameters | None, texts: Texts
) -> Iterator[Given]:
    """Yield parameters as an EXECUTE takes them: it takes no values, so they are written out or set."""
    names = tuple(sorted(parameters)) if isinstance(parameters, Mapping) else None
    values: list[Any] = (
        [parameters[name] for name in names or ()]
        if isinstance(parameters, Mapping)
        else list(parameters or ())
    )
    with texts.kept() as keep:
        known = [_named(value, keep) for value in values]
        others = [value for value, each in zip(values, known, strict=True) if each is None]
        found = iter(_set(database, others) if others else ())
        both = [each or next(found) for each in known]
        yield Given(names, tuple(type_ for _, type_ in both), tuple(called for called, _ in both))


def typed(database: duckdb.DuckDBPyConnection, query: str, parameters: Given) -> str:
    """Return a SELECT with each parameter cast to its type; as it is where that would rename a column."""
    if not parameters.types:
        return query
    tree = tree_of(database, query)
    marks = list(_marks(query))
    if len(marks) != sum(_is_parameter(node) for node in nodes(tree)) or _names_a_column(tree):
        return query
    text, pieces, end = query.encode(), [], 0
    for place, (start, stop, name) in enumerate(marks):
        type_ = parameters.type_of(name, place)
        if type_ is None:
            return query  # DuckDB says which one is missing
        # A cast of a bare parameter to yet another type would give it two types.
        pieces += [text[end:start], b"coalesce(CAST(", text[start:stop], f" AS {type_}), NULL)".encode()]
        end = stop
    return b"".join([*pieces, text[end:]]).decode()


def _named(value: Any, keep: Callable[[str], int]) -> tuple[str, str] | None:
    """Return SQL that stands for a value, and its type; None where there is none."""
    kind = type(value)
    if kind is str:
        return f"{Texts.FUNCTION}({keep(value)})", "VARCHAR"
    if kind is list and value and all(type(each) is str for each in value):
        return f"[{', '.join(f'{Texts.FUNCTION}({keep(each)})' for each in value)}]", "VARCHAR[]"
    type_ = _type(value)
    if type_ is None:
        return None
    text = value.isoformat() if kind is datetime else repr(value)
    return ("NULL" if value is None else f"'{text}'::{type_}"), type_


def _type(value: Any) -> str | None:
    """Return the type that DuckDB gives a value, where its text is digits and words of Python's."""
    kind = type(value)
    if kind is int:
        if -_INTEGER <= value < _INTEGER:
            return "INTEGER"
        return "BIGINT" if -_BIGINT <= value < _BIGINT else None
    if kind is datetime and 1 < value.year < MAXYEAR and value.tzinfo in {None, timezone.utc}:
        return "TIMESTAMP" if value.tzinfo is None else "TIMESTAMP WITH TIME ZONE"
    return _TYPES.get(kind)


def _set(database: duckdb.DuckDBPyConnection, values: Sequence[Any]) -> list[tuple[str, str]]:
    """Set values as a variable; return SQL that reads each, and its type."""
    database.execute(f"SET VARIABLE {_VARIABLE} = row({', '.join('?' * len(values))})", values)
    read = [f"getvariable('{_VARIABLE}')[{place}]" for place in range(1, len(values) + 1)]
    if all(type(value) is list and set(map(type, value)) == {float} for value in values):
        return [(each, "DOUBLE[]") for each in read]
    types = one_row(database, f"SELECT {', '.join(f'typeof({each})' for each in read)}")
    return list(zip(read, types or (), strict=True))


def _marks(query: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in bytes of each parameter, and its name; empty of a question mark."""
    text = query.encode()
    for start, kind in duckdb.tokenize(query):
        sign = text[start : start + 1]
        if kind != duckdb.token_type.operator or sign not in {b"?", b"$"}:
            continue
        rest = text[start + 1 :].decode(errors="replace") if sign == b"$" else ""
        name = "".join(itertools.takewhile(lambda letter: letter.isalnum() or letter == "_", rest))
        yield start, start + 1 + len(name.encode()), name


def _is_parameter(node: Mapping[str, Any]) -> bool:
    return node.get("class") == "PARAMETER"


def _names_a_column(tree: Mapping[str, Any]) -> bool:
    """Tell whether a parameter is in an output column without a name, which DuckDB names by its text."""
    return any(
        not item.get("alias") and any(map(_is_parameter, nodes(item)))
        for select in nodes(tree)
        for item in select.get("select_list") or ()
    )
