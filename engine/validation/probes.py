"""How a model is made to show what it does: an encoder's vectors, or a language model's likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.arrow_engine import ArrowEngine
from aios_db.engine.media_files import media_architecture
from aios_db.engine.model_directory import ModelDirectory
from aios_db.engine.tokenizer import TextTokenizer
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from aios_db.engine.audio_encoder import AudioEncoder
    from aios_db.engine.image_encoder import ImageEncoder

# The plain back end in fp32: what is validated are the weights, not a back end's arithmetic.
_CPU = CpuConfig(backend="standard", precision="fp32")
_DEVICE = DeviceConfig(target="cpu")

IMAGES, SOUNDS = 48, 16  # made for a vision or an audio encoder
MAX_TOKENS = 512  # of a window that a language model reads


class VectorProbe(Protocol):
    """A model that makes vectors."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(n, dimension)``, of the texts or of inputs of the model's own kind."""
        ...

    def close(self) -> None:
        """Release the weights."""
        ...


class TextProbe:
    """A text encoder."""

    def __init__(self, directory: ModelDirectory) -> None:
        self._engine = ArrowEngine(directory.path, cpu=_CPU, device=_DEVICE)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the texts' vectors."""
        return self._engine.encode(texts)

    def close(self) -> None:
        """Release the weights."""
        self._engine.close()


class _Module:
    """A model of any other kind, run as a plain torch module."""

    def __init__(self, directory: ModelDirectory) -> None:
        self._file = WeightFile(directory.weights)
        self._model = LazyModel(build_model(str(directory.architecture), directory.config), self._file).model

    def close(self) -> None:
        """Release the weights."""
        self._file.close()

    def _run(self, inputs: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            output: Tensor = self._model(inputs)
        return output.float()


class MediaProbe(_Module):
    """A vision or audio encoder, shown seeded smooth noise: pictures and spectrograms of many grains."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector for each made input, all positions of it in a row; the texts do not matter."""
        import torch

        made = [self._run(torch.from_numpy(each[None])).reshape(-1) for each in _media(self._model.config)]
        vectors: NDArray[np.float32] = torch.stack(made).numpy()
        return vectors


class FilesProbe:
    """A vision or audio encoder, shown files, as it is used."""

    def __init__(self, directory: ModelDirectory, files: Sequence[Path]) -> None:
        self._files = files
        self._encoder: AudioEncoder | ImageEncoder
        self._encode: Callable[[Sequence[bytes]], NDArray[np.float32]]
        if media_architecture(directory) == "Whisper":
            from aios_db.engine.audio_encoder import AudioEncoder

            self._encoder = audio = AudioEncoder(directory.path, cpu=_CPU, device=_DEVICE)
            self._encode = audio.encode_audio
        else:
            from aios_db.engine.image_encoder import ImageEncoder

            self._encoder = image = ImageEncoder(directory.path, cpu=_CPU, device=_DEVICE)
            self._encode = image.encode_image

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the files' vectors; the texts do not matter."""
        return np.concatenate([self._encode([file.read_bytes()]) for file in self._files])

    def close(self) -> None:
        """Release the weights."""
        self._encoder.close()


class LikelihoodProbe(_Module):
    """A causal language model."""

    def __init__(self, directory: ModelDirectory) -> None:
        if directory.tokenizer is None:
            raise WeightsError(f"{directory.path} has no tokenizer.json: its perplexity cannot be measured")
        super().__init__(directory)
        self._tokenizer = TextTokenizer(directory.tokenizer)

    def negative_log_likelihood(self, text: str) -> tuple[float, int]:
        """Return the sum of -ln p over the tokens of ``text`` but the first, and their number."""
        import torch

        total, count = 0.0, 0
        for window in self._tokenizer.windows([text], MAX_TOKENS, overlap=1)[0]:
            if len(window) < 2:
                continue
            tokens = torch.tensor([window])
            logits = self._run(tokens)[0, :-1]
            total += float(torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum"))
            count += len(window) - 1
        return total, count


Probe = VectorProbe | LikelihoodProbe


def open_probe(directory: ModelDirectory, files: Sequence[Path] = ()) -> Probe:
    """Return the probe for the architecture of a model directory.

    Parameters
    ----------
    files
        Sounds or pictures to show to an encoder of them; made inputs when there are none.
    """
    architecture = directory.architecture or ""
    if files and is_media(directory):
        return FilesProbe(directory, files)
    if architecture.endswith("ForCausalLM"):
        return LikelihoodProbe(directory)
    return MediaProbe(directory) if is_media(directory) else TextProbe(directory)


def is_media(directory: ModelDirectory) -> bool:
    """Tell whether the model takes pictures or sound."""
    return media_architecture(directory) is not None


def _media(config: Any) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    shape: tuple[int, ...]
    if hasattr(config, "image_size"):
        shape, count = (3, config.image_size, config.image_size), IMAGES
    else:
        shape, count = (config.num_mel_bins, 2 * config.max_source_positions), SOUNDS
    return [_noise(random, shape) for _ in range(count)]


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return noise of a random grain, with mean 0 and deviation 1 as the models' front ends give."""
    grain = 2 ** int(random.integers(0, 6))
    coarse = random.normal(size=(*shape[:-2], *(-(-size // grain) for size in shape[-2:])))
    fine = coarse.repeat(grain, axis=-1).repeat(grain, axis=-2)[..., : shape[-2], : shape[-1]]
    fine = fine + 0.1 * random.normal(size=shape)
    normal: NDArray[np.float32] = ((fine - fine.mean()) / fine.std()).astype(np.float32)
    return normal
