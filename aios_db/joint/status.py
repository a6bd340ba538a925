"""`joint_space()`: which space finds pictures and sounds, and with which encoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aios_db.joint.usable import Active, SpaceInUse
from aios_db.schema.errors import Error
from aios_db.schema.modalities import FEW, MODALITIES

PIVOT = "text"
"""The name of what is in use where no space was fitted."""
_PIVOT_NOTES = {
    "text": "no joint space was fitted, so text is the pivot",
    "image": "found by the words of its memory; asks once a space is fitted on pairs",
    "audio": "found by the words of its memory; asks once a space is fitted on pairs",
}
_CLIP_IS_HERE = "CLIP is installed: the first picture that is remembered or asks puts its own space to use"
_CLIP_NOTES = {
    "text": "nothing was fitted: words find pictures in CLIP's own space, and texts by their own vectors; of "
    f"fewer than {FEW} pictures with as much beside them, cosines count, which are little beside words",
    "image": "found and asks in CLIP's own space, as nothing was fitted",
    "audio": _PIVOT_NOTES["audio"],
}


@dataclass(frozen=True)
class ModalityStatus:
    """What a modality is found by.

    Attributes
    ----------
    modality
        ``text``, ``image`` or ``audio``.
    space
        The joint space in use; `PIVOT` where none was fitted.
    fitted_with
        The encoder that the space was fitted with; None where it knows none of this modality.
    encoder
        The encoder that this process has, None where there is none.
    usable
        Whether it may ask, and be found by others than its words.
    note
        Why not, and what to do.
    """

    modality: str
    space: str
    fitted_with: str | None
    encoder: str | None
    usable: bool
    note: str | None


def status_of(in_use: SpaceInUse) -> Iterator[ModalityStatus]:
    """Yield a row per modality, of a space that was lost, too."""
    version = in_use.version
    lost: str | None = None
    try:
        active = in_use.active()
    except Error as error:
        active, lost = None, str(error)
    for modality in MODALITIES:
        encoder, missing = _encoder(in_use, active, modality)
        if active is None:
            first = version is None and modality != "audio" and in_use.encoders.installed_clip() is not None
            note = lost or (_CLIP_IS_HERE if first else _PIVOT_NOTES[modality])
            yield ModalityStatus(modality, version or PIVOT, None, encoder, modality == PIVOT, note)
            continue
        fitted_with = active.space.encoders.get(modality)
        if active.space.untrained:
            yield _of_clip(in_use, active, modality, encoder, missing)
            continue
        if fitted_with is None:
            missing = f"the pairs had no {modality}, or too few had it"
        elif missing is None and not in_use.fits(active, modality):
            missing = "fit the space again with this encoder"
        yield ModalityStatus(modality, active.version, fitted_with, encoder, missing is None, missing)


def _of_clip(
    in_use: SpaceInUse, active: Active, modality: str, encoder: str | None, missing: str | None
) -> ModalityStatus:
    """Return the row of a modality where CLIP's own space is in use."""
    of_space = active.space.encoders.get(modality)
    if of_space is None:
        return ModalityStatus(modality, PIVOT, None, encoder, False, _CLIP_NOTES[modality])
    if missing is None and not in_use.fits(active, modality):
        missing = "another encoder is here: aios optimize changes to its space, where it is CLIP's"
    note = missing or _CLIP_NOTES[modality]
    return ModalityStatus(modality, active.version, of_space, encoder, missing is None, note)


def _encoder(in_use: SpaceInUse, active: Active | None, modality: str) -> tuple[str | None, str | None]:
    """Return the version of the encoder that is here, or why there is none."""
    try:
        features = in_use.encoders.of(modality) if active is None else in_use.features(active, modality)
        return features.version, None
    except Error as error:
        return None, str(error)
