"""The codebook that the sounds of pairs are told by, made of some of these sounds as a space is fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aios_db.joint.cache import FeatureCache, digest_of
from aios_db.joint.media import tried
from aios_db.joint.reading import Reading
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    from aios_db.engine.encoders.codebook import Codebook
    from aios_db.engine.encoders.features import Features, SoundFeatures

_HELD = 65_536  # states in memory at a time, but for those of the last sound


def told_by(features: Features, codebook: Codebook) -> Features:
    """Return what tells sounds by a codebook; a user's encoder needs none."""
    from aios_db.engine.encoders.features import SoundFeatures

    return SoundFeatures(features.encoder, codebook) if isinstance(features, SoundFeatures) else features


def codebooks_of(makers: Mapping[str, Features], modalities: Container[str]) -> dict[str, Codebook]:
    """Return the codebooks that features of some modalities are told by, by modality."""
    from aios_db.engine.encoders.features import SoundFeatures

    return {
        modality: maker.codebook
        for modality, maker in makers.items()
        if modality in modalities and isinstance(maker, SoundFeatures) and maker.codebook is not None
    }


def with_codebook(sounds: SoundFeatures, items: Sequence[bytes | str], reading: Reading) -> SoundFeatures:
    """Return what tells sounds by a codebook of their own.

    The same sounds have the same codebook. What was encoded for it is kept for `Encoders.read`.

    Parameters
    ----------
    items
        Bytes, or what names a file; those that cannot be read are left out.
    """
    from aios_db.engine.encoders.codebook import Codebook
    from aios_db.engine.encoders.features import RECIPE, SoundFeatures

    cache, reach = reading.cache, reading.reach
    known = None if cache is None else FeatureCache(cache, f"{sounds.version}-codebook-{RECIPE}")
    read = ((item, tried(item, reach)) for item in items)
    digests = {digest_of(each): item for item, each in read if not isinstance(each, DataError)}
    digest = hashlib.sha256(b"".join(sorted(digests))).digest()[:16]
    flat = None if known is None else known.get(digest)
    if flat is not None:
        return SoundFeatures(sounds.encoder, Codebook.of_flat(flat))
    order = np.random.default_rng(0).permutation(len(digests)).tolist()
    chosen, held = [], []
    for place, item in enumerate(digests[name] for name in np.array(sorted(digests), object)[order]):
        content = tried(item, reach)
        with reading.cores.part():
            states = content if isinstance(content, DataError) else sounds.states(content)
        if isinstance(content, DataError) or isinstance(states, DataError):
            continue
        chosen.append(content)
        held.append(states)
        count = sum(map(len, held))
        needed = -(-_HELD * (place + 1) // count)
        reading.progress("codebook of sounds", place + 1, max(place + 1, min(needed, len(digests))))
        if count >= _HELD:
            break
    codebook = Codebook.fitted(held or [np.zeros((1, sounds.encoder.dimension), np.float32)])
    if known is not None:
        known.add([digest], [codebook.flat()])
    told = SoundFeatures(sounds.encoder, codebook)
    reading.encoders.keep(told, chosen, [told.of_states(states) for states in held])
    return told
