"""`embed_audio(blob)` and `embed_image(blob)`: the encoders of sounds and pictures as SQL functions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from aios_db.schema.config import Config, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.udfs.functions import ScalarFunction

if TYPE_CHECKING:
    from aios_db.engine.encoders.audio_encoder import AudioEncoder
    from aios_db.engine.encoders.image_encoder import ImageEncoder


class Configured(Protocol):
    """A store that knows its configuration."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...


def embed_audio(store: Configured, files: pa.Array) -> pa.Array:
    """Return a list of float32 per sound file, null for null; equal files are encoded once."""
    from aios_db.engine.encoders.media import embed_files

    config = store.config
    encoder = _audio_encoder(config.engine, config.cpu, config.device, config.validation)
    return pa.array(embed_files(encoder.encode_audio, files.to_pylist()), pa.list_(pa.float32()))


def embed_image(store: Configured, files: pa.Array) -> pa.Array:
    """Return a list of float32 per picture file, null for null; equal files are encoded once."""
    from aios_db.engine.encoders.media import embed_files

    config = store.config
    encoder = _image_encoder(config.engine, config.cpu, config.device, config.validation)
    return pa.array(embed_files(encoder.encode_image, files.to_pylist()), pa.list_(pa.float32()))


@lru_cache(maxsize=1)
def _audio_encoder(
    engine: EngineConfig, cpu: CpuConfig, device: DeviceConfig, validation: ValidationConfig
) -> AudioEncoder:
    from aios_db.engine.encoders.audio_encoder import AudioEncoder

    return AudioEncoder(engine.audio_model, engine=engine, cpu=cpu, device=device, validation=validation)


@lru_cache(maxsize=1)
def _image_encoder(
    engine: EngineConfig, cpu: CpuConfig, device: DeviceConfig, validation: ValidationConfig
) -> ImageEncoder:
    from aios_db.engine.encoders.image_encoder import ImageEncoder

    return ImageEncoder(engine.image_model, engine=engine, cpu=cpu, device=device, validation=validation)


FUNCTIONS = (
    ScalarFunction("aios_embed_audio", ["BLOB"], "FLOAT[]", embed_audio),
    ScalarFunction("aios_embed_image", ["BLOB"], "FLOAT[]", embed_image),
)
