"""On what a benchmark ran: hardware, load, versions and configuration."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aios_db.schema.config import Config
from aios_db.schema.secrets import shown
from aios_db.version import __version__

PACKAGES = (
    "torch", "transformers", "openvino", "ncnn", "duckdb", "lancedb", "pylance", "pyarrow", "numpy",
    "tokenizers",
)  # fmt: skip


def environment(config: Config) -> dict[str, Any]:
    """Return what a result depends on besides the code: JSON values by name."""
    from aios_db.engine.backends.cpu_features import cpu_features, onednn_report, usable_cores
    from aios_db.engine.backends.devices import find_device
    from aios_db.engine.weights.pressure import read_memory

    features, memory, device = cpu_features(), read_memory(), find_device(config.device)
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "aios_db": __version__,
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": features.model,
        "cpu_features": sorted(features.names),
        "cores": usable_cores(),
        "memory_bytes": memory.total if memory else None,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "device": {"target": device.target, "name": device.name},
        "onednn": onednn_report(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "configuration": asdict(config, dict_factory=_shown),
    }


def _shown(values: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: shown(key, value) for key, value in values}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
