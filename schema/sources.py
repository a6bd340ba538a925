"""What `source` says of a memory whose caller names none: how it came in. Imports say the file's name."""

from __future__ import annotations

PYTHON, SQL, SHELL = "python", "sql", "cli"
ENTRIES = (PYTHON, SQL, SHELL)
