"""What `logging.level` and `logging.format` of the configuration do: records of `aios_db` on standard error.

The command line sets up the logger as a whole. In a program a configuration that says something else than
the defaults holds while its database is open, and the program's own set-up goes before: where the program has
a handler that takes a record, that one writes it. Importing does nothing; the root logger is never touched.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from aios_db.schema.config import LoggingConfig

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What a record carries by itself; anything else came in through ``extra=``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _finite(value: Any) -> Any:
    """Return a value that JSON has: null for what is no number, or without end."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TextFormatter(logging.Formatter):
    """``warning: aios_db.store: message key=value``, one line a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, followed by its traceback when it has one."""
        line = f"{record.levelname.lower()}: {record.name}: {record.getMessage()}"
        line += "".join(f" {key}={value}" for key, value in _extras(record).items())
        line = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line)  # as names of files may hold
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC, ISO 8601), level, logger, message, and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON in ASCII: one for whatever reads it, in any encoding."""
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{key: _finite(value) for key, value in _extras(record).items()},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler  # Python 3.10 has no StreamHandler[...]


class _OwnHandler(_StreamHandler):
    """Writes what no handler of the program takes."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record to what is standard error now, unless the program's own handlers do."""
        if _is_taken(record.name, self):
            return False
        self.setStream(sys.stderr)
        return bool(super().handle(record))


def _is_taken(name: str, own: logging.Handler) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not own for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


_lock = threading.RLock()  # the garbage collector may end one use within another
_open: dict[object, LoggingConfig] = {}
_before: list[int] = []  # the level that the program gave to the logger, while it is another
_handler = _OwnHandler()


def use(config: LoggingConfig) -> Callable[[], None]:
    """Let a configuration hold until the function that is returned is called.

    Of several that hold at once, the most talkative level does, and the format of the one that came last.
    While all are the defaults, nothing is changed.
    """
    key = object()
    with _lock:
        _open[key] = config
        _apply()

    def release() -> None:
        with _lock:
            if _open.pop(key, None) is not None:
                _apply()

    return release


def _apply() -> None:
    logger = logging.getLogger("aios_db")
    held = list(_open.values())
    configured = [each for each in held if each != LoggingConfig()]
    if configured:
        if not _before:
            _before.append(logger.level)
        _handler.setFormatter(_formatter(configured[-1]))
        logger.addHandler(_handler)
        logger.setLevel(min(getattr(logging, each.level) for each in held))
    elif _before:
        logger.removeHandler(_handler)
        logger.setLevel(_before.pop())


def _formatter(config: LoggingConfig) -> logging.Formatter:
    return JsonFormatter() if config.format == "json" else TextFormatter()


def configure_logging(config: LoggingConfig) -> None:
    """Send the `aios_db` logger to standard error in the configured format, replacing what was set before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(config))
    logger = logging.getLogger("aios_db")
    logger.handlers[:] = [handler]
    logger.setLevel(config.level)
    logger.propagate = False
