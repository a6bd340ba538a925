"""What each exchange was and cost: a row of `sync_log`, and a line in the log."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import lance
import pyarrow as pa

from aios_db.federation.messages import plain
from aios_db.schema import sync_log
from aios_db.schema.database import table_path
from aios_db.store.small_tables import keep_small

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

log = logging.getLogger("aios_db.federation")


@dataclass
class SyncReport:
    """One exchange, as a row of `sync_log`."""

    side: str
    peer: str | None = None
    card: str | None = None
    operation: str | None = None
    kind: str | None = None
    """``full``, ``lossless``, ``sparse`` or ``none``: the fullest of what was transferred."""
    base_version: str | None = None
    version: str | None = None
    bytes_sent: int = 0
    """In messages, without the transport's own frames."""
    bytes_received: int = 0
    bytes_full: int = 0
    """What the same transfers would have been in full."""
    duration_s: float = 0.0
    protocol: int | None = None
    code: str | None = None
    error: str | None = None
    sync_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def transferred(self, kind: str, full_bytes: int) -> None:
        """Note a transfer."""
        order = ("none", "sparse", "lossless", "full")
        self.kind = max(self.kind or "none", kind, key=order.index)
        self.bytes_full += full_bytes


def record(store: MemoryStore, report: SyncReport) -> None:
    """Write a report; an exchange that succeeded does not fail because of that."""
    for key in ("peer", "card", "operation", "error"):
        if (text := getattr(report, key)) is not None:
            setattr(report, key, plain(text))
    details = {key: value for key, value in asdict(report).items() if value is not None and key != "sync_id"}
    store.metrics.observe("sync", time.perf_counter() - report.duration_s, error=report.code)
    if report.error:
        log.warning(
            "the exchange of %s failed: %s",
            report.card,
            report.error,
            extra={"event": "exchange_failed", **details},
        )
    else:
        log.info("exchanged %s", report.card, extra={"event": "exchanged", **details})
    if store.read_only:
        return
    try:
        row = pa.Table.from_pylist([asdict(report)], schema=sync_log.SCHEMA)
        written = lance.write_dataset(row, table_path(store.path, sync_log.TABLE), mode="append")
    except (OSError, pa.ArrowException, RuntimeError, ValueError) as error:
        log.error("the exchange of %s cannot be noted in %s: %s", report.card, store.path, error)
    else:
        keep_small(store.database, written)
