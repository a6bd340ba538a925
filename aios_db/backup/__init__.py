"""Backups of a database while others write to it, and restoring them."""

from __future__ import annotations

from aios_db.backup.making import BackupReport, backup
from aios_db.backup.manifest import Manifest
from aios_db.backup.restoring import RestoreReport, Verified, examine, restore, verify
from aios_db.backup.target import Target

__all__ = [
    "BackupReport",
    "Manifest",
    "RestoreReport",
    "Target",
    "Verified",
    "backup",
    "examine",
    "restore",
    "verify",
]
