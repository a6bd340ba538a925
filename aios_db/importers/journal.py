"""What has been imported: one file of JSON lines a source, in `imports/` of the database directory.

Every committed batch appends ``{"done": records, "ids": {key: memory_id}}``; a torn last line, left by a kill
while it was written, is ignored, and the batch it stood for is imported again, which deduplication makes
harmless.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aios_db.security.permissions import DIRECTORY_MODE, open_private

FOLDER = "imports"


@dataclass
class Journal:
    """The progress of one source file: its content, read as one format into one scope."""

    path: Path
    done: int = 0
    """Records dealt with, the rejected ones included."""
    finished: bool = False
    ids: dict[str, str] = field(default_factory=dict)
    """The memory of each row that had a key of its own."""

    @classmethod
    def open(cls, database: Path, digest: str, format_name: str, defaults: Mapping[str, str]) -> Journal:
        """Return the journal of a source, with what an earlier run got done."""
        identity = json.dumps([digest, format_name, sorted(defaults.items())])
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        journal = cls(database / FOLDER / f"{name}.jsonl")
        if journal.path.exists():
            text = journal.path.read_text("utf-8", errors="replace")
            if text and not text.endswith("\n"):
                journal._append_line("")
            for line in text.splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                journal.done = max(journal.done, entry.get("done", 0))
                journal.ids.update(entry.get("ids", {}))
                journal.finished = journal.finished or entry.get("finished", False)
        return journal

    def commit(self, done: int, ids: Mapping[str, str]) -> None:
        """Record that the first ``done`` records are in the database."""
        self.done = done
        self.ids.update(ids)
        self._append({"done": done, "ids": dict(ids)} if ids else {"done": done})

    def finish(self, source: str) -> None:
        """Record that the whole source is in the database."""
        self.finished = True
        self._append({"finished": True, "source": source})

    def restart(self) -> None:
        """Forget what was imported, so that the source is read from its first record again."""
        self.path.unlink(missing_ok=True)
        self.done, self.finished, self.ids = 0, False, {}

    def _append(self, entry: Mapping[str, object]) -> None:
        self.path.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        self._append_line(json.dumps(entry))

    def _append_line(self, line: str) -> None:
        with open_private(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
