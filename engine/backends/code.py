"""Which code made what back ends keep on disk: a digest of the source that graphs and choices depend on."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

ENGINE = Path(__file__).parent.parent
# Modules and what is traced from them, back ends, and the inputs that they are calibrated and checked on.
PARTS = ("architectures", "backends", "encoders", "frontends")


@lru_cache
def code_digest(engine: Path = ENGINE) -> str:
    """Return 12 hex digits of the SHA-256 of the source in ``engine``, wherever that is installed."""
    digest = hashlib.sha256()
    for part in PARTS:
        path = engine / part
        for file in sorted(path.rglob("*.*")) if path.is_dir() else [path]:
            if file.suffix in (".py", ".txt"):
                content = file.read_bytes().replace(b"\r\n", b"\n")
                digest.update(f"{file.relative_to(engine).as_posix()} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()[:12]
