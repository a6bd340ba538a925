"""Which backups are of one database.

A database is known by its identity. Where a backup or its database has none, as an older aios_db made it, it
is known by where it lies, and by files of its tables: their names are drawn by chance.
"""

from __future__ import annotations

from collections.abc import Iterable

from aios_db.backup.manifest import Manifest

_NUMBERED = "_versions"


class Lineage:
    """What is known of one database; each backup of it that is met adds to that.

    Parameters
    ----------
    database_id
        Its identity, None when it has none.
    database
        Where it lies.
    paths
        Its files, within the database.
    """

    def __init__(self, database_id: str | None, database: str, paths: Iterable[str]) -> None:
        self.database_id = database_id
        self._databases = {database}
        self._files = _by_chance(paths)

    @classmethod
    def of(cls, manifest: Manifest) -> Lineage:
        """Return that of the database of a backup."""
        return cls(manifest.database_id, manifest.database, (each.path for each in manifest.files))

    def others(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """Return the backups that are of other databases; best given newest first."""
        return [each for each in manifests if not self._has(each)]

    def _has(self, manifest: Manifest) -> bool:
        files = _by_chance(each.path for each in manifest.files)
        if self.database_id and manifest.database_id:
            same = self.database_id == manifest.database_id
        else:
            same = manifest.database in self._databases or not files.isdisjoint(self._files)
        if same:
            self.database_id = self.database_id or manifest.database_id
            self._databases.add(manifest.database)
            self._files |= files
        return same


def _by_chance(paths: Iterable[str]) -> set[str]:
    """Return files of tables but for those whose names are numbers of versions."""
    return {
        each for each in paths
        if each.partition("/")[0].endswith(".lance") and each.split("/")[1] != _NUMBERED
    }  # fmt: skip
