"""Which encoder makes the features of each modality: a user's, or the model that the configuration names."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from aios_db.joint.recent import RecentFeatures
from aios_db.schema.config import DEFAULTS, Config
from aios_db.schema.errors import (
    DataError,
    Error,
    ModelNotFoundError,
    NotSupportedError,
    ProgrammingError,
    ValidationError,
    WeightsError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aios_db.engine.encoders.caption_encoder import CaptionEncoder
    from aios_db.engine.encoders.encoder import Encoder
    from aios_db.engine.encoders.features import Features, Item, Read, TextEncoder
    from aios_db.engine.encoders.plugged import MediaEncoder

log = logging.getLogger("aios_db.joint")

Given = bytes | str | None
GROUP = "aios_db.encoders"
"""The entry points by which packages offer encoders."""
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Encoders:
    """The encoders of one database's connections; safe to use from several threads.

    Parameters
    ----------
    config
        ``engine.audio_model`` and ``engine.image_model``: a model directory or its name, an entry point of
        `GROUP`, or ``module:name`` of an encoder.
    text
        Returns the encoder of the database's text vectors.
    record
        Called with the version and the modality of an encoder that the configuration names as code, when it
        is first used.
    """

    def __init__(
        self,
        config: Config,
        text: Callable[[], TextEncoder],
        record: Callable[[str, str], None] = lambda version, modality: None,
    ) -> None:
        self._config, self._text, self._record = config, text, record
        self._lock = threading.Lock()
        self._plugged: dict[str, Features] = {}
        self._opened: dict[str, Features] = {}
        self._captions: CaptionEncoder | None = None
        self._recent = RecentFeatures()

    def register(self, encoder: MediaEncoder) -> Features:
        """Let a user's encoder make the features of its modality from now on.

        Raises
        ------
        ValidationError
            It does not pass its gate.
        """
        from aios_db.engine.encoders.features import PluggedFeatures

        features = PluggedFeatures(encoder.admitted())
        with self._lock:
            self._plugged[encoder.modality] = features
        return features

    def named(self, name: str) -> Features:
        """Return a user's encoder that is registered under a name."""
        for each in self._plugged.values():
            if each.version.partition("@")[0] == name:
                return each
        for encoder in self._named_as_code:
            if encoder.name == name:
                return self.of(encoder.modality)
        raise ProgrammingError(f"no encoder {name!r} is registered: con.register_encoder({name!r}, …)")

    def of(self, modality: str) -> Features:
        """Return what makes the features of a modality.

        Raises
        ------
        ModelNotFoundError
            The model that the configuration names is not installed.
        """
        from aios_db.engine.encoders.features import PluggedFeatures

        with self._lock:
            found = self._plugged.get(modality) or self._opened.get(modality)
            if found is not None:
                return found
            found = self._opened[modality] = self._open(modality)
        if isinstance(found, PluggedFeatures):  # without the lock: who holds that of writing may wait for it
            self._record(found.version, modality)
        return found

    @property
    def names(self) -> list[str]:
        """The names of users' encoders: registered ones, and those that the configuration names as code."""
        plugged = [each.version.partition("@")[0] for each in self._plugged.values()]
        code = [each.name for each in self._named_as_code if each.modality not in self._plugged]
        return [*plugged, *code]

    @cached_property
    def _named_as_code(self) -> list[MediaEncoder]:
        """The encoders that the configuration names as code; what cannot be imported is logged."""
        found = []
        for modality in ("audio", "image"):
            name, usual = (getattr(each.engine, f"{modality}_model") for each in (self._config, DEFAULTS))
            try:
                encoder = None if name == usual else _offered(name)
            except Error as error:
                log.warning("engine.%s_model: %s", modality, error)
                continue
            if encoder is not None and encoder.modality == modality:
                found.append(encoder)
        return found

    def is_plugged(self, modality: str) -> bool:
        """Whether a user's encoder makes the features of a modality."""
        return modality in self._plugged

    def installed_clip(self) -> dict[str, str] | None:
        """Return the versions of both sides of CLIP, where they are installed; no weights are read."""
        from aios_db.engine.catalog.find import find_model, version_of

        if self.is_plugged("image") or any(each.modality == "image" for each in self._named_as_code):
            return None
        engine = self._config.engine
        names = {"text": self._caption_model, "image": engine.image_model}
        try:
            found = {modality: find_model(name, engine.models_dir) for modality, name in names.items()}
            return {modality: version_of(each) for modality, each in found.items()}
        except (ModelNotFoundError, WeightsError):
            return None

    def clip(self) -> tuple[dict[str, str], int] | None:
        """Return the versions of both sides of CLIP, and the length of their vectors; None for others."""
        from aios_db.engine.encoders.features import PictureFeatures

        pictures = self.of("image")
        if not isinstance(pictures, PictureFeatures):
            return None
        captions = self._caption_encoder()
        if captions.dimension != pictures.encoder.dimension:
            raise NotSupportedError(
                f"{captions.version} makes vectors of {captions.dimension} numbers and {pictures.version} of "
                f"{pictures.encoder.dimension}: they are not of one CLIP model; set engine.image_text_model"
            )
        return {"text": captions.version, "image": pictures.version}, captions.dimension

    def captions(self) -> Features:
        """Return what makes the features of texts beside pictures: the text side of CLIP."""
        from aios_db.engine.encoders.features import TextFeatures

        return TextFeatures(self._caption_encoder())

    def read(self, features: Features, items: Sequence[Item | DataError]) -> list[Read]:
        """Return features of each item that can be read, and errors in the places of the others."""
        good = [item for item in items if not isinstance(item, DataError)]
        made = iter(self._recent.read(features.key, good, partial(_each, features, features.read)))
        return [item if isinstance(item, DataError) else next(made) for item in items]

    def keep(self, features: Features, items: Sequence[Item], made: Sequence[NDArray[np.float32]]) -> None:
        """Keep features of items in memory, so that `read` need not make them."""
        self._recent.keep(features.key, items, made)

    def own(self, features: Features, items: Mapping[Given, Item | DataError]) -> dict[Given, Read]:
        """Return unit vectors in an encoder's own space, by what was given, and errors for faults."""
        good = {given: item for given, item in items.items() if not isinstance(item, DataError)}
        made = dict(zip(good, _each(features, features.own, list(good.values())), strict=True))
        faults = {given: item for given, item in items.items() if isinstance(item, DataError)}
        return {**made, **faults}

    @property
    def _caption_model(self) -> str:
        engine = self._config.engine
        return engine.image_text_model or f"{engine.image_model.rstrip('/')}-text"

    def _caption_encoder(self) -> CaptionEncoder:
        from aios_db.engine.encoders.caption_encoder import CaptionEncoder

        with self._lock:
            if self._captions is None:
                encoder = self._open_model(self._caption_model)
                if not isinstance(encoder, CaptionEncoder):
                    encoder.close()
                    raise NotSupportedError(f"{self._caption_model} is no text side of a CLIP model")
                self._captions = encoder
            return self._captions

    def _open_model(self, name: str) -> Encoder:
        from aios_db.engine.encoders.open_encoder import open_encoder

        config = self._config
        return open_encoder(
            name,
            engine=config.engine,
            cpu=config.cpu,
            device=config.device,
            validation=config.validation,
        )

    def _open(self, modality: str) -> Features:
        from aios_db.engine.encoders import features
        from aios_db.engine.encoders.audio_encoder import AudioEncoder
        from aios_db.engine.encoders.image_encoder import ImageEncoder

        if modality == "text":
            return features.TextFeatures(_Following(self._text))
        config = self._config
        name = config.engine.audio_model if modality == "audio" else config.engine.image_model
        offered = _offered(name)
        if offered is not None:
            if offered.modality != modality:
                raise ProgrammingError(f"engine.{modality}_model: {name} takes {offered.modality}")
            return features.PluggedFeatures(offered.admitted())
        encoder = self._open_model(name)
        if modality == "audio" and isinstance(encoder, AudioEncoder):
            return features.SoundFeatures(encoder)
        if modality == "image" and isinstance(encoder, ImageEncoder):
            return features.PictureFeatures(encoder)
        encoder.close()
        raise NotSupportedError(f"engine.{modality}_model: {name} is no model of {modality}")


