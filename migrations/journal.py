"""What an interrupted migration has done: a small file, replaced after every step."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aios_db.engine.weights.files import atomic_write

log = logging.getLogger("aios_db.migrations")

_FILE = "journal.json"


@dataclass
class Journal:
    """The steps done in a working directory, towards one plan."""

    directory: Path
    plan: Mapping[str, Any]
    done: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, directory: Path, plan: Mapping[str, Any]) -> Journal:
        """Return the journal in ``directory``; begin with an empty directory when it is of another plan."""
        plan = json.loads(json.dumps(plan))  # as it will be read back
        try:
            content = json.loads((directory / _FILE).read_text(encoding="utf-8"))
            if content["plan"] == plan:
                return cls(directory, plan, [str(step) for step in content["done"]])
            log.warning("%s: an unfinished migration with other settings is begun again", directory)
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s: the journal is damaged, the migration is begun again: %s", directory, error)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        journal = cls(directory, plan)
        journal._write()
        return journal

    def add(self, step: str) -> None:
        """Record that a step is done; on disk when this returns."""
        self.done.append(step)
        self._write()

    def _write(self) -> None:
        with atomic_write(self.directory / _FILE, forced=True, alone=True) as part:
            part.write_text(json.dumps({"plan": self.plan, "done": self.done}), encoding="utf-8")
