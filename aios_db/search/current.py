"""The view that answers now, and how its memories stand."""

from __future__ import annotations

import threading
from typing import Protocol

from aios_db.search.changes import Changes
from aios_db.search.stand import Stand
from aios_db.search.standing import Standing
from aios_db.search.view import View


class Seen(Protocol):
    """What the parts of an index that answer are handed. They take the view once an answer."""

    @property
    def view(self) -> View:
        """The view."""
        ...

    def looked(self) -> tuple[View, Stand]:
        """Return the view and how its memories stand."""
        ...


class Current:
    """The view that is published last; replaced while others look at it, and at those before.

    Parameters
    ----------
    view
        The first one.
    standing
        Told of every change.

    Attributes
    ----------
    view
        The view, to be read without a lock.
    """

    def __init__(self, view: View, standing: Standing) -> None:
        self._lock = threading.Lock()
        self._standing = standing
        self.view = view
        self._begin(view)

    def looked(self) -> tuple[View, Stand]:
        """Return the view and how its memories stand now, once what has changed or expired is looked at."""
        with self._lock:
            view = self.view
            return view, self._standing.look(view)

    def publish(self, view: View, changes: Changes, *, anew: bool) -> None:
        """Make a view the current one.

        Parameters
        ----------
        view
            The next one.
        changes
            What is different in it.
        anew
            It is over another segment, so that all of it is different.
        """
        with self._lock:
            if anew:
                self._begin(view)
            for part, documents in changes.killed:
                self._standing.killed(part, documents)
            for rows in changes.put:
                self._standing.changed(rows)
            self.view = view

    def _begin(self, view: View) -> None:
        self._standing.begin(view.documents.growing.vectors.shape[1])


class Pinned:
    """One view, whatever is published meanwhile.

    Parameters
    ----------
    seen
        Whose view of now it is.
    """

    def __init__(self, seen: Seen) -> None:
        self.view, self._stand = seen.looked()

    def looked(self) -> tuple[View, Stand]:
        """Return the view and how its memories stood."""
        return self.view, self._stand
