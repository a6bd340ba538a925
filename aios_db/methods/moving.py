"""Taking a database elsewhere: backups and exports."""

from __future__ import annotations

from os import PathLike

from aios_db.backup.making import BackupReport
from aios_db.exports.writing import ExportReport
from aios_db.schema.text import path_of
from aios_db.session import Connected


def backup(
    con: Connected, /, target: str | PathLike[str], *, keep: int | None = None, models: bool = False
) -> BackupReport:
    """Copy the database, as it is now, into a directory of backups while others go on writing.

    A second backup to the same directory copies only what is new. `aios_db.restore` makes a database of
    one. What is erased later stays in the backups made before.

    Parameters
    ----------
    target
        A directory of backups of this database, or a path where there is nothing yet; not inside of it.
    keep
        How many backups of that directory stay, 7 by default; the oldest go first.
    models
        Copy the models that made the vectors, too. Their names and digests are always noted.

    Raises
    ------
    OperationalError
        The target holds something else, or backups of another database; another process writes for too
        long, or a disk fails. The directory has the backups that it had before.
    ModelNotFoundError
        A model to copy is not on this machine.
    """
    from aios_db.backup import making

    con.session.check_open()
    con.store.scope.refuse("backup")
    con.store.flush_if_possible()
    keep = making.KEEP if keep is None else keep
    place = path_of(target, "backup")
    return making.backup(con.store.path, place, keep=keep, models=models, config=con.store.config)


def export(con: Connected, /, path: str | PathLike[str], *, embeddings: bool = True) -> ExportReport:
    """Write all memories and links to files that other programs read; `aios import` takes them in again.

    Ids, times, links, tiers, metadata, media and counts are kept, so that a new database that imports
    them is the same.

    Parameters
    ----------
    path
        A name that ends with ``.jsonl`` is a file of JSON lines; any other one a directory of Parquet
        files. There must be nothing yet.
    embeddings
        Write the vectors, too; without them, texts are embedded again when they are imported.

    Raises
    ------
    OperationalError
        There is something at ``path``, or a disk fails; nothing is there then.
    """
    from aios_db import exports

    con.session.check_open()
    return exports.export(con.store, path_of(path, "export"), embeddings=embeddings)
