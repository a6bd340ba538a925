"""What an agent still owes of its changes, kept over restarts in a file per card."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from aios_db.engine.weights.files import atomic_write
from aios_db.federation.card import LoraCard
from aios_db.federation.delta import moved
from aios_db.federation.feedback import Feedback
from aios_db.federation.library import CardLibrary
from aios_db.federation.sparse import Values

log = logging.getLogger("aios_db.federation")

_DIRECTORY = "federation"
_EXCHANGED = ("pulled", "pushed")  # origins of versions that lack what is owed


class Debts:
    """The files of a database; deleting them loses what was not sent yet, and nothing else."""

    def __init__(self, database: Path) -> None:
        self._directory = database / _DIRECTORY

    def read(self, name: str, base: LoraCard, decay: float) -> Feedback:
        """Return the error feedback of a card; without a debt where there is none that fits the card."""
        path = self._path(name)
        try:
            residual = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return Feedback(decay)
        except (OSError, ValueError, EOFError) as error:
            log.warning("%s cannot be read, what was owed is forgotten: %s", path, error)
            return Feedback(decay)
        fits = (
            residual.shape == (base.parameters,)
            and residual.dtype == np.float32
            and np.isfinite(residual).all()
        )
        return Feedback(decay, residual if fits else None)

    def write(self, name: str, residual: Values) -> None:
        """Keep what is owed of a card."""
        path = self._path(name)
        try:
            self._directory.mkdir(exist_ok=True)
            with atomic_write(path, alone=True) as part, part.open("wb") as file:
                np.save(file, residual, allow_pickle=False)
        except OSError as error:
            log.warning("%s cannot be written, what is owed will be forgotten: %s", path, error)

    def _path(self, name: str) -> Path:
        return self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy"


def to_train(library: CardLibrary, name: str, decay: float = 0.95) -> LoraCard:
    """Return what an agent goes on training: the head, with what it still owes of its own changes.

    From the head alone it would learn again what it owes, and send it twice: where a round is a good part of
    the way, the head then swings around the goal instead of coming to it. The hash of what is returned is the
    ``parent`` of what it is trained to.

    Parameters
    ----------
    decay
        What is left of the debt after a round.

    Raises
    ------
    ProgrammingError
        There is no such card here.
    """
    head = library.get(name)
    if library.versions(head.name)[-1].origin not in _EXCHANGED:
        return head
    residual = Debts(library.store.path).read(head.name, head, decay).residual
    return head if residual is None else moved(head, (np.float32(decay) * residual).astype(np.float32))
