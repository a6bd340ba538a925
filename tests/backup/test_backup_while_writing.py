"""Backups of a database that two processes write to, delete from and clean up."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest
from backup_helpers import SMALL, start

from aios_db.backup import Target, backup, restore, verify
from aios_db.memory_store import MemoryStore

BACKUPS = 12


@pytest.mark.slow
def test_every_backup_opens_and_no_link_dangles(tmp_path):
    path, stop = tmp_path / "agent.aios", tmp_path / "stop"
    MemoryStore.open(path, config=SMALL).close()
    writers = [start("busy_writer.py", path, name, stop) for name in ("ann", "bob")]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "busy\n", writer.communicate()
        made = [backup(path, tmp_path / "backups", keep=BACKUPS, config=SMALL) for _ in range(BACKUPS)]
    finally:
        stop.touch()
        ended = [writer.communicate(timeout=200) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    # The one line that may be there says that there was no C compiler.
    said = [line for _, err in ended for line in err.splitlines() if "searches run in NumPy" not in line]
    assert said == []
    assert Target(tmp_path / "backups").ids() == [each.id for each in made]
    assert len(verify(tmp_path / "backups")) == BACKUPS
    versions = [each.tables["memories"].version for each in made]
    assert versions == sorted(versions)
    assert versions[-1] > versions[0], "nothing was written meanwhile"
    for each in made:
        again = tmp_path / f"{each.id}.aios"
        restore(tmp_path / "backups", again, backup_id=each.id, config=SMALL)
        store = MemoryStore.open(again, config=SMALL)
        ids, links = store.memories.to_table(columns=["memory_id"])["memory_id"], store.links.to_table()
        assert (len(ids), len(links)) == (
            each.tables["memories"].rows, each.tables["association_links"].rows,
        )  # fmt: skip
        for end in ("source_id", "target_id"):
            assert pc.all(pc.is_in(links[end], ids.combine_chunks())).as_py() is not False
        assert store.repair().dangling_links == 0
        store.close()
