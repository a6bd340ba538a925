"""The database directory: its format version, its marker and where its tables lie."""

from __future__ import annotations

from pathlib import Path

FORMAT_VERSION = 8
"""The newest layout; each higher number than 1 is reached by the migration of that number."""

MARKER = "aios.json"
LOCK = "write.lock"
INDEX = "index"
RECALLS = "recalls.log"
DAMAGED = "damaged"
"""Where `repair` puts damaged tables that it has made anew."""
CHANGES = "changes.log"
BEGUN = "changes.begun"
QUERIES = "queries.log"
"""A sample of past queries."""
LLM_REQUESTS = "llm_requests.log"
"""Which memories were sent to a language model."""
CONSOLIDATOR = "consolidator.lock"
"""Held by the one consolidator that runs."""
REEMBEDDING, JOINT_REEMBEDDING = "reembedding.lock", "joint.lock"
"""Held while memories get other text vectors, and while they are put into a joint space."""
MEDIA_READ = "media.read"
"""Which contents of files that memories name their writers have read."""
ERASING = "erase.begun"
"""Is there while memories are erased."""
OWED = "links.owed"
"""Links that an undo is about to write."""
UNSHOWN = "links.unshown"
"""From which version of the links on their column in the memories is yet to be written."""


def table_path(directory: Path, table: str) -> Path:
    """Return where a table's Lance dataset lies (`lancedb.connect(directory)` finds it there by name)."""
    return directory / f"{table}.lance"
