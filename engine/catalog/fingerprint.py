"""The identity of a model: the SHA-256 of its weights, read only once, and of its tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from aios_db.engine.weights.files import atomic_write
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import ContentHash
from aios_db.schema.errors import WeightsError

log = logging.getLogger("aios_db.engine.fingerprint")

CACHE_FILE = ".fingerprint.json"
# By the SHA-256 of the bytes: to tell what a file says takes long, and each database that is opened asks.
_tokenizers: dict[bytes, str] = {}


def fingerprint(directory: Path, file: WeightFile) -> str:
    """Return the SHA-256 (hex) of the names, shapes, dtypes and bytes of ``file``.

    It does not depend on compression or layout, so rewriting a file keeps it. Our own writer leaves it in the
    footer; for other files it is computed once and kept beside the weights, for as long as their size and
    time of change stay the same.
    """
    if file.content_sha256 is not None:
        return file.content_sha256
    status = file.path.stat()
    state = {"file": file.path.name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    cache = directory / CACHE_FILE
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        if isinstance(known, dict) and {key: known.get(key) for key in state} == state:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError):
        pass  # none yet, or not ours: computed below
    digest = _digest(file)
    try:
        with atomic_write(cache) as part:
            part.write_text(json.dumps({**state, "sha256": digest}), encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be written, so the weights are hashed at each start: %s", cache, error)
    return digest


def verified_fingerprint(file: WeightFile) -> str:
    """Return the same SHA-256, computed from the bytes.

    Raises
    ------
    WeightsError
        The footer names another one: the bytes have changed since they were written.
    """
    digest = _digest(file)
    if file.content_sha256 not in (None, digest):
        raise WeightsError(
            f"{file.path}: the weights have SHA-256 {digest}, the file says {file.content_sha256}: "
            "it is damaged, install the model again"
        )
    return digest


def tokenizer_fingerprint(path: Path | None) -> str | None:
    """Return the SHA-256 (hex) of what a tokenizer.json says, or None when there is none.

    It does not depend on how the file is laid out, nor on its truncation and padding, which are not used.
    """
    if path is None:
        return None
    content = path.read_bytes()
    layout = hashlib.sha256(content).digest()
    if layout not in _tokenizers:
        _tokenizers[layout] = hashlib.sha256(_used(content)).hexdigest()
    return _tokenizers[layout]


def _used(content: bytes) -> bytes:
    try:
        said = json.loads(content)
        used = {name: each for name, each in said.items() if name not in ("truncation", "padding")}
        return json.dumps(used, sort_keys=True).encode()
    except (ValueError, AttributeError, RecursionError):
        return content  # no tokenizer: whoever loads it says so


def _digest(file: WeightFile) -> str:
    content = ContentHash()
    for name in file.layers:
        content.update(file.raw(name))
    file.drop_cache()
    return content.hexdigest()
