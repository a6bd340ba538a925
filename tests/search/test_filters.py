"""Filters are exact: the index finds what a look at a plain list of the memories finds."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.filters import CONDITIONS
from aios_db.schema.memories import memories_schema
from aios_db.schema.retrieval import Filter
from aios_db.search.index import SearchIndex
from aios_db.search.source import MEMORY_COLUMNS

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)
NAMES = st.sampled_from(["a", "b", "ä", "", "a b"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, 2.5, "1", "en", "", "a"])
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.sampled_from("xy"), SCALARS, max_size=2)
)
METADATA = st.dictionaries(st.sampled_from(["lang", "x", "page.no"]), VALUES, max_size=3)


@st.composite
def memories(draw, name):
    def maybe(strategy):
        return draw(st.one_of(st.none(), strategy))

    metadata = maybe(METADATA)
    return {
        "memory_id": name,
        "text": draw(st.sampled_from(["tea", "tea and coffee", "chess"])),
        "text_embedding": (np.eye(8)[draw(st.integers(0, 7))]).tolist(),
        **{name: maybe(NAMES) for name in ("session_id", "agent_id", "user_id", "speaker", "source")},
        "kind": draw(NAMES),
        "tier": draw(st.sampled_from(["short", "long", "archived"])),
        "modalities": draw(st.lists(st.sampled_from(["text", "image", "video"]), unique=True)),
        "importance": draw(st.sampled_from([0.0, 0.25, 0.7, 1.0])),
        "trust": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "occurred_at": maybe(st.integers(0, 5).map(lambda day: DAY + dt.timedelta(days=day))),
        "valid_until": maybe(st.integers(0, 5).map(lambda day: DAY + dt.timedelta(days=day))),
        "metadata": None if metadata is None else json.dumps(metadata),
    }


@st.composite
def filters(draw):
    several = st.one_of(NAMES, st.lists(NAMES, max_size=3))
    times = st.integers(0, 5).map(lambda day: DAY + dt.timedelta(days=day))
    scalars = SCALARS.filter(lambda value: value is not None)
    of_metadata = st.dictionaries(
        st.sampled_from(["lang", "x", "page.no"]),
        st.one_of(
            scalars,
            st.lists(scalars, max_size=2),
            st.dictionaries(st.sampled_from("xy"), scalars, min_size=1, max_size=2),
        ),
        max_size=2,
    )
    each = {
        **dict.fromkeys(("session_id", "agent_id", "user_id", "speaker", "kind", "source"), several),
        "tier": st.one_of(st.sampled_from(["short", "long"]), st.just(["short", "archived"])),
        "modality": st.one_of(st.sampled_from(["text", "video"]), st.just(["image", "text"])),
        "since": times, "until": times, "min_importance": st.sampled_from([0, 0.25, 0.7, 1]),
        "min_trust": st.sampled_from([0.1, 1]), "metadata": of_metadata,
        "valid_at": times,
        "within": st.lists(st.sampled_from([*(f"m{i}" for i in range(8)), "nobody"]), max_size=6),
    }  # fmt: skip
    assert {*each, "as_of"} == set(CONDITIONS)  # a new filter is to be tested here
    names = draw(st.lists(st.sampled_from(sorted(each)), unique=True, min_size=1, max_size=3))
    values = {name: draw(each[name]) for name in names}
    if {"since", "until"} <= set(values) and values["since"] > values["until"]:
        del values["since"]
    return values


def holds(metadata, wanted):
    """Whether each value of ``wanted`` is in ``metadata``; of a list any, in a list any."""
    for key, value in wanted.items():
        if not isinstance(metadata, dict) or key not in metadata:
            return False
        found = metadata[key]
        if isinstance(value, dict):
            if not (isinstance(found, dict) and holds(found, value)):
                return False
            continue
        if isinstance(found, dict):
            return False
        stored = {json.dumps(text(each)) for each in (found if isinstance(found, list) else [found])}
        asked = {json.dumps(text(each)) for each in (value if isinstance(value, list) else [value])}
        if not stored & asked:
            return False
    return True


def text(value):
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)


def passes(memory, where):
    """Look at the memory itself."""
    return all(holds_one(memory, name, value) for name, value in where.items())


def holds_one(memory, name, value):
    time = memory["occurred_at"] or DAY
    wanted = value if isinstance(value, list) else [value]
    if name in ("since", "until"):
        return time >= value if name == "since" else time < value
    if name == "valid_at":
        return time <= value and (memory["valid_until"] is None or memory["valid_until"] > value)
    if name.startswith("min_"):
        return memory[name.removeprefix("min_")] >= value
    if name == "modality":
        return bool(set(memory["modalities"]) & set(wanted))
    if name == "metadata":
        return holds(json.loads(memory["metadata"] or "{}"), value)
    return memory["memory_id" if name == "within" else name] in wanted


def as_filter(where):
    return Filter(
        **{
            name: int(value.timestamp() * 1e6) if isinstance(value, dt.datetime) else value
            for name, value in where.items()
        }
    )


class Index:
    """An index that is handed its rows, so that an example costs no commits."""

    def __init__(self):
        self.index = SearchIndex.open(None, 8)
        self.rows = {}

    def put(self, *changed):
        defaults = {"created_at": DAY, "access_count": 0}
        rows = [{"content_hash": each["memory_id"], **defaults, **each} for each in changed]
        ids = [self.rows.setdefault(each["memory_id"], len(self.rows)) for each in changed]
        batch = pa.Table.from_pylist(rows, memories_schema(8)).select(MEMORY_COLUMNS).to_batches()[0]
        self.index.suppose([batch.append_column("_rowid", pa.array(ids, pa.uint64()))])

    def forget(self, name):
        self.index.suppose([], np.array([self.rows[name]]))

    def names(self, rows):
        return self.index.memory_ids(rows).to_pylist()


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_filter_lets_through_what_a_plain_list_has(data):
    tables = Index()
    model = {f"m{i}": data.draw(memories(f"m{i}")) for i in range(6)}
    tables.put(*model.values())
    if data.draw(st.booleans(), "in the segment"):
        tables.index.save()
    new = {f"m{i}": data.draw(memories(f"m{i}")) for i in (6, 7)}
    model |= new
    tables.put(*new.values())
    for name in data.draw(st.lists(st.sampled_from(sorted(model)), max_size=3), "updated"):
        changed = data.draw(memories(name))
        if data.draw(st.booleans(), "its content too"):
            changed["content_hash"] = changed["text"]
        else:
            changed = {**changed, **{key: model[name][key] for key in ("text", "text_embedding")}}
        model[name] = changed
        tables.put(changed)
    for name in data.draw(st.lists(st.sampled_from(sorted(model)), max_size=2, unique=True), "forgotten"):
        del model[name]
        tables.forget(name)
    if data.draw(st.booleans(), "saved again"):
        tables.index.save()
    query = np.arange(1, 9, dtype=np.float32)
    for where in data.draw(st.lists(filters(), min_size=1, max_size=6), "filters"):
        k = data.draw(st.integers(0, 9), "k")
        right = {name for name, memory in model.items() if passes(memory, where)}
        condition = as_filter(where)
        assert Filter.parse(condition.text()) == condition
        hits = tables.index.vector_search(query / np.linalg.norm(query), k, condition)
        scores = {name: float(np.dot(memory["text_embedding"], query)) for name, memory in model.items()}
        found = tables.names(hits.row_ids)
        assert set(found) <= right
        assert len(found) == min(k, len(right))
        best = sorted((scores[name] for name in right), reverse=True)[:k]
        assert [scores[name] for name in found] == best
        with_tea = {name for name in right if "tea" in model[name]["text"]}
        assert set(tables.names(tables.index.keyword_search("tea", 99, condition).row_ids)) == with_tea
        rows = np.sort(np.array([tables.rows[name] for name in model], np.int64))
        reached, _, _ = tables.index.spread(rows, np.ones(len(rows)), 1, condition)
        assert set(tables.names(reached)) == right


def test_there_is_a_column_for_every_filter():
    names = {*memories_schema(8).names, "time"}
    assert {condition.column for condition in CONDITIONS.values()} <= names


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"colour": "red"}, ProgrammingError, "no filter 'colour'"),
        ({"tier": "middle"}, DataError, "tier is 'middle'; it is one of short, long, archived"),
        ({"tier": ["short", "middle"]}, DataError, "middle"),
        ({"session_id": b"raw"}, DataError, "bytes"),
        ({"session_id": {"a": 1}}, DataError, "a mapping"),
        ({"session_id": [["a"]]}, DataError, "session_id holds a list"),
        ({"min_trust": float("nan")}, DataError, "min_trust is nan"),
        ({"min_trust": 1.5}, DataError, "from 0 to 1"),
        ({"min_importance": "much"}, DataError, "'much'"),
        ({"since": "infinity"}, DataError, "no moment"),
        ({"since": 2, "until": 1}, ProgrammingError, "since is after until"),
        ({"metadata": "lang"}, DataError, "not JSON"),
        ({"metadata": "[1]"}, DataError, "a mapping or a JSON object"),
        ({"metadata": {"lang": None}}, DataError, "'lang' is NULL"),
        ({"metadata": {"a": [{"b": 1}]}}, DataError, "list of objects"),
        ({"metadata": {"a": {}}}, DataError, "'a' holds nothing"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, error, says):
    with pytest.raises(error, match=says):
        Filter(**values)


def test_a_json_path_names_a_key_within():
    stored = {"memory_id": "m", "metadata": json.dumps({"page": {"number": 3}})}
    assert Filter(metadata={"$.page.number": 3}).values == {"metadata": {"$.page.number": 3}}
    assert holds(json.loads(stored["metadata"]), {"page": {"number": "3"}})
