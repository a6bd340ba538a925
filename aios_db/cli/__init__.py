"""The `aios` command: one module a command group, imported when it is used."""

from aios_db.cli.app import main

__all__ = ["main"]
