"""When a consolidation is due: by the clock, or because there is too much."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.engine.weights.files import atomic_write
from aios_db.schema.errors import ConfigError, OperationalError

if TYPE_CHECKING:
    from croniter import croniter

    from aios_db.memory_store import MemoryStore
    from aios_db.schema.config import ConsolidationConfig

STATE = "consolidator.json"
_NEVER = {"", "never"}
_SET_BACK = timedelta(hours=3)  # clocks that are set back for winter go by less


class Schedule:
    """The triggers of one database's consolidator.

    What was done is in ``consolidator.json``, so that a run that was missed while none was there is made up.

    Parameters
    ----------
    store
        The database.
    config
        Its triggers.

    Raises
    ------
    ConfigError
        ``consolidation.schedule`` is no cron expression.
    OperationalError
        It is one, and what reads it is not installed.
    """

    def __init__(self, store: MemoryStore, config: ConsolidationConfig) -> None:
        self._store, self._config = store, config
        self._path = store.path / STATE
        self._state = _read(self._path)
        self._since = self._state.get("scheduled_at") or datetime.now(timezone.utc).timestamp()
        self._left: tuple[int, int] | None = None
        self._cron = check_schedule(config.schedule)

    def begin(self) -> None:
        """Note which process this is."""
        self._write(
            pid=os.getpid(), host=socket.gethostname(), started_at=datetime.now(timezone.utc).timestamp()
        )

    def due(self, now: float) -> str | None:
        """Return the trigger of what is due at a time, in seconds since 1970, or None."""
        self._since = min(self._since, now)  # the clock was set back: what ran "later" puts nothing off
        if self._cron and now >= next_time(self._cron, self._since):
            return "schedule"
        return "pressure" if self._is_under_pressure() else None

    def done(self, trigger: str, now: float) -> None:
        """Note that a consolidation was run."""
        if trigger == "schedule":
            self._since = now
            self._write(scheduled_at=now)
        self._left = self._measured()  # under the same pressure it would do the same again

    def _is_under_pressure(self) -> bool:
        config = self._config
        if not config.pressure_rows and not config.pressure_bytes:
            return False
        found = self._measured()
        if found == self._left:
            return False
        rows, size = found
        return bool(
            (config.pressure_rows and rows >= config.pressure_rows)
            or (config.pressure_bytes and size >= config.pressure_bytes)
        )

    def _measured(self) -> tuple[int, int]:
        """Return how many memories are in the short tier, and the bytes of all files where these count."""
        rows = int(self._store.read(lambda now: now.memories.count_rows(filter="tier = 'short'")))
        return rows, _bytes_of(self._store.path) if self._config.pressure_bytes else 0

    def _write(self, **changes: Any) -> None:
        self._state |= changes
        with atomic_write(self._path) as part:
            part.write_text(json.dumps(self._state), "utf-8")


def check_schedule(schedule: str) -> str:
    """Return the cron expression of a configured schedule; nothing where it says never.

    Raises
    ------
    ConfigError
        It is none.
    OperationalError
        It is one, and croniter, which reads it, is not installed.
    """
    if schedule.strip().lower() in _NEVER:
        return ""
    next_time(schedule, datetime.now(timezone.utc).timestamp())
    return schedule


def next_time(expression: str, after: float) -> float:
    """Return when a cron expression is due next, in local time; seconds since 1970.

    Of an hour that the clocks go through twice in autumn, cron(8) runs what is due every hour both times,
    and what is due at certain hours once, the first time. So does this.

    Raises
    ------
    ConfigError
        It is none.
    OperationalError
        croniter is not installed.
    """
    try:
        from croniter import croniter
        from croniter.croniter import CroniterError
    except ImportError as error:
        raise OperationalError(
            "consolidation.schedule needs croniter: pip install 'aios_db[consolidator]', or set it to never"
        ) from error
    start = datetime.fromtimestamp(after)
    try:
        due = _first_after(after, croniter(expression, start))
        fields, _ = croniter.expand(expression)
        if fields[1] != ["*"]:
            return due
        return min(due, _first_after(after, croniter(expression, start - _SET_BACK), again=True))
    except (CroniterError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"consolidation.schedule is {expression!r}, no cron expression: {error}; '0 3 * * *' is every "
            "night at 3"
        ) from error


def _first_after(after: float, moments: croniter, *, again: bool = False) -> float:
    """Return the first of these moments of the clock on the wall that comes later than ``after``.

    Of a moment that comes twice it is the first that counts, or the second with ``again``.
    """
    while True:
        moment = moments.get_next(datetime)
        due = float(moment.replace(fold=int(again)).timestamp())
        # In spring's missing hour the second reading of a moment is an hour early: such a time never shows.
        if due > after and not (again and datetime.fromtimestamp(due) != moment):
            return due


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _bytes_of(directory: Path) -> int:
    size = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                size += os.stat(os.path.join(place, name)).st_size
            except OSError:  # it is gone
                continue
    return size
