"""The OpenVINO back end: fp32, bf16, or static INT8, on Intel, AMD and ARM."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.backends.code import code_digest
from aios_db.engine.backends.cpu_features import CpuFeatures, cpu_features
from aios_db.engine.backends.openvino_int8 import quantized
from aios_db.engine.backends.protocol import Arithmetic, Arrays, Program
from aios_db.engine.weights.residency import ResidencyManager

log = logging.getLogger("aios_db.engine.backends.openvino")

MAX_STREAMS = 4  # forward passes at the same time; each works on the batch of its own
_UNUSED_S = 30 * 24 * 3600  # graphs that were not read for so long are another version's


class OpenVino:
    """A graph converted from the module once and kept in ``program.cache``; then it runs without torch."""

    def missing(self) -> str | None:
        """Return the pip command when openvino is not installed."""
        if find_spec("openvino") is None:
            return "openvino is not installed: pip install 'aios_db[openvino]'"
        return None

    def precisions(self, features: CpuFeatures) -> tuple[Arithmetic, ...]:
        """Return fp32, and bf16 and int8 where the CPU multiplies them."""
        bf16: tuple[Arithmetic, ...] = ("bf16",) if features.has_bf16 else ()
        int8: tuple[Arithmetic, ...] = ("int8",) if features.has_int8 else ()
        return ("fp32", *bf16, *int8)

    def prepare(self, program: Program, precision: Arithmetic, threads: int) -> OpenVinoRunner:
        """Convert (and quantize) the module, unless that is cached, and compile the graph."""
        openvino = import_openvino()
        core = openvino.Core()
        kind = "int8" if precision == "int8" else "float"
        path = _cached(program, kind)
        model = _read(core, path)
        if model is None:
            model = _quantized(core, program) if kind == "int8" else _converted(program)
            if path is not None:
                _save(openvino, model, path)
                model = _read(core, path) or model  # read, its weights are mapped
        hint = "f32" if precision == "fp32" or not cpu_features().has_bf16 else "bf16"
        return OpenVinoRunner(core, model, hint, threads or cpu_features().cores, program.residency)


class OpenVinoRunner:
    """A compiled graph. A lone batch gets all threads; of many, several run at once with fewer threads each.

    Each form is compiled when it is first needed, and packs its own copy of the weights. Both are dropped
    when memory is short, and compiled again.
    """

    def __init__(
        self, core: Any, model: Any, precision_hint: str, threads: int, residency: ResidencyManager
    ) -> None:
        self._core, self._model, self._residency = core, model, residency
        self._hint, self._threads = precision_hint, threads
        self._lock = threading.Lock()
        self._alone: Any = None
        self._several: list[Any] = []

    def run(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        """Return the graph's output for each of ``batches``."""
        # OpenVINO copies what is not contiguous, and may let go of the copy before it has read it.
        batches = [tuple(map(np.ascontiguousarray, arrays)) for arrays in batches]
        self._residency.begin(self)
        try:
            with self._lock:  # a request holds the tensors of one pass
                return self._run_many(batches) if len(batches) > 1 else self._run_alone(batches[0])
        finally:
            self._residency.end(self)

    def resident_bytes(self) -> int:
        """Return about how many bytes the compiled forms take: the size of the graph's constants each."""
        return self._constants * ((self._alone is not None) + bool(self._several))

    def release(self) -> None:
        """Drop the compiled forms; the next call compiles what it needs."""
        with self._lock:
            self._alone, self._several = None, []

    @cached_property
    def _constants(self) -> int:
        found = (op for op in self._model.get_ops() if op.get_type_name() == "Constant")
        return sum(op.get_element_type().size * math.prod(op.get_output_shape(0)) for op in found)

    def _run_alone(self, arrays: Arrays) -> list[NDArray[np.float32]]:
        if self._alone is None:
            self._alone = self._compile(streams=1).create_infer_request()
        return [_infer(self._alone, arrays)]

    def _run_many(self, batches: Sequence[Arrays]) -> list[NDArray[np.float32]]:
        if not self._several:
            streams = min(self._threads, MAX_STREAMS)
            compiled = self._compile(streams)
            self._several = [compiled.create_infer_request() for _ in range(streams)]
        outputs: dict[int, NDArray[np.float32]] = {}
        # The longest passes first, so that none is left to run alone at the end.
        waiting = iter(sorted(range(len(batches)), key=lambda i: -batches[i][0].size))

        def serve(request: Any) -> None:
            for index in waiting:
                outputs[index] = _infer(request, batches[index])

        # A thread for each request, and no AsyncInferQueue: to free its callback a thread of OpenVINO's takes
        # the GIL, which it never gets when the queue is freed meanwhile, since that waits for the thread.
        with ThreadPoolExecutor(len(self._several)) as pool:
            list(pool.map(serve, self._several))
        return [outputs[index] for index in range(len(batches))]

    def _compile(self, streams: int) -> Any:
        return self._core.compile_model(
            self._model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._hint,
                "INFERENCE_NUM_THREADS": self._threads,
                "NUM_STREAMS": streams,
            },
        )


