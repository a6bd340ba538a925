"""The view that answers now, which all parts of an index are handed."""

from __future__ import annotations

import threading

from aios_db.search.view import View


class Current:
    """The current view and the index's lock.

    Attributes
    ----------
    lock
        Held for the whole of an answer, so that it is one of one state; and by who brings the index up to
        date.
    view
        Replaced in one assignment by who does.
    """

    def __init__(self, view: View) -> None:
        self.lock = threading.RLock()
        self.view = view
