"""CLIP's own space of texts and pictures: the joint space of a database in which none was fitted."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.disk.lock import WriteLock
from aios_db.joint.usable import Active, SpaceInUse
from aios_db.schema.errors import Error

if TYPE_CHECKING:
    from aios_db.models.versions import WeightVersions

log = logging.getLogger("aios_db.joint")

NAME = "clip"
_OWN = re.compile(rf"{NAME}-[0-9a-f]{{8}}@[0-9a-f]+")
_LOOK_AGAIN_S = 1.0


class ClipSpace:
    """What puts CLIP's space to use; it is a joint space like others, with nothing fitted in it.

    Parameters
    ----------
    in_use
        The space in use, with the encoders.
    versions, lock
        Where the space is recorded.
    models
        Where its weights are written.
    writable
        Tells whether it may be.
    """

    def __init__(
        self,
        in_use: SpaceInUse,
        versions: WeightVersions,
        lock: WriteLock,
        models: Path,
        writable: Callable[[], bool],
    ) -> None:
        self._in_use, self._versions, self._lock = in_use, versions, lock
        self._models, self._writable = models, writable
        self._told_of: str | None = None
        self._look_at = 0.0
        self.activated: Callable[[], None] = lambda: None
        """Called when the space is put to use, since memories are to be put into it."""

    def ensure(self) -> bool:
        """Put CLIP's space to use where there is none, and CLIP is installed; tell whether that was done.

        Where CLIP was not found, it is looked for again a second later, and not for each picture.
        """
        if self._in_use.version is not None or time.monotonic() < self._look_at:
            return False
        fresh = self.fresh()
        if fresh is None:
            self._look_at = time.monotonic() + _LOOK_AGAIN_S
            return False
        return self.activate(fresh)

    def fresh(self) -> Active | None:
        """Return the space of the CLIP that is installed, where it is not in use and none was fitted.

        It is installed as a version; why it cannot be is logged, once.
        """
        if not self.is_wanted():
            return None
        try:
            return self._installed()
        except Error as error:
            if str(error) != self._told_of:
                self._told_of = str(error)
                log.warning("CLIP's own space cannot be used: %s", error, extra={"event": "no_clip_space"})
            return None

    def activate(self, fresh: Active) -> bool:
        """Use a space of CLIP from now on, but where another process has fitted one meanwhile."""
        with self._lock.hold():
            if self._is_fitted():
                return False
            self._versions.set_active(fresh.version)
        log.warning(
            "no joint space was fitted: pictures are found in CLIP's own, %s",
            fresh.version,
            extra={"event": "clip_space", "version": fresh.version},
        )
        self.activated()
        return True

    def is_wanted(self) -> bool:
        """Tell whether CLIP is installed, and neither its space nor a fitted one is in use."""
        in_use = self._in_use
        if not self._writable() or self._is_fitted():
            return False
        active, installed = in_use.usable(), in_use.encoders.installed_clip()
        if installed is None or active is None:
            return installed is not None
        if installed == active.space.encoders:
            return False
        return not all(in_use.has_encoder(active, each) for each in installed)  # quantized ones are the same

    def _is_fitted(self) -> bool:
        """Tell whether the space in use was fitted on pairs; a lost one of CLIP is known by its name."""
        active, version = self._in_use.usable(), self._in_use.version
        if active is not None:
            return not active.space.untrained
        return version is not None and _OWN.fullmatch(version) is None

    def _installed(self) -> Active | None:
        from aios_db.engine.fusion.files import place_space
        from aios_db.engine.fusion.joint_space import JointSpace

        clip = self._in_use.encoders.clip()
        if clip is None:
            return None
        space = JointSpace.of_clip(*clip)
        self._models.mkdir(parents=True, exist_ok=True)
        version = self._versions.install(place_space(space, self._models, NAME, {}))
        return Active(space, version.version)