_initialising, _initialised = threading.Lock(), threading.Event()


def _infer(request: Any, arrays: Arrays) -> NDArray[np.float32]:
    # In their first call OpenVINO's bindings make a static object, for which they let go of the GIL; a second
    # thread that comes meanwhile takes it, waits for the object, and neither ever goes on.
    with nullcontext() if _initialised.is_set() else _initialising:
        outputs = request.infer(arrays, share_inputs=True, share_outputs=True)
    _initialised.set()
    return np.array(outputs[0], np.float32)


def import_openvino() -> Any:
    """Import openvino without its usage statistics, which it would send at import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail
    import openvino

    return openvino


def _converted(program: Program) -> Any:
    """Return the program's module as an OpenVINO graph."""
    import torch

    example = tuple(torch.from_numpy(array) for array in program.check()[0])
    with program.hold(), torch.inference_mode(), warnings.catch_warnings():
        program.load()
        warnings.simplefilter("ignore")  # converting traces the module, and a trace warns of each constant
        model = import_openvino().convert_model(
            program.module(), example_input=example, input=[list(shape) for shape in program.shapes]
        )
    return model


def _quantized(core: Any, program: Program) -> Any:
    model = _read(core, _cached(program, "float")) or _converted(program)
    return quantized(core, model, program.calibration())


def _cached(program: Program, kind: str) -> Path | None:
    if program.cache is None:
        return None
    digest = hashlib.sha256(
        "\n".join([program.name, code_digest(), version("openvino")]).encode()
    ).hexdigest()[:12]
    return program.cache / f"openvino-{kind}-{digest}.xml"


def _read(core: Any, path: Path | None) -> Any:
    """Return the graph kept at ``path``, or None when there is none that can be read."""
    if path is None or not path.is_file():
        return None
    with suppress(OSError):  # the cache may be read-only
        os.utime(path)  # when it was used last
    try:
        return core.read_model(path)
    except RuntimeError as error:
        log.warning("%s is damaged and is made again: %s", path, error)
        return None


def _save(openvino: Any, model: Any, path: Path) -> None:
    """Write the graph, float weights as fp16; another process never sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            written = Path(scratch) / path.name
            openvino.save_model(model, written)
            # The weights first: the graph's presence says that both are there.
            os.replace(written.with_suffix(".bin"), path.with_suffix(".bin"))
            os.replace(written, path)
        _drop_unused(path.parent)
    except (OSError, RuntimeError) as error:
        log.warning("%s cannot be written, so the model is converted in each process: %s", path, error)


def _drop_unused(cache: Path) -> None:
    for graph in cache.glob("openvino-*.xml"):
        with suppress(OSError):  # another process may be at it
            if time.time() - graph.stat().st_mtime > _UNUSED_S:
                graph.unlink()
                graph.with_suffix(".bin").unlink()
