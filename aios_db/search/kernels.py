"""The inner loops of a search: compiled ones, or those in NumPy where they were not compiled.

Both are the same functions; `aios_db.search.portable` says what they do.
"""

from __future__ import annotations

import logging

try:
    from aios_db.search.native import keywords, links, names, vectors
except ImportError as error:
    from aios_db.search.portable import keywords, links, names, vectors  # type: ignore[no-redef]

    logging.getLogger("aios_db.search").warning(
        "searches run in NumPy and take longer, since aios_db.search.native is not compiled (%s); "
        "have Cython and a C compiler, and install aios_db again",
        error,
        extra={"event": "searches_in_numpy"},
    )

__all__ = ["keywords", "links", "names", "vectors"]