class _Following:
    """The database's text encoder, which may go on with other weights."""

    def __init__(self, text: Callable[[], TextEncoder]) -> None:
        self._text = text

    @property
    def version(self) -> str:
        """The weights in use."""
        return self._text().version

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimension)``."""
        return self._text().encode(texts)


def _each(
    features: Features, read: Callable[[Sequence[Item]], list[Read]], items: Sequence[Item]
) -> list[Read]:
    """Return what an encoder makes of items; where it fails, it is asked again for halves of them.

    So the items that it fails on stand alone, and errors stand in their places.

    Raises
    ------
    OperationalError
        It fails, and on samples, too: that says nothing of the items.
    """
    if not items:
        return []
    try:
        return [_finite(each) for each in read(items)]
    except Exception as error:
        if isinstance(error, Error) and not isinstance(error, ValidationError):
            raise
        check_works(features)
        if len(items) == 1:
            return [DataError(f"the encoder fails on it: {error!r}")]
    middle = len(items) // 2
    return _each(features, read, items[:middle]) + _each(features, read, items[middle:])


def check_works(features: Features) -> None:
    """Refuse a user's encoder that fails now, whatever it is given, by an `OperationalError`."""
    from aios_db.engine.encoders.features import PluggedFeatures

    if isinstance(features, PluggedFeatures):
        features.admitted.check_works()


def _finite(made: Read) -> Read:
    """Return features, or an error in the place of NaN and infinity: a vector of these is near to nothing."""
    import numpy as np

    with np.errstate(over="ignore"):
        if isinstance(made, DataError) or np.isfinite(np.linalg.norm(made)):
            return made
    return DataError("the encoder makes NaN or infinity of it")


def _offered(name: str) -> MediaEncoder | None:
    """Return the encoder that a name of the configuration means, where it is code."""
    from aios_db.engine.encoders.plugged import encoder_from

    for point in entry_points(group=GROUP, name=name):
        return encoder_from(point.load(), f"the entry point {name!r}")
    if not _CODE.fullmatch(name):
        return None
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ProgrammingError(f"the encoder {name!r} cannot be imported: {error}") from error
    return encoder_from(found, repr(name))
