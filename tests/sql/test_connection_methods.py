"""A connection is made of functions of what it has open: nothing of it is inherited or forwarded unseen."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from types import FunctionType, ModuleType

import pytest

import aios_db
from aios_db import methods
from aios_db.sql.fetching import Fetching

MODULES = [
    import_module(f"{methods.__name__}.{each.name}") for each in pkgutil.iter_modules(methods.__path__)
]
MEMORIES = {
    name: method
    for name, method in vars(aios_db.Connection).items()
    if isinstance(method, FunctionType) and method.__module__.startswith(methods.__name__)
}


def functions_of(module: ModuleType) -> list[FunctionType]:
    return [
        each
        for name, each in vars(module).items()
        if isinstance(each, FunctionType) and each.__module__ == module.__name__ and name[0] != "_"
    ]


def test_a_connection_inherits_only_that_it_has_rows() -> None:
    assert aios_db.Connection.__mro__ == (aios_db.Connection, Fetching, *Fetching.__mro__[1:])
    assert Fetching.__bases__[0].__module__ == "abc"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_function_of_a_subject_is_a_method_of_its_name(module: ModuleType) -> None:
    functions = functions_of(module)
    assert functions
    for each in functions:
        assert inspect.unwrap(MEMORIES[each.__name__]) is each


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_subject_knows_neither_the_connection_nor_other_subjects(module: ModuleType) -> None:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "aios_db.connection"
            assert not (node.module or "").startswith(methods.__name__)


@pytest.mark.parametrize("name", sorted(MEMORIES))
def test_a_method_says_what_it_takes_and_does(con: aios_db.Connection, name: str) -> None:
    bound = getattr(con, name)
    assert bound.__func__ is MEMORIES[name] and bound.__self__ is con
    assert inspect.getdoc(bound)
    kinds = [each.kind for each in inspect.signature(bound).parameters.values()]
    assert inspect.Parameter.VAR_POSITIONAL not in kinds


def test_what_the_connection_is_called_takes_no_name_from_its_columns(con: aios_db.Connection) -> None:
    with pytest.raises(aios_db.ProgrammingError, match="con"):
        con.remember("a text", con="x")


def test_a_name_of_the_users_does_not_break_a_connection() -> None:
    with aios_db.connect() as con:
        with pytest.raises(AttributeError):
            con.session = "chat-1"  # type: ignore[misc, assignment]
        assert con.get("x") is None
