"""`SpaceInUse`: the joint space that a database uses, and whether the encoders at hand fit it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lance

from aios_db.joint.codebooks import told_by
from aios_db.joint.encoders import Encoders, check_works
from aios_db.schema.errors import Error, ModelNotFoundError, ProgrammingError

if TYPE_CHECKING:
    from aios_db.engine.encoders.features import Features
    from aios_db.engine.fusion.joint_space import JointSpace
    from aios_db.models.versions import WeightVersions

log = logging.getLogger("aios_db.joint")

SPACE = "joint"


@dataclass(frozen=True)
class Active:
    """The space in use and its weight version."""

    space: JointSpace
    version: str


class SpaceInUse:
    """The joint space that the table of versions names; safe to use from several threads.

    Parameters
    ----------
    encoders
        What makes features.
    versions
        Finds the weights of the active version.
    table
        Returns the newest `weight_versions`, or None where it cannot be read.
    """

    def __init__(
        self, encoders: Encoders, versions: WeightVersions, table: Callable[[], lance.LanceDataset | None]
    ) -> None:
        self.encoders = encoders
        self._versions, self._table = versions, table
        self._lock = threading.Lock()
        self._told_of: str | None = None
        self._seen = -1
        self._row: tuple[str, str] | None = None
        self._active: Active | None = None

    @property
    def version(self) -> str | None:
        """The version in use, be its weights here or not; None where no space was fitted."""
        table = self._table()
        if table is None:
            return None
        with self._lock:
            if table.version != self._seen:
                rows = table.to_table(columns=["version", "path"], filter=f"space = '{SPACE}' AND is_active")
                self._row = (rows["version"][0].as_py(), rows["path"][0].as_py()) if len(rows) else None
                self._seen = table.version
            return None if self._row is None else self._row[0]

    def active(self) -> Active | None:
        """Return the space in use; None where none was fitted.

        Raises
        ------
        ModelNotFoundError
            Its weights are not on this machine, or damaged.
        """
        if self.version is None:
            return None
        with self._lock:
            if self._row is not None and (self._active is None or self._active.version != self._row[0]):
                self._active = self._load(*self._row)
            return self._active

    def usable(self) -> Active | None:
        """Return the space in use; None, and logged once, where its weights are lost: words do without it."""
        try:
            return self.active()
        except Error as error:
            if str(error) != self._told_of:
                self._told_of = str(error)
                log.warning("words are used alone: %s", error, extra={"event": "joint_space_lost"})
            return None

    def required(self) -> Active:
        """Return the space in use.

        Raises
        ------
        ProgrammingError
            None was fitted.
        """
        active = self.active()
        if active is None:
            raise ProgrammingError(
                "no joint space was fitted for this database, so that no picture or sound can ask: "
                "fit one on pairs with aios fusion fit, or con.fit_fusion(pairs)"
            )
        return active

    def features(self, active: Active, modality: str) -> Features:
        """Return what makes the features that a space takes: of texts in CLIP's own space its text side."""
        if active.space.untrained and modality == "text":
            return self.encoders.captions()
        codebook = active.space.codebooks.get(modality)
        found = self.encoders.of(modality)
        return found if codebook is None else told_by(found, codebook)

    def fits(self, active: Active, modality: str) -> bool:
        """Tell whether an encoder is that which the space was fitted with, or was made of it and passed."""
        wanted, used = active.space.encoders[modality], self.features(active, modality).version
        seen: set[str] = set()
        while used != wanted and used not in seen:
            seen.add(used)
            known = self._versions.find(used)
            if known is None or known.parent_version is None:
                return False
            used = known.parent_version
        return used == wanted

    def check_fits(self, active: Active, modality: str) -> None:
        """Refuse an encoder that is not the one that the space was fitted with, by a `ProgrammingError`."""
        if not self.fits(active, modality):
            own = active.space.untrained
            how = (
                "aios optimize changes to its space where it is CLIP's, or fit one (aios fusion fit)"
                if own
                else "fit again (aios fusion fit, con.fit_fusion), or register the encoder it was fitted with"
            )
            raise ProgrammingError(
                f"the joint space {active.version} {'is that of' if own else 'was fitted with'} "
                f"{active.space.encoders[modality]}, and {self.features(active, modality).version} makes the "
                f"features of {modality} now: {how}"
            )

    def has_encoder(self, active: Active, modality: str) -> bool:
        """Tell whether this process can make features of a modality that the space takes, now."""
        try:
            if not self.fits(active, modality):
                return False
            check_works(self.features(active, modality))
            return True
        except Error:
            return False

    def _load(self, version: str, path: str) -> Active:
        from aios_db.engine.fusion.files import load_space

        try:
            space, _ = load_space(self._versions.located(version, path, space=SPACE))
        except Error as error:
            raise ModelNotFoundError(
                f"the joint space {version} cannot be used, so that no picture or sound is found or "
                f"asks: {error}. Put its model directory, {path}, back, or fit the space again with "
                "aios fusion fit or con.fit_fusion(pairs); aios optimize makes CLIP's own anew. Words are "
                "found meanwhile"
            ) from error
        return Active(space, version)
