"""How a model is made to show what it does: an encoder's vectors, or a language model's losses.

The encoders and the language model themselves are asked, as they are in use: with their back end, arithmetic
and batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.kinds import TEXT, load
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.encoders.audio_encoder import SAMPLE_RATE, AudioEncoder
from aios_db.engine.encoders.encoder import Encoder
from aios_db.engine.encoders.image_encoder import ImageEncoder
from aios_db.engine.generation.causal import Reading
from aios_db.engine.generation.language_model import LanguageModel
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import NotSupportedError, WeightsError

IMAGES, SOUNDS = 48, 16  # made for a vision or an audio encoder
ALONE = 8  # inputs that are shown in calls of their own, too: one runs in another form than many
MAX_TOKENS = 512  # of a window that a language model reads


class VectorProbe(Protocol):
    """A model that makes vectors."""

    @property
    def arithmetic(self) -> str:
        """What computed them."""
        ...

    def vectors(self, places: slice = ...) -> NDArray[np.float32]:
        """Return float32 ``(n, dimension)`` of the inputs at ``places``, by default of all, in one call."""
        ...

    def close(self) -> None:
        """Release the weights."""
        ...


_ALL = slice(None)


class _EncoderProbe:
    """An encoder; what it is shown is for the kinds to say."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        encoder.settle()

    @property
    def arithmetic(self) -> str:
        """What computed the vectors."""
        return self._encoder.arithmetic

    def close(self) -> None:
        """Release the weights."""
        self._encoder.close()


class TextProbe(_EncoderProbe):
    """A text encoder."""

    def __init__(self, model: Candidate, texts: Sequence[str], cpu: CpuConfig, device: DeviceConfig) -> None:
        self._engine, self._texts = ArrowEngine(model, cpu=cpu, device=device), texts
        super().__init__(self._engine)

    def vectors(self, places: slice = _ALL) -> NDArray[np.float32]:
        """Return the texts' vectors."""
        return self._engine.encode(self._texts[places])


class SoundProbe(_EncoderProbe):
    """A sound encoder, shown files, or seeded noise where there are none."""

    def __init__(self, model: Candidate, files: Sequence[Path], cpu: CpuConfig, device: DeviceConfig) -> None:
        self._audio, self._files = AudioEncoder(model, cpu=cpu, device=device), files
        self._made = [] if files else _noises(self._audio.window_samples)
        super().__init__(self._audio)

    def vectors(self, places: slice = _ALL) -> NDArray[np.float32]:
        """Return the sounds' vectors."""
        if self._files:
            return self._audio.encode_audio([file.read_bytes() for file in self._files[places]])
        return self._audio.encode_audio([(each, SAMPLE_RATE) for each in self._made[places]])


class PictureProbe(_EncoderProbe):
    """A picture encoder, shown files, or seeded noise where there are none."""

    def __init__(self, model: Candidate, files: Sequence[Path], cpu: CpuConfig, device: DeviceConfig) -> None:
        self._image, self._files = ImageEncoder(model, cpu=cpu, device=device), files
        self._made = [] if files else _pictures(self._image.image_size)
        super().__init__(self._image)

    def vectors(self, places: slice = _ALL) -> NDArray[np.float32]:
        """Return the pictures' vectors."""
        if self._files:
            return self._image.encode_image([file.read_bytes() for file in self._files[places]])
        return self._image.encode_pixels(self._made[places])


class LossProbe:
    """A causal language model, which is read texts one by one."""

    def __init__(self, model: Candidate, _: Sequence[str], cpu: CpuConfig, device: DeviceConfig) -> None:
        if ModelDirectory.open(model.path).tokenizer is None:
            raise WeightsError(f"{model.path} has no tokenizer.json: its perplexity cannot be measured")
        self._model = LanguageModel(model, cpu=cpu, device=device)

    @property
    def arithmetic(self) -> str:
        """What computes the losses."""
        return self._model.arithmetic

    def read(self, text: str) -> Reading:
        """Return what the model makes of ``text``."""
        return self._model.read(text, MAX_TOKENS)

    def close(self) -> None:
        """Release the weights."""
        self._model.close()


Probe = VectorProbe | LossProbe


def open_probe(
    directory: ModelDirectory,
    texts: Sequence[str],
    files: Sequence[Path],
    cpu: CpuConfig,
    device: DeviceConfig,
) -> Probe:
    """Return the probe for the architecture of a model directory.

    Parameters
    ----------
    texts
        To show to a text encoder.
    files
        Sounds or pictures to show to an encoder of them; made inputs when there are none.
    cpu, device
        Where and how it runs.
    """
    kind = kind_of(directory) or TEXT  # whose encoder says what it is instead
    shown = files if kind.takes_files else texts
    if kind.probe is None:
        raise NotSupportedError(
            f"{directory.path} holds a {kind.name} model, which is not compared with another"
        )
    probe: Probe = load(kind.probe)(Candidate(directory.path), shown, cpu, device)
    return probe


def _noises(window: int) -> list[NDArray[np.float32]]:
    """Return sounds of many grains and lengths, every second one longer than half of a ``window``."""
    random = np.random.default_rng(0)
    made = []
    for number in range(SOUNDS):
        share = random.uniform(0.5, 1) if number % 2 else random.uniform(0.05, 0.5)
        made.append(0.1 * _noise(random, (1, max(1, round(share * window))))[0])
    return made


def _pictures(size: int) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [_noise(random, (3, size, size)) for _ in range(IMAGES)]


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return noise of a random grain, with mean 0 and deviation 1 as the models' front ends give."""
    grain = 2 ** int(random.integers(0, 6))
    coarse = random.normal(size=(*shape[:-2], *(-(-size // grain) for size in shape[-2:])))
    fine = coarse.repeat(grain, axis=-1).repeat(grain, axis=-2)[..., : shape[-2], : shape[-1]]
    fine = fine + 0.1 * random.normal(size=shape)
    normal: NDArray[np.float32] = ((fine - fine.mean()) / fine.std()).astype(np.float32)
    return normal
