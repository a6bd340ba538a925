"""Which tokenizer each weight version had when it made its vectors: `tokenizers.json` of a database.

The digest of a version is that of its weights alone. The same weights read through another tokenizer make
other vectors, so its digest is kept, too; of a version that was installed before this was noted, when it is
next looked for.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.engine.weights.files import atomic_write

log = logging.getLogger("aios_db.models")

FILE = "tokenizers.json"


class Tokenizers:
    """The digests noted in one database.

    Parameters
    ----------
    directory
        The database.
    lock
        Its write lock.
    """

    def __init__(self, directory: Path, lock: WriteLock) -> None:
        self._path = directory / FILE
        self._lock = lock

    def noted(self, version: str) -> str | None:
        """Return the tokenizer's digest of a version, or None when none is known."""
        found = self._read().get(version)
        return found if isinstance(found, str) else None

    def note(self, version: str, digest: str | None) -> None:
        """Keep the digest of a version of which none is known, on the disk when this returns."""
        if digest is None or self.noted(version) is not None:
            return
        with self._lock.hold(), operational(f"writing {self._path}"):
            content = json.dumps({**self._read(), version: digest}, indent=1)
            with atomic_write(self._path, forced=True, alone=True) as part:
                part.write_text(content, encoding="utf-8")

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s is damaged, tokenizers are noted anew: %s", self._path, error)
            return {}
        return content if isinstance(content, dict) else {}
