"""`Reading`: what the features of pairs are made with, modality beside modality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.joint.encoders import Encoders
from aios_db.joint.media import Reach
from aios_db.schema.progress import Progress

if TYPE_CHECKING:
    from aios_db.engine.backends.threads import SideBySide


@dataclass(frozen=True)
class Reading:
    """What is used by all modalities.

    Attributes
    ----------
    encoders
        What makes features.
    reach
        Where files may be read.
    cache
        Where features and codebooks are kept; None keeps none.
    progress
        Told what is being done; it may raise, to stop.
    cores
        What each modality has of them.
    """

    encoders: Encoders
    reach: Reach
    cache: Path | None
    progress: Progress
    cores: SideBySide
