"""`RecentFeatures`: features in memory, so that what was fitted, remembered or asked is not encoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aios_db.joint.cache import digest_of
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aios_db.engine.encoders.features import Item, Read

_Key = tuple[str, bytes]
MOST_BYTES = 32 << 20
"""Of all features that are kept: 8,192 of 1,024 numbers."""


class RecentFeatures:
    """The features used last, by encoder version and content; safe to use from several threads.

    Parameters
    ----------
    most_bytes
        Features that were not used for longest go first.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()

    def read(
        self, version: str, items: Sequence[Item], make: Callable[[Sequence[Item]], list[Read]]
    ) -> list[Read]:
        """Return the features of each item, of which only those are made that are not known.

        Parameters
        ----------
        version
            Of the encoder.
        items
            Texts, or the bytes of files.
        make
            Returns features, or what is wrong with an item, which is not kept.
        """
        keys = [(version, digest_of(item)) for item in items]
        with self._lock:
            found: dict[tuple[str, bytes], Read] = {
                key: self._known[key] for key in keys if key in self._known
            }
            for key in found:
                self._known.move_to_end(key)
        new = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
        if new:
            made = dict(zip(new, make(list(new.values())), strict=True))
            found |= made
            with self._lock:
                for key, features in made.items():
                    if not isinstance(features, DataError):
                        self._keep(key, features)
        return [found[key] for key in keys]

    def keep(self, version: str, items: Sequence[Item], features: Sequence[NDArray[np.float32]]) -> None:
        """Keep features that were made of items elsewhere."""
        with self._lock:
            for item, made in zip(items, features, strict=True):
                self._keep((version, digest_of(item)), made)

    def _keep(self, key: _Key, features: NDArray[np.float32]) -> None:
        features = features.copy()  # not a view that keeps a whole batch
        features.flags.writeable = False
        replaced = self._known.pop(key, None)
        self._bytes += features.nbytes - (0 if replaced is None else replaced.nbytes)
        self._known[key] = features
        while self._bytes > self._most_bytes:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
