"""What `undo` and `restore` bring back is what was written, or is named and not brought back."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from store_helpers import memory_rows

from aios_db.memory_store import MemoryStore
from aios_db.schema.errors import OperationalError, ProgrammingError

Open = Callable[..., MemoryStore]


def _texts(store: MemoryStore) -> list[str]:
    return sorted(store.memories.to_table(columns=["text"])["text"].to_pylist())


def _undo(store: MemoryStore, dry_run: bool) -> object:
    return store.undo(2, dry_run=dry_run)


def _restore(store: MemoryStore, dry_run: bool) -> object:
    return store.restore(3, None, dry_run=dry_run)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("take_back", [_undo, _restore])
@pytest.mark.parametrize("change", ["forget", "update"])
def test_a_row_that_is_damaged_is_named_and_nothing_is_written(
    open_store: Open, take_back: Callable[..., object], change: str, dry_run: bool
) -> None:
    store = open_store()
    ids = store.remember(memory_rows(["the lamp is red", "tea at five"]))
    if change == "forget":
        store.forget(ids)
    else:
        store.update(memory_rows(["the lamp is blue"]).append_column("memory_id", [[ids[0]]]))
    store.close()
    for file in (store.path / "memories.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes().replace(b"lamp is red", b"lamp is rod"))

    store = open_store()
    before, versions = _texts(store), (store.memories.version, store.links.version)
    with pytest.raises(OperationalError, match=rf"memory {ids[0]} is damaged.*its content_hash says"):
        take_back(store, dry_run)
    store.refresh()
    assert (_texts(store), versions) == (before, (store.memories.version, store.links.version))


def test_a_link_that_is_damaged_is_refused(open_store: Open) -> None:
    store = open_store()
    first, second = store.remember(memory_rows(["alpha", "bravo"]))
    ends = {"source_id": [first], "target_id": [second], "kind": ["user"]}
    store.link(pa.table({**ends, "weight": [0.8125]}))
    store.unlink(pa.table(ends))
    store.close()
    weight = pa.array([0.8125], pa.float32()).buffers()[1].to_pybytes()
    wrong = pa.array([-4.0], pa.float32()).buffers()[1].to_pybytes()
    changed = 0
    for file in (store.path / "association_links.lance" / "data").iterdir():
        content = file.read_bytes()
        file.write_bytes(content.replace(weight, wrong))
        changed += content.count(weight)
    assert changed
    store = open_store()
    with pytest.raises(OperationalError, match=r"a link is damaged.*the weight of a link is not in \(0, 1\]"):
        store.undo(3)


@pytest.mark.parametrize("by_hand", [False, True])
def test_evidence_of_maintenance_stands_in_no_way_though_rows_were_merged(
    open_store: Open, by_hand: bool
) -> None:
    store = open_store()
    first, second = store.remember(memory_rows(["alpha", "bravo"]))
    link = pa.table({"source_id": [first], "target_id": [second], "kind": ["user"], "weight": [0.5]})
    store.link(link)
    if by_hand:
        store.link(link)
    store.touch([first, second])
    store.optimize()  # counts what was recalled together
    store.remember(memory_rows(["charlie", "delta"], session_id="s"))
    store.optimize()  # says of all rows of a merged fragment that they changed in the version of charlie
    ((evidence,),) = (
        each.values() for each in store.links.to_table(["evidence_count"], "kind = 'user'").to_pylist()
    )
    assert evidence == 2 + by_hand
    if by_hand:
        with pytest.raises(ProgrammingError, match=f"linked otherwise since: {first}"):
            store.undo(2)
    else:
        store.undo(2)
        assert store.links.count_rows("kind = 'user'") == 0
