"""A view that follows its table: a PyArrow dataset whose every scan asks for the version to read.

DuckDB reads a registered dataset by calling ``scanner`` on it with the columns and the filter it wants, so
one registration serves all later versions, and projection and filter still reach Lance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads


class LiveDataset(pads.Dataset):  # type: ignore[misc]
    """Delegates to the dataset that ``current`` returns when a scan starts.

    Parameters
    ----------
    current
        Returns the dataset to read now.
    """

    def __init__(self, current: Callable[[], pads.Dataset]) -> None:
        self._current = current

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the current version."""
        return self._current().schema

    def scanner(self, *args: Any, **kwargs: Any) -> pads.Scanner:
        """Return a scanner over the current version; arguments as `pyarrow.dataset.Dataset.scanner`."""
        return self._current().scanner(*args, **kwargs)
