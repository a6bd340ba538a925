"""`Questions`: vectors of what is asked, by an encoder alone or in the joint space."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.joint.media import Reach, tried
from aios_db.joint.usable import Active, SpaceInUse
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.modalities import version_number

if TYPE_CHECKING:
    from aios_db.engine.encoders.features import Features

log = logging.getLogger("aios_db.joint")

Given = bytes | str | None
"""The bytes of a file, a path or a URI."""


class Questions:
    """What connections ask of encoders and of the joint space.

    Parameters
    ----------
    in_use
        The space.
    reach
        Returns what may be read besides the database.
    ensure
        Called before a picture asks: a space may be put to use for it.
    """

    def __init__(self, in_use: SpaceInUse, reach: Reach, ensure: Callable[[], object]) -> None:
        self._in_use, self._reach, self._ensure = in_use, reach, ensure

    def encode(self, modality: str, items: Sequence[Given]) -> list[NDArray[np.float32] | None]:
        """Return unit vectors of sounds or pictures by the model of the configuration; None for None.

        Raises
        ------
        DataError
            No item can be read; where some can, the others are None, and logged.
        """
        encoders = self._in_use.encoders
        return _told(modality, items, encoders.own(encoders.of(modality), self._read_distinct(items)))

    def encode_with(self, name: str, items: Sequence[Given]) -> list[NDArray[np.float32] | None]:
        """Return unit vectors of items by a user's encoder; None for None. See `encode`."""
        encoders = self._in_use.encoders
        features = encoders.named(name)
        known: Mapping[Given, bytes | str | DataError] = self._read_distinct(items)
        if features.modality == "text":
            known = {item: item for item in items if item is not None}
        return _told(name, items, encoders.own(features, known))

    def embed(
        self, texts: Sequence[str | None], images: Sequence[Given], audios: Sequence[Given]
    ) -> list[NDArray[np.float32] | None]:
        """Return the unit vector of each compound; None where nothing of it is given.

        Raises
        ------
        ProgrammingError
            No space was fitted, or an encoder is not the one that it was fitted with.
        DataError
            No item can be read; where some can, the others are None, and logged.
        """
        self._ensure()
        active = self._in_use.required()
        found = self._features(active, {"text": texts, "image": images, "audio": audios}, strict=True)
        vectors = active.space.embed(found)
        return [vector if parts else None for vector, parts in zip(vectors, found, strict=True)]

    def question(
        self, text: str | None, vector: NDArray[np.float32] | None, image: Given, audio: Given
    ) -> NDArray[np.float32] | None:
        """Return what ranks memories for a compound question, see `JointSpace.question`.

        Parameters
        ----------
        text, vector
            A text and its vector by the database's encoder. A blank text asks nothing.

        Returns
        -------
        NDArray[np.float32] or None
            None where a text is given and no space was fitted: the words ask alone. At [0, 0] stands the
            `version_number` of the space.

        Raises
        ------
        ProgrammingError, DataError
            As `embed`; of no space only where there are no words.
        """
        in_use = self._in_use
        asks_media = image is not None or audio is not None
        wordy = text is not None and bool(text.strip())
        if image is not None:
            self._ensure()
        if asks_media and wordy and in_use.version is None:
            _warn_of_pivot("what was given beside them does not")
            return None
        active = in_use.required() if asks_media else in_use.usable()
        if active is None:
            return None
        if active.space.untrained and audio is not None and (wordy or image is not None):
            _warn_of_pivot("the sound that was given does not")
            audio, asks_media = None, image is not None
        parts = self._features(active, {"image": [image], "audio": [audio]}, strict=True)[0]
        if wordy and "text" in active.space.encoders:
            if active.space.untrained:
                if asks_media or in_use.has_encoder(active, "text"):
                    parts |= self._features(active, {"text": [text]}, strict=asks_media)[0]
            elif in_use.encoders.is_plugged("text") or vector is None:
                parts |= self._features(active, {"text": [text]}, strict=asks_media)[0]
            elif in_use.fits(active, "text"):
                parts["text"] = vector
        if not parts:
            return None
        question = active.space.question(parts)
        question[0, 0] = version_number(active.version)
        return question

    # Inside

    def _read_distinct(self, items: Sequence[Given]) -> dict[Given, bytes | DataError]:
        distinct = dict.fromkeys(item for item in items if item is not None)
        return {item: tried(item, self._reach) for item in distinct}

    def _features(
        self, active: Active, given: dict[str, Sequence[Given]], *, strict: bool
    ) -> list[dict[str, NDArray[np.float32]]]:
        """Return features of each thing by modality; an error where nothing can be read."""
        count = len(next(iter(given.values())))
        found: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(count)]
        faults: list[DataError] = []
        for modality, items in given.items():
            places = [place for place, item in enumerate(items) if item is not None]
            if not places:
                continue
            if modality not in active.space.encoders:
                if strict:
                    raise ProgrammingError(
                        f"the joint space {active.version} knows no {modality}, only "
                        f"{', '.join(active.space.encoders)}: fit one on pairs that have it, with "
                        "aios fusion fit or con.fit_fusion(pairs)"
                    )
                continue
            self._in_use.check_fits(active, modality)
            given_items = [item for item in items if item is not None]
            features = self._in_use.features(active, modality)
            for place, made in zip(places, self._read(features, given_items), strict=True):
                if isinstance(made, DataError):
                    faults.append(made)
                    log.warning("%s %d cannot be read: %s", modality, place, made)
                else:
                    found[place][modality] = made
        if faults and not any(found):
            raise faults[0]
        return found

    def _read(
        self, features: Features, items: Sequence[bytes | str]
    ) -> list[NDArray[np.float32] | DataError]:
        encoders = self._in_use.encoders
        if features.modality == "text":
            return encoders.read(features, items)
        return encoders.read(features, [tried(each, self._reach) for each in items])


def _warn_of_pivot(left_out: str) -> None:
    log.warning(
        "no joint space was fitted, so text is the pivot: the words ask alone, and %s; fit a space with "
        "aios fusion fit, or con.fit_fusion(pairs)",
        left_out,
        extra={"event": "text_is_pivot"},
    )


def _told(
    what: str, items: Sequence[Given], found: Mapping[Given, NDArray[np.float32] | DataError]
) -> list[NDArray[np.float32] | None]:
    """Return the vector of each item, None for faults, which are logged; all of them are an error."""
    faults = [each for each in found.values() if isinstance(each, DataError)]
    if faults and len(faults) == len(found):
        raise faults[0]
    for fault in faults:
        log.warning("an item for %s cannot be read: %s", what, fault, extra={"event": "unreadable_media"})
    made = [None if item is None else found[item] for item in items]
    return [None if isinstance(each, DataError) else each for each in made]
