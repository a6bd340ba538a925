"""Declaring Python functions for DuckDB, and the macros of udfs/sql."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from aios_db.schema.errors import DataError, OperationalError, ProgrammingError
from aios_db.sql.duckdb_errors import translated
from aios_db.udfs import embed, functions, macros, registry
from aios_db.udfs.types import BIGINT

pytestmark = pytest.mark.sql


class LetterCounts:
    """A two-number "encoder": how many a's and b's, so that a test can say what comes out."""

    dimension = 2

    def encode(self, texts: list[str]) -> np.ndarray[Any, Any]:
        self.seen = list(texts)
        return np.array([[text.count("a"), text.count("b")] for text in texts], dtype=np.float32)


class Store:
    dimension = 2

    def __init__(self) -> None:
        self.encoder = LetterCounts()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def test_embed_is_vectorised_keeps_nulls_and_encodes_equal_texts_once(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    store = Store()
    functions.install(connection, embed.FUNCTIONS, lambda: store, 2, functions.ErrorBook())
    macros.create(connection, macros.load("embed"), None)
    rows = connection.execute("SELECT embed(t) FROM (VALUES ('ab'), (NULL), ('aab'), ('ab')) v(t)").fetchall()
    assert rows == [((1.0, 1.0),), (None,), ((2.0, 1.0),), ((1.0, 1.0),)]
    assert store.encoder.seen == ["ab", "aab"]


def test_error_inside_a_function_reaches_the_caller_as_it_was_raised(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    book = functions.ErrorBook()

    def fail(store: object, column: pa.Array) -> pa.Array:
        raise OperationalError("the disk is full: /data")

    functions.install(
        connection, [functions.ScalarFunction("aios_fail", [BIGINT], BIGINT, fail)], Store, 2, book
    )
    with pytest.raises(OperationalError, match=r"^the disk is full: /data$"), translated(book):
        connection.execute("SELECT aios_fail(1)").fetchall()


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (MemoryError(), "aios_fail failed: there is too little memory"),
        (
            ImportError("libtorch.so: failed to map segment"),
            "aios_fail failed: there is too little memory: libtorch.so: failed to map segment",
        ),
    ],
)
def test_a_lack_of_memory_inside_a_function_is_an_operational_error(
    connection: duckdb.DuckDBPyConnection, raised: Exception, told: str
) -> None:
    book = functions.ErrorBook()

    def fail(store: object, column: pa.Array) -> pa.Array:
        raise raised

    functions.install(
        connection, [functions.ScalarFunction("aios_fail", [BIGINT], BIGINT, fail)], Store, 2, book
    )
    with pytest.raises(OperationalError, match=f"^{told}"), translated(book):
        connection.execute("SELECT aios_fail(1)").fetchall()


def test_an_interrupt_that_a_reader_of_rows_meets_is_one_of_the_statement() -> None:
    """pyarrow raises what DuckDB says as an `OSError`."""
    book = functions.ErrorBook()
    with pytest.raises(OperationalError, match=r"^the statement was interrupted$"), translated(book):
        raise OSError("INTERRUPT Error: Interrupted!")
    with pytest.raises(OSError, match="no such file"), translated(book):
        raise OSError("no such file")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELEC 1", ProgrammingError),
        ("SELECT * FROM nowhere", ProgrammingError),
        ("SELECT 'x'::INT", DataError),
    ],
)
def test_duckdb_errors_become_the_same_pep249_class(
    connection: duckdb.DuckDBPyConnection, sql: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected), translated(functions.ErrorBook()):
        connection.execute(sql).fetchall()


def test_functions_can_be_removed(connection: duckdb.DuckDBPyConnection) -> None:
    functions.install(connection, embed.FUNCTIONS, Store, 2, functions.ErrorBook())
    functions.remove(connection, embed.FUNCTIONS)
    with pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT aios_embed('a')")


def test_macros_in_a_schema_refer_to_each_other_there(connection: duckdb.DuckDBPyConnection) -> None:
    objects = (
        macros.SqlObject("MACRO", "double", "CREATE MACRO double(x) AS 2 * x", False),
        macros.SqlObject(
            "MACRO",
            "doubles",
            "CREATE MACRO doubles(n) AS TABLE SELECT double(i) AS d FROM range(n) t(i)",
            True,
        ),
    )
    connection.execute("ATTACH ':memory:' AS \"my aios\"")
    macros.create(connection, objects, "my aios")
    assert connection.execute('FROM "my aios".doubles(3)').fetchall() == [(0,), (2,), (4,)]
    with pytest.raises(duckdb.CatalogException):
        connection.execute("FROM doubles(3)")


def test_temporary_macros_are_dropped_again(connection: duckdb.DuckDBPyConnection) -> None:
    objects = (macros.SqlObject("MACRO", "twice", "CREATE MACRO twice(x) AS TABLE SELECT 2 * x AS y", True),)
    macros.create(connection, objects, None)
    assert connection.execute("FROM twice(4)").fetchall() == [(8,)]
    macros.drop(connection, objects)
    with pytest.raises(duckdb.CatalogException):
        connection.execute("FROM twice(4)")


def test_every_sql_object_has_a_comment_that_says_what_it_means() -> None:
    names = [item.name for item in registry.sql_objects()]
    assert {"memories", "association_links", "embed", "remember", "forget", "link"} <= set(names)
    assert len(names) == len(set(names))
