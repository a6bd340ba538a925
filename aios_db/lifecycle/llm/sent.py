"""The record of what was sent to language models: which memories, where, when and how that ended; no text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aios_db.disk.framed_log import FramedLog
from aios_db.schema.database import LLM_REQUESTS

_KEPT = 10_000  # requests, up to twice as many


class SentRequests:
    """The record of one database, which many processes may write.

    Parameters
    ----------
    directory
        The database's.
    """

    def __init__(self, directory: Path) -> None:
        self._noted: list[bytes] = []
        self._log = FramedLog(directory / LLM_REQUESTS, self._noted.clear, self._noted.append)

    def note(self, about: dict[str, Any]) -> None:
        """Add a request, of whose memories ``memory_ids`` are."""
        with self._log.writing():
            self._log.append(json.dumps(about).encode())
            if len(self._noted) > 2 * _KEPT:
                self._log.rewrite(*self._noted[-_KEPT:])

    def erase(self, is_there: Callable[[list[str]], list[bool]]) -> None:
        """Take out memories that are gone, and requests of which none is left."""
        if not self._log.path.exists():
            return
        with self._log.writing():
            kept = []
            for content in self._noted:
                about = json.loads(content)
                names = about["memory_ids"]
                about["memory_ids"] = [
                    name for name, there in zip(names, is_there(names), strict=True) if there
                ]
                if about["memory_ids"] or not names:
                    kept.append(json.dumps(about).encode())
            self._log.rewrite(*kept)
