"""An index is made of parts: each answers from the current view or replaces it, and none knows the index."""

from __future__ import annotations

import ast
import inspect
import sys
import weakref
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aios_db.search.index import SearchIndex
from aios_db.search.view import View


def parts_of(index: SearchIndex) -> set[Any]:
    """Return what the index names methods of, and what these stand on."""
    methods = (each for each in vars(index).values() if inspect.ismethod(each))
    return {*(method.__self__ for method in methods), index.kinship, index._current, index._current.view}


def test_no_part_is_built_on_another_by_inheritance(tables):
    parts = parts_of(tables.index)
    assert len({type(part) for part in parts}) == len(parts) == 9
    for part in parts:
        assert type(part).__bases__ == (object,), type(part)


def test_no_part_knows_the_index_nor_another_but_who_replaces_the_view(tables):
    parts = parts_of(tables.index)
    own = {type(part).__name__ for part in parts} - {"Current", "View"}
    for part in parts:
        tree = ast.parse(inspect.getsource(sys.modules[type(part).__module__]))
        named = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
        imported = (each.names for each in ast.walk(tree) if isinstance(each, ast.ImportFrom))
        known = named | {alias.name for names in imported for alias in names}
        assert not known & ({"SearchIndex"} | own - {type(part).__name__}), type(part)


def view_of(tables) -> View:
    return tables.index._current.view


def test_a_view_stays_of_its_version_and_the_next_replaces_it(tables, unit):
    tables.remember({"memory_id": "a", "text": "tea", "text_embedding": unit(1)})
    before, version = view_of(tables), tables.index.version
    with pytest.raises(FrozenInstanceError):
        before.version = version
    tables.sync()
    assert view_of(tables) is before
    tables.remember({"memory_id": "b", "text": "coffee", "text_embedding": unit(2)})
    assert before.version == version != tables.index.version == view_of(tables).version
    assert view_of(tables) is not before


def test_what_was_asked_of_a_view_is_not_known_of_the_next(tables, unit):
    tables.remember({"memory_id": "a", "text": "tea and tea", "text_embedding": unit(1)})
    index, view = tables.index, view_of(tables)
    assert index.keyword_search("tea", 9).row_ids.tolist() == [0]
    assert view.keyword_query("tea") is view.keyword_query("tea")
    assert view.vector_query(unit(1)) is view.vector_query(unit(1))
    tables.remember({"memory_id": "b", "text": "tea", "text_embedding": unit(2)})
    assert view_of(tables).keyword_query("tea") is not view.keyword_query("tea")
    assert index.keyword_search("tea", 9).row_ids.tolist() == [0, 1]


def test_a_name_that_was_given_to_another_memory_is_found_as_that_one(tables, unit):
    tables.remember({"memory_id": "a", "text": "tea", "text_embedding": unit(1)})
    names = tables.index.memory_ids(np.array([0]))  # is noted for the next step
    assert tables.index.find_ids(names).tolist() == [0]
    tables.forget("a")
    assert tables.index.find_ids(names).tolist() == [-1]
    tables.remember({"memory_id": "a", "text": "coffee", "text_embedding": unit(2)})
    assert tables.index.find_ids(names).tolist() == [1]
    tables.link(("a", "a", "mentions", 1.0))
    assert tables.index.links().sources.tolist() == [1]


def test_what_is_noted_of_names_is_not_asked_whether_they_live(tables, unit):
    tables.remember({"memory_id": "a", "text": "tea", "text_embedding": unit(1)})
    names = pa.array(["a"])
    view = view_of(tables)
    assert view.last.find_names(names) is None
    tables.index.memory_ids(np.array([0]))
    assert view.last.find_names(names).tolist() == [0]
    tables.index.suppose([], np.array([0]))
    assert view_of(tables).last.find_names(names) is None
    assert view_of(tables).find_ids(names).tolist() == [-1]
    assert view.find_ids(names).tolist() == [0]


def test_a_segment_is_let_go_of_when_the_next_is_there(tables, unit):
    """Without a collection of garbage: it is as large as the index."""
    tables.remember({"memory_id": "a", "text": "tea", "text_embedding": unit(1)})
    tables.index.save()
    tables.index.keyword_search("tea", 1)
    segment = weakref.ref(tables.index.parts[0])
    tables.remember({"memory_id": "b", "text": "tea", "text_embedding": unit(2)})
    tables.index.keyword_search("tea", 1)
    tables.index.save()
    assert segment() is None
