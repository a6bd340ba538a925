"""Completion at the prompt of `aios sql`: keywords, tables and views, columns, functions, and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aios_db.schema.errors import Error

if TYPE_CHECKING:
    from aios_db.connection import Connection

DELIMITERS = " \t\n\"'`@$><=;|&{(,)[]+-*/%!?:"
_NAMES = """
    SELECT table_name FROM information_schema.tables
    UNION SELECT column_name FROM information_schema.columns
    UNION SELECT DISTINCT function_name FROM duckdb_functions()
    WHERE regexp_matches(function_name, '^[a-z][a-z0-9_]*$')"""
_KEYWORDS = "SELECT upper(keyword_name) FROM duckdb_keywords()"


class Completer:
    """What `readline` asks for the words that may follow; names are read anew for each word begun."""

    def __init__(self, con: Connection, commands: list[str]) -> None:
        self._con = con
        self._commands = commands
        self._keywords: list[str] = []
        self._found: list[str] = []

    def __call__(self, text: str, state: int) -> str | None:
        """Return the completion of that number, from 0; None when there are no more."""
        if state == 0:
            self._found = self.matches(text)
        return self._found[state] if state < len(self._found) else None

    def matches(self, text: str) -> list[str]:
        """Return every word that begins with ``text``: names first, keywords in the case that was typed."""
        if text.startswith("."):
            return [each for each in self._commands if each.startswith(text)]
        qualifier, dot, begun = text.rpartition(".")
        try:
            with self._con.cursor() as cursor:
                if not self._keywords:
                    self._keywords = [word for (word,) in cursor.execute(_KEYWORDS).fetchall()]
                names = sorted({name for (name,) in cursor.execute(_NAMES).fetchall()})
        except Error:  # in a transaction that failed, say
            return []
        found = [qualifier + dot + name for name in names if name.lower().startswith(begun.lower())]
        if dot or not begun:
            return found
        keywords = (word if begun.isupper() else word.lower() for word in self._keywords)
        return [
            *found,
            *sorted({word for word in keywords if word.lower().startswith(begun.lower())} - {*found}),
        ]
