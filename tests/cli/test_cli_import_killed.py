from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import aios_db

ROWS = 6000


def test_import_killed_twice_ends_with_every_row_once(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(ROWS, 384)).astype(np.float32)
    texts = [f"row number {number}" for number in range(ROWS)]
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384)
    pq.write_table(pa.table({"text": texts, "text_embedding": embedding}), tmp_path / "rows.parquet")
    command = [
        sys.executable,
        "-m",
        "aios_db.cli",
        "import",
        "rows.parquet",
        "--db",
        str(tmp_path / "agent.aios"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])),
    }

    def start():
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def committed():
        return sum(file.read_bytes().count(b"\n") for file in (tmp_path / "agent.aios").glob("imports/*"))

    for _ in range(2):
        before = committed()
        process = start()
        while committed() < before + 2 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert committed() >= 4, "the import was killed between batches, twice"
    out, err = start().communicate()
    assert "had been imported before" in out, err
    with aios_db.connect(tmp_path / "agent.aios", read_only=True) as con:
        counted = con.execute(
            "SELECT count(*), count(DISTINCT text), count(text_embedding) FROM memories"
        ).fetchone()
    assert counted == (ROWS, ROWS, ROWS)
