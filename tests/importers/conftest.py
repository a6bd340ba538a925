from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aios_db.importers import Rejected, Row, read_path
from aios_db.schema.memories import WRITABLE


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and gives the rows and the rejected records read back from it."""

    def write(name: str, content: object):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif isinstance(content, (bytes, str)):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        else:
            path.write_text(json.dumps(content))
        records = list(read_path(path))
        rows = [record for record in records if isinstance(record, Row)]
        for row in rows:
            assert set(row.fields) <= set(WRITABLE)
        return rows, [record for record in records if isinstance(record, Rejected)]

    return write
