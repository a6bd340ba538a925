"""The numbered migrations of a database: a decorator registers one, its module's name is its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

# A new migration is a module beside this one and a line here.
MODULES = (
    "m0002_weight_versions",
    "m0003_identity",
    "m0004_federation",
    "m0005_quarantine",
    "m0006_lifecycle",
    "m0007_joint",
    "m0008_short_hashes",
)

Steps = Callable[[Path], Iterator[str]]
"""Changes the database directory it is given; yields the name of each step that is done.

It may be killed anywhere and is run again from the start, so every step must notice that it is done already.
It adds and never removes: the format before must stay readable until the marker names the new one.
"""

_NAME = re.compile(r"m(\d{4})_\w+$")


@dataclass(frozen=True)
class Migration:
    """One step from a format version to the next."""

    number: int
    """The format version it leads to."""
    name: str
    steps: Steps


_registered: dict[int, Migration] = {}


def migration(steps: Steps) -> Steps:
    """Register the migration of a module called ``m0002_…``.

    Raises
    ------
    ValueError
        The module's name has no number, or one that is taken.
    """
    name = steps.__module__.rpartition(".")[2]
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"a migration's module is called m<four digits>_<what it does>, not {name!r}")
    number = int(match[1])
    if _registered.get(number, Migration(number, name, steps)).name != name:
        raise ValueError(f"migration {number} is registered twice")
    _registered[number] = Migration(number, name, steps)
    return steps


def migrations() -> list[Migration]:
    """Return all migrations in order."""
    for module in MODULES:
        import_module(f"aios_db.migrations.{module}")
    return [_registered[number] for number in sorted(_registered)]
