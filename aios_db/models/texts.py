"""The user's own texts, for the precision validator: what a model will be asked to embed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aios_db.models.encoding import text_to_embed

if TYPE_CHECKING:
    import lance

    from aios_db.memory_store import MemoryStore

MOST = 20_000


def memory_texts(store: MemoryStore) -> list[str]:
    """Return up to 20,000 of the memories' texts, evenly picked over the order in which they were stored."""
    return store.read(lambda now: _texts(now.memories))


def _texts(memories: lance.LanceDataset) -> list[str]:
    step = -(-memories.count_rows() // MOST) or 1
    picked = []
    for batch in memories.scanner(columns=["title", "text"]).to_batches():
        pairs = zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True)
        picked += [text_to_embed(title, text) for title, text in pairs]
    return [text for text in picked[::step] if text.strip()]
