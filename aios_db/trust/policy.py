"""How much a source is trusted, by the configuration."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

from aios_db.schema.config import TrustConfig


class SourceTrust:
    """Trust in sources, from 0 to 1: that of the first pattern that fits, or the default.

    Parameters
    ----------
    config
        The patterns; a memory without a source has the source ``""`` for them.

    Attributes
    ----------
    active
        Whether any source is trusted less than fully.
    quarantine_below
        Text of a memory that is trusted less is held when it reads like an instruction.
    """

    def __init__(self, config: TrustConfig) -> None:
        self._patterns = tuple((each.casefold(), share) for each, share in dict(config.sources).items())
        self._default = config.default
        self.quarantine_below = config.quarantine_below
        self.active = min([config.default, *(share for _, share in self._patterns)]) < 1
        self.of = lru_cache(4096)(self._of)
        """Return the trust in a source."""

    def _of(self, source: str | None) -> float:
        name = (source or "").casefold()  # whoever names a file chooses its case
        return next((share for pattern, share in self._patterns if fnmatchcase(name, pattern)), self._default)


EVERY_SOURCE = SourceTrust(TrustConfig())
"""All sources are trusted fully."""
