"""What a source may do to memories of others: change what is trusted less than it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.schema.errors import IntegrityError
from aios_db.trust.policy import SourceTrust

Trusts = NDArray[np.float32]


def authority(rows: pa.Table, entry: str, policy: SourceTrust) -> Trusts:
    """Return how much the source of each row is trusted; ``entry`` is that of rows that name none."""
    if not policy.active:
        return np.ones(len(rows), np.float32)
    sources = rows["source"].combine_chunks().dictionary_encode()
    known = np.array([policy.of(each) for each in [*sources.dictionary.to_pylist(), entry]], np.float32)
    found: Trusts = known[sources.indices.fill_null(len(known) - 1).to_numpy()]
    return found


def said(rows: pa.Table, authority: Trusts) -> Trusts:
    """Return how much each row is trusted that a source gives: no more than the row says itself."""
    own: Trusts = pc.fill_null(rows["trust"], 1.0).to_numpy()
    return np.minimum(authority, own)


def refuse_beyond(source: str, share: Trusts, trust: Trusts, doing: str, name: Callable[[int], str]) -> None:
    """Raise where what a source would change is trusted more than it.

    Parameters
    ----------
    source, share
        Who, and its authority over each memory.
    trust
        In each memory that it would change.
    doing
        What it would do, as in "cannot …".
    name
        Returns what names one of them.

    Raises
    ------
    IntegrityError
        Nothing was changed.
    """
    beyond = np.flatnonzero(share < trust)
    if len(beyond):
        place = int(beyond[0])
        raise IntegrityError(
            f"cannot {doing} {name(place)}: it is of another source and trusted {trust[place]:g}, "
            f"{source!r} is trusted {share[place]:g} (trust.sources) and changes only its own and what is "
            "trusted less; nothing was changed. Remember what it says as a memory of its own, or use a "
            "connection without source"
        )


def over_others(shares: Trusts, own: NDArray[np.bool_]) -> Trusts:
    """Return the authority of what writes for one source: as given over its ``own``, else a bit less.

    So it changes nothing of others that is trusted as much.
    """
    return np.where(own, shares, np.nextafter(shares, np.float32(-1)))
