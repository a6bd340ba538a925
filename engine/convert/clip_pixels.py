"""CLIP models whose pixels are scaled in another way than OpenAI's: their weights are made to fit the engine.

The engine hands an image encoder the pixels x = (p - m) / s of OpenAI's means m and deviations s
(`aios_db.engine.frontends.image`); some models were trained on others, as preprocessor_config.json says. Both
differ by a factor and an offset per channel. The patches do not overlap and nothing is padded, so the factor
goes into the weights of the patch embedding, and the offset, the same for each patch, into the positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_db.engine.convert.sentence import read_json
from aios_db.engine.frontends.image import MEAN, STD
from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from aios_db.engine.convert.registry import Tensors

_FILES = ("preprocessor_config.json", "processor_config.json")
_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_POSITIONS = "vision_model.embeddings.position_embedding.weight"
_CLOSE = 1e-3  # to 1, and to 0


def adapted(source: Path, tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of an image encoder, of which two are changed where its pixels have another scale.

    Raises
    ------
    WeightsError
        preprocessor_config.json holds no means and deviations of three channels.
    """
    import torch

    factors, offsets = (torch.tensor(each) for each in _scale(source))
    if (factors - 1).abs().max() < _CLOSE and offsets.abs().max() < _CLOSE:
        yield from tensors
        return
    changed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        if name in (_PATCHES, _POSITIONS):
            changed[name] = tensor.float()
        else:
            yield name, tensor
    if changed.keys() >= {_PATCHES, _POSITIONS}:
        patches, positions = changed[_PATCHES], changed[_POSITIONS].clone()
        positions[1:] += torch.einsum("hcij,c->h", patches, offsets)  # the first is the class's
        changed = {_PATCHES: patches * factors[:, None, None], _POSITIONS: positions}
    yield from changed.items()


def _scale(source: Path) -> tuple[list[float], list[float]]:
    """Return what the engine's pixels are multiplied by, and what is added to them, for each channel."""
    found = next((read_json(source / name) for name in _FILES if (source / name).is_file()), {})
    found = found.get("image_processor") or found
    mean, deviation, most = _of(found, source)
    return (
        [float(s) * most / d for s, d in zip(STD, deviation, strict=True)],
        [(float(m) * most - n) / d for m, n, d in zip(MEAN, mean, deviation, strict=True)],
    )


def _of(found: Mapping[str, Any], source: Path) -> tuple[list[float], list[float], float]:
    """Return means, deviations, and what the brightest pixel is before these are applied."""
    most = 255.0 * (found.get("rescale_factor") or 1 / 255) if found.get("do_rescale", True) else 255.0
    if not found.get("do_normalize", True):
        return [0.0] * 3, [1.0] * 3, most
    mean, deviation = found.get("image_mean") or MEAN.tolist(), found.get("image_std") or STD.tolist()
    try:
        mean, deviation = [float(each) for each in mean], [float(each) for each in deviation]
        whole = (
            len(mean) == len(deviation) == 3 and min(deviation) > 0 and math.isfinite(sum(mean + deviation))
        )
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise WeightsError(
            f"{source}: image_mean {mean!r} and image_std {deviation!r} of its preprocessor are no means and "
            "deviations of three channels"
        )
    return mean, deviation, most
