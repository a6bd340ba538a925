"""The modalities that the joint space knows, and sets of them as bits of a number."""

from __future__ import annotations

from collections.abc import Iterable

MODALITIES = ("text", "image", "audio")
MAIN_TYPES = (*MODALITIES, "video", "application", "font", "model", "message", "multipart", "binary")
"""What a memory may consist of: these, the main types of other media, and media of which no type is known."""
BITS = {name: 1 << place for place, name in enumerate(MODALITIES)}
FEW = 8
"""Memories with the same modalities, under which their scores are not standardised by their own mean."""
UNREAD = "!"
"""Before a modality of a memory that could not be read, in what is recorded of its joint vector."""
SETS = 1 << len(MODALITIES)
"""How many sets there are, the empty one included."""


def bits_of(modalities: Iterable[str]) -> int:
    """Return a set of modalities as a number; what the joint space does not know is left out."""
    return sum(BITS.get(name, 0) for name in set(modalities))


def version_number(version: str) -> float:
    """Return the first 24 bits of the digest in a weight version, which a float32 holds exactly."""
    digest = version.rpartition("@")[2][:6]
    return float(int(digest, 16)) if digest else -1.0


def made_without(version: str, missing: Iterable[str], unreadable: Iterable[str] = ()) -> str:
    """Return what is recorded as having made a joint vector: ``joint-…@… -image`` of one without its picture.

    Parameters
    ----------
    version
        Of the joint space.
    missing
        Modalities of the memory whose encoder was not there.
    unreadable
        Those that an encoder could not read, which stand there as `` !image``.
    """
    lacking, unread = set(missing), set(unreadable)
    notes = [f"-{name}" for name in MODALITIES if name in lacking]
    return " ".join([version, *notes, *(f"{UNREAD}{name}" for name in MODALITIES if name in unread)])


def made_by(recorded: str) -> tuple[str, tuple[str, ...]]:
    """Return the joint space in what `made_without` returned, and the modalities that were missing."""
    version, *notes = recorded.split(" ")
    return version, tuple(note[1:] for note in notes if not note.startswith(UNREAD))


def names_in(bits: int) -> tuple[str, ...]:
    """Return the modalities of a set."""
    return tuple(name for name, bit in BITS.items() if bits & bit)
