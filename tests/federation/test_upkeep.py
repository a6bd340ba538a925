"""However many exchanges there are, the tables stay small, and so does what lies on the disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import lance
from federation_helpers import card, changed

from aios_db.federation.library import CardLibrary
from aios_db.federation.sync_log import SyncReport, record
from aios_db.memory_store import MemoryStore
from aios_db.schema import lora_cards, sync_log
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.database import table_path


def test_fragments_and_replaced_versions_go(tmp_path: Path) -> None:
    storage = StorageConfig(dimension=4, durability="normal", compact_after_fragments=4, keep_versions_s=0)
    first = card()
    with closing(MemoryStore.open(tmp_path / "a.aios", config=Config(storage=storage))) as store:
        library = CardLibrary(store, keep_versions=8)
        for number in range(24):
            library.add(changed(first, number), origin="trained")
            record(store, SyncReport("client", peer="hub", card="skill", operation="push"))
        for table, rows in ((lora_cards.TABLE, range(8, 11)), (sync_log.TABLE, (24,))):
            path = table_path(store.path, table)
            dataset = lance.dataset(path)
            assert dataset.count_rows() in rows
            assert len(dataset.get_fragments()) <= 8, table
            assert len(list((path / "_versions").iterdir())) <= 8, table
            assert len(list((path / "data").iterdir())) <= 12, table
        assert library.get("skill").sha256 == changed(first, 23).sha256
        assert [each.number for each in library.versions("skill")][-1] == 24
