"""How far long work is, told to whoever waits for it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told again and again how far a piece of work is."""

    def __call__(self, doing: str, done: int, total: int, /) -> object:
        """Take note.

        Parameters
        ----------
        doing
            What is being done; other words are another piece of work.
        done, total
            How much of it is done, and how much there is, in a unit of its own: texts, bytes, steps. Both are
            0 for a step that is told once, of which nobody knows how long it is.
        """
        ...


def silent(doing: str, done: int, total: int, /) -> None:
    """Take no note."""
