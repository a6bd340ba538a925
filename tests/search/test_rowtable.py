"""Arrays indexed by row id, against dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aios_db.search.ranking import sorted_unique
from aios_db.search.recent_table import RecentTable
from aios_db.search.rowtable import RowTable

ROWS = st.lists(st.integers(0, 300), max_size=30)


@given(st.lists(st.tuples(ROWS, st.booleans()), max_size=8), ROWS)
def test_a_row_table_is_a_dictionary_with_a_default(
    changes: list[tuple[list[int], bool]], asked: list[int]
) -> None:
    table, expected = RowTable(np.float64, 7.0), dict[int, float]()
    for number, (rows, adds) in enumerate(changes):
        at = np.array(rows, np.int64)
        if adds:
            table.add(at, np.full(len(at), 0.5))
            for row in rows:
                expected[row] = expected.get(row, 7.0) + 0.5
        else:
            table[at] = number
            expected |= dict.fromkeys(rows, float(number))
    found = table[np.array([*asked, -1, 10**6], np.int64)]
    assert found.tolist() == [*(expected.get(row, 7.0) for row in asked), 7.0, 7.0]


@given(st.lists(st.tuples(ROWS, st.booleans()), max_size=8), ROWS, st.integers(0, 320))
def test_a_recent_table_is_a_row_table_and_so_is_each_copy(
    changes: list[tuple[list[int], bool]], asked: list[int], first: int
) -> None:
    table, expected = RecentTable(-1, first), dict[int, int]()
    given_up: list[tuple[RecentTable, dict[int, int]]] = []
    for number, (rows, copies) in enumerate(changes):
        if copies:
            given_up.append((table, dict(expected)))
            table = table.copy()
        table[np.array(rows, np.int64)] = np.full(len(rows), number)
        expected |= dict.fromkeys(rows, number)
    for each, wanted in [*given_up, (table, expected)]:
        found = each[np.array([*asked, -1, 10**6], np.int64)]
        assert found.tolist() == [*(wanted.get(row, -1) for row in asked), -1, -1]
        assert each.keys().tolist() == sorted(wanted)


@given(st.lists(st.integers(-(2**40), 2**40)))
def test_sorted_unique_is_numpys(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert sorted_unique(array).tolist() == np.unique(array).tolist()
