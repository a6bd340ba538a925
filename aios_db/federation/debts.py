"""What an agent still owes of its changes, kept over restarts in a file per card.

A debt is owed after a version. What is made of that version alone lacks it; what was trained from `to_train`
has it; anything else, such as another card of that name, has nothing to do with it.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aios_db.engine.weights.files import atomic_write
from aios_db.federation.card import LoraCard
from aios_db.federation.delta import moved
from aios_db.federation.feedback import DECAY
from aios_db.federation.sparse import Values
from aios_db.schema.errors import DataError, OperationalError

if TYPE_CHECKING:
    from aios_db.federation.library import CardLibrary, CardVersion

log = logging.getLogger("aios_db.federation")

_DIRECTORY = "federation"
_EXCHANGED = ("pulled", "pushed", "received", "aggregated")  # made of nothing that is here
_FILE_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Debt:
    """What is owed of one card.

    Attributes
    ----------
    residual
        float32 (parameters of the card,), before it decays.
    after
        The hashes of the versions that lack it, the newest last. Two while one takes the other's place.
    of
        The hash of the version of which a part was sent; it lacks nothing.
    """

    residual: Values
    after: tuple[str, ...]
    of: str | None = None

    def decayed(self, decay: float) -> Values:
        """Return what is left of it after a round."""
        return (np.float32(decay) * self.residual).astype(np.float32)

    def moved_to(self, sha256: str) -> Debt:
        """Return it as owed after another version as well, which takes the newest one's place."""
        return self if sha256 in self.after else replace(self, after=(self.after[-1], sha256))


class Debts:
    """The files of a database; deleting them loses what was not sent yet, and nothing else."""

    def __init__(self, database: Path) -> None:
        self._directory = database / _DIRECTORY

    def read(self, name: str) -> Debt | None:
        """Return what is owed of a card; None where nothing is, or the file is damaged."""
        path = self._path(name)
        try:
            return read_debt(path)
        except FileNotFoundError:
            return None
        except DataError as error:
            log.warning("%s; what was owed is forgotten", error)
            return None

    def write(self, name: str, debt: Debt) -> None:
        """Keep what is owed of a card in place of what was; where that fails, nothing is owed any more."""
        if not debt.residual.any():
            self.forget(name)
            return
        path = self._path(name)
        try:
            self._directory.mkdir(exist_ok=True)
            with atomic_write(path, alone=True) as part, part.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    residual=debt.residual,
                    after=np.array(debt.after),
                    of=np.array(debt.of or ""),
                )
        except OSError as error:
            log.warning("%s cannot be written, what is owed is forgotten: %s", path, error)
            self.forget(name)

    def forget(self, name: str) -> None:
        """Owe nothing of a card any more."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be deleted: %s", self._path(name), error)

    def _path(self, name: str) -> Path:
        return self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npz"


def published_key(name: str) -> str:
    """Return the name under which a hub keeps what it has not published of a card."""
    return f"{name}/published"  # no card has a name with /


def debt_files(database: Path) -> list[Path]:
    """Return the files of what is owed in a database."""
    return sorted((database / _DIRECTORY).glob("*.npz"))


def read_debt(path: Path) -> Debt:
    """Read a file of what is owed.

    Raises
    ------
    FileNotFoundError
        There is none.
    DataError
        It cannot be read, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            residual, after, of = file["residual"], file["after"], file["of"]
    except FileNotFoundError:
        raise
    except _FILE_ERRORS as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if (
        residual.dtype != np.float32
        or residual.ndim != 1
        or not np.isfinite(residual).all()
        or not after.size
    ):
        raise DataError(f"{path} holds no finite numbers of float32, or no version that they are owed after")
    return Debt(residual, tuple(map(str, after.ravel())), str(of) or None)


def to_train(library: CardLibrary, name: str, decay: float = DECAY) -> LoraCard:
    """Return what an agent goes on training: the head, with what it still owes of its own changes.

    From the head alone it would learn again what it owes, and send it twice: where a round is a good part of
    the way, the head then swings around the goal instead of coming to it. The hash of what is returned is the
    ``parent`` of what it is trained to.

    Parameters
    ----------
    decay
        What is left of the debt after a round, as given to `FederationClient.sync`.

    Raises
    ------
    ProgrammingError
        There is no such card here.
    """
    head = library.get(name)
    debt = Debts(library.store.path).read(head.name)
    if debt is None or not lacks(library, head, debt, decay):
        return head
    return moved(head, debt.decayed(decay))


def lacks(library: CardLibrary, card: LoraCard | CardVersion, debt: Debt, decay: float) -> bool | None:
    """Tell whether a version lacks what is owed; None where it is not made of the versions that it is of."""
    if debt.residual.shape != (card.parameters,):
        return None
    having = {debt.of, *(start.sha256 for start in _starts(library, card.name, debt, decay))}
    for sha256 in _made_of(library, card):
        if sha256 in debt.after:
            return True
        if sha256 in having:
            return False
    return None


def settled(library: CardLibrary, debts: Debts, name: str, decay: float) -> LoraCard:
    """Make the head what `to_train` returns, and return it: all that the agent has to send.

    Raises
    ------
    ProgrammingError
        There is no such card here.
    """
    head, debt = library.get(name), debts.read(name)
    missing = lacks(library, head, debt, decay) if debt else False
    if debt is None or missing is False:
        return head
    if missing is None:
        log.warning("%s is not made of what was owed after %s, which is forgotten", head.version, debt.after)
        debts.forget(name)
        return head
    card, known = moved(head, debt.decayed(decay)), library.versions(name)[-1]
    start = next(iter(_starts(library, name, debt, decay)), None)
    parent = head if start is None or start.sha256 == card.sha256 else start
    library.add(card, origin="owed", parent=parent.sha256, samples=known.samples)
    return card


def carry_over(library: CardLibrary, debts: Debts, card: LoraCard, decay: float, *, follows: bool) -> None:
    """Owe after a version that is about to be pulled what is owed of the head that it takes the place of.

    Parameters
    ----------
    follows
        Whether the sender has a version in common with the library.
    """
    versions, debt = library.versions(card.name), debts.read(card.name)
    if debt is None:
        return
    if follows and versions and lacks(library, versions[-1], debt, decay) is not None:
        debts.write(card.name, debt.moved_to(card.sha256))
    else:
        log.warning("%s has nothing to do with what was owed, which is forgotten", card.version)
        debts.forget(card.name)


def _starts(library: CardLibrary, name: str, debt: Debt, decay: float) -> Iterator[LoraCard]:
    """Yield what `to_train` returned of the versions that the debt is owed after."""
    for sha256 in reversed(debt.after):
        try:
            card = library.by_hash(name, sha256)
        except OperationalError as error:
            log.warning("what was trained from it is not known as such: %s", error)
            continue
        if card is not None and card.parameters == len(debt.residual):
            yield moved(card, debt.decayed(decay))


def _made_of(library: CardLibrary, card: LoraCard | CardVersion) -> Iterator[str]:
    """Yield the hash of a version, and of those that it was made of since the last exchange."""
    rows = {each.sha256: each for each in library.versions(card.name)}
    sha256: str | None = card.sha256
    while sha256 is not None:
        yield sha256
        row = rows.pop(sha256, None)
        sha256 = None if row is None or row.origin in _EXCHANGED else row.parent_sha256
