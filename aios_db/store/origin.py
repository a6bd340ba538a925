"""Which SQL statement a call of the store comes from, without the values in it."""

from __future__ import annotations

import re
import threading
import time
from contextvars import ContextVar

_statement: ContextVar[str | None] = ContextVar("statement", default=None)
_NAME = re.compile(r'"?[A-Za-z_]\w*"?')
_OPERATOR = re.compile(r"[^\w\s'\"`]+")
_SPACE = re.compile(r" (?=[),.;\]])|(?<=[(\[.]) ")
_LONGEST = 500
_VALUE = "?"


class Origins:
    """The statements that run on one open database."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[str, float]] = {}
        self._searched: set[float] = set()  # when statements began that have found something

    def begin(self, query: str) -> None:
        """Say that this thread runs a statement from now on."""
        self.end()
        _statement.set(query)
        self._running[threading.get_ident()] = query, time.perf_counter()

    def end(self) -> None:
        """Say that this thread runs none."""
        _statement.set(None)
        _, began = self._running.pop(threading.get_ident(), (None, 0.0))
        self._searched.discard(began)

    def statement(self) -> str | None:
        """Return the `shape` of the statement that this thread works for; None when it is none.

        A thread of DuckDB's own works for the one that runs; where several do, nobody knows for which.
        """
        query = _statement.get()
        if query is None and isinstance(threading.current_thread(), threading._DummyThread):
            running = {each for each, _ in self._running.copy().values()}
            query = running.pop() if len(running) == 1 else None
        return None if query is None else shape(query)

    def searched(self, now: float) -> float:
        """Note that the statement that this thread works for has found something.

        A thread of DuckDB's own may work for any that runs: all of them may have found it, the last began.

        Returns
        -------
        float
            When that statement began (`time.perf_counter`), else ``now``.
        """
        own = self._running.get(threading.get_ident())
        running = [own] if own is not None else list(self._running.copy().values())
        self._searched.update(began for _, began in running)
        return max((began for _, began in running), default=now)

    def unanswered(self) -> float | None:
        """Return when the statement that this thread runs began, if it has found nothing so far."""
        _, began = self._running.get(threading.get_ident(), (None, None))
        return None if began in self._searched else began


def shape(query: str) -> str:
    """Return a statement with ``?`` in the place of each value, and without comments.

    Only what cannot be a value is kept: words of SQL, plain names and operators.
    """
    import duckdb

    text = query.encode()
    tokens = duckdb.tokenize(query)
    ends = [start for start, _ in tokens[1:]] + [len(text)]
    kept: list[str] = []
    last_end = -1  # of a number, which DuckDB ends before the letters of 0x1F
    for (start, kind), end in zip(tokens, ends, strict=True):
        if kind == duckdb.token_type.comment:
            continue
        piece = text[start:end].split(b"--")[0].split(b"/*")[0]
        word = piece.strip().decode("utf-8", "replace")
        if not word or (start == last_end and _NAME.match(word)):
            continue
        number = kind == duckdb.token_type.numeric_const and word != "."  # which DuckDB 2 takes for one
        if number and len(word) == len(piece):
            last_end = end
        constant = number or kind == duckdb.token_type.string_const
        plain = not constant and (_NAME.fullmatch(word) or _OPERATOR.fullmatch(word))
        kept.append(word if plain else _VALUE)
    told = _SPACE.sub("", " ".join(kept)).removesuffix(";")
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"
