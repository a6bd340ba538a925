"""A program that ends without closing what it opened ends like any other, and what it wrote is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig

_LEAVING = """
import logging
import sys
import aios_db
from aios_db.config import Config
from aios_db.schema.config import EngineConfig, StorageConfig

logging.getLogger("aios_db.search").setLevel("ERROR")  # that there was no C compiler
# Maintenance is at work all the time, and so as the interpreter goes.
storage = StorageConfig(dimension=4, maintenance_delay_s=0, compact_after_fragments=2, durability="normal")
config = Config(storage=storage, engine=EngineConfig(models_dir=sys.argv[1] + ".none"))
open_ = [aios_db.connect(sys.argv[1], config=config) for _ in range(3)]
for number in range(12):
    open_[number % 3].remember({"text": f"note {number}", "text_embedding": [1.0, number, 0.0, 0.0]})
"""


def test_what_is_left_open_does_not_abort_the_process(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"{number}.aios"
        run = subprocess.run(
            [sys.executable, "-c", _LEAVING, str(path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, "")
        config = Config(storage=StorageConfig(dimension=4), engine=EngineConfig(models_dir=f"{path}.none"))
        with aios_db.connect(path, config=config) as con:
            assert con.execute("SELECT count(*) FROM memories").fetchone() == (12,)
