"""An embedded memory database for AI agents, asked in SQL.

>>> import aios_db
>>> con = aios_db.connect(":memory:")                                        # doctest: +SKIP
>>> con.remember("Ada keeps the spare key under the blue pot.", speaker="Ada")  # doctest: +SKIP
>>> con.sql("SELECT text, score FROM recall('where is the key?', k := 3)")      # doctest: +SKIP
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aios_db.schema.errors import (
    ConfigError,
    DatabaseError,
    DataError,
    DeviceError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    MissingExtraError,
    ModelNotFoundError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    ReadOnlyError,
    SchemaVersionError,
    ValidationError,
    Warning,
    WeightsError,
)
from aios_db.version import __version__ as __version__

if TYPE_CHECKING:
    from aios_db.attaching import attach, detach
    from aios_db.connection import Connection
    from aios_db.cursor import Cursor
    from aios_db.engine.encoders.plugged import MediaEncoder
    from aios_db.joint.fitting import FusionReport
    from aios_db.loop import CognitiveLoop
    from aios_db.memory import Memory
    from aios_db.methods.provenance import Quarantined
    from aios_db.opening import connect
    from aios_db.provenance.audit import Audit
    from aios_db.provenance.rollback import RollbackReport
    from aios_db.recollection import Recollection
    from aios_db.salvaging import salvage
    from aios_db.store.turns import Turns
    from aios_db.upkeep import check, repair, restore

# Read once, when torch loads: OpenMP's threads sleep while they wait for each other. By default they spin,
# and beside other work the one that is waited for gets no processor while the others burn theirs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU OpenMP
os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's and LLVM's
# Read once, when Arrow is loaded. Its own allocator keeps what is freed for Arrow alone; the C library's has
# it for all, and gives back what it keeps (`engine/weights/heaps.py`).
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    if (arrow := sys.modules.get("pyarrow")) is not None:  # the program has loaded it, and read it, before
        first = arrow.supported_memory_backends()[0]
        if arrow.default_memory_pool().backend_name == first:  # and has chosen no other
            arrow.set_memory_pool(arrow.system_memory_pool())

apilevel = "2.0"
threadsafety = 2  # threads may share the module and connections
paramstyle = "qmark"

__all__ = [
    "Audit",
    "CognitiveLoop",
    "ConfigError",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "DeviceError",
    "Error",
    "FusionReport",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "MediaEncoder",
    "Memory",
    "MissingExtraError",
    "ModelNotFoundError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Quarantined",
    "ReadOnlyError",
    "Recollection",
    "RollbackReport",
    "SchemaVersionError",
    "Turns",
    "ValidationError",
    "Warning",
    "WeightsError",
    "apilevel",
    "attach",
    "check",
    "connect",
    "detach",
    "paramstyle",
    "repair",
    "restore",
    "salvage",
    "threadsafety",
]

_LAZY = {
    "CognitiveLoop": "loop",
    "Connection": "connection",
    "Cursor": "cursor",
    "FusionReport": "joint.fitting",
    "MediaEncoder": "engine.encoders.plugged",
    "Memory": "memory",
    "Audit": "provenance.audit",
    "Quarantined": "methods.provenance",
    "RollbackReport": "provenance.rollback",
    "Recollection": "recollection",
    "Turns": "store.turns",
    "attach": "attaching",
    "check": "upkeep",
    "connect": "opening",
    "detach": "attaching",
    "repair": "upkeep",
    "restore": "upkeep",
    "salvage": "salvaging",
}


def __getattr__(name: str) -> Any:
    """Import what needs DuckDB and Arrow when it is first asked for (PEP 562)."""
    if name in _LAZY:
        return getattr(import_module(f"aios_db.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'aios_db' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is imported when it is asked for, too, for shells that complete names."""
    return sorted({*globals(), *__all__})
