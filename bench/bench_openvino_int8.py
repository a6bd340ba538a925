"""INT8 on OpenVINO: the graph that this engine makes against NNCF's, in turns, on one thread.

pip install nncf
python bench/bench_openvino_int8.py --data captions.jsonl wikitext-2/valid.txt locomo3.json

Both are made from one float graph with the engine's calibration texts, in this process; nothing is calibrated
on the data given. Cosines are to OpenVINO in fp32. Times are processor time, the least and the median of the
rounds. --smoothing gives further graphs of this engine's, with other strengths of SmoothQuant.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from bench_encode import environment
from bench_encode_precision import read_kind
from numpy.typing import NDArray

from aios_db.engine.backends import openvino_int8
from aios_db.engine.backends.cpu_features import cpu_features
from aios_db.engine.backends.openvino import import_openvino
from aios_db.engine.backends.protocol import Arrays, Program
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, EngineConfig


def nncf_graph(model: Any, batches: Sequence[Arrays]) -> Any:
    """Return NNCF's static INT8 of ``model``, with the same strength of SmoothQuant."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(batches),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                disable_bias_correction=True,
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=openvino_int8.SMOOTHING),
            ),
        )


def graphs(core: Any, args: argparse.Namespace, program: Program) -> dict[str, Any]:
    """Return the float graph ("fp32") and each in INT8, by name; print what making these took."""
    from aios_db.engine.backends.openvino import _converted

    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as scratch:  # as the back end keeps it: weights in fp16
        openvino.save_model(_converted(program), Path(scratch) / "float.xml")
        model = core.read_model(Path(scratch) / "float.xml")
        model = model.clone()
    batches = program.calibration()
    made: dict[str, Any] = {"fp32": model}
    wanted: dict[str, Callable[[], Any]] = {"nncf": lambda: nncf_graph(model, batches)}
    wanted["engine"] = lambda: openvino_int8.quantized(core, model, batches)
    for name, make in wanted.items():
        start = time.process_time()
        made[name] = make()
        print(f"{name}: made in {time.process_time() - start:.2f} s of processor time")
    usual = openvino_int8.SMOOTHING
    for smoothing in args.smoothing:
        openvino_int8.SMOOTHING = smoothing
        made[f"engine, {smoothing}"] = openvino_int8.quantized(core, model, batches)
    openvino_int8.SMOOTHING = usual
    return made


def run(request: Any, batches: Sequence[Arrays]) -> NDArray[np.float32]:
    outputs = [np.array(request.infer(batch, share_inputs=True)[0], np.float32) for batch in batches]
    vectors = np.concatenate(outputs)
    normed: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed


def timed(requests: dict[str, Any], batches: Sequence[Arrays], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the least and the median processor time of each over ``batches``, in ms."""
    times: dict[str, list[float]] = {name: [] for name in requests}
    for turn in range(rounds + 1):  # the first one warms up
        for name, request in requests.items():
            start = time.process_time()
            run(request, batches)
            if turn:
                times[name].append(1000 * (time.process_time() - start))
    return {name: (min(each), statistics.median(each)) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="minilm", help="a model directory, or a name in --models-dir")
    parser.add_argument("--models-dir", default=EngineConfig().models_dir)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--items", type=int, default=100, help="of each path, drawn with seed 0")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--smoothing", type=float, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    engine = ArrowEngine(
        args.model, engine=EngineConfig(models_dir=args.models_dir), cpu=CpuConfig(threads=1)
    )
    (program,) = (each for each in vars(engine._session).values() if isinstance(each, Program))
    core = import_openvino().Core()
    models = graphs(core, args, program)
    hints = {name: "bf16" if name != "fp32" and cpu_features().has_bf16 else "f32" for name in models}
    requests = {
        name: core.compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": hints[name], "INFERENCE_NUM_THREADS": 1}
        ).create_infer_request()
        for name, model in models.items()
    }
    items = {path.name: engine._sample(read_kind(path, "text", args.items))[1:] for path in args.data}
    rows: list[dict[str, Any]] = []
    cosines: dict[str, list[NDArray[np.float32]]] = {name: [] for name in models}
    print(f"{'graph':12} {'items':28} {'n':>5} {'mean':>8} {'5 %':>8} {'least':>8}")

    def tell(name: str, kind: str, cosine: NDArray[np.float32]) -> None:
        mean, p5, least = float(cosine.mean()), float(np.percentile(cosine, 5)), float(cosine.min())
        rows.append({"graph": name, "items": kind, "n": len(cosine), "mean": mean, "p5": p5, "least": least})
        print(f"{name:12} {kind:28} {len(cosine):5} {mean:8.5f} {p5:8.5f} {least:8.5f}")

    for kind, batches in items.items():
        reference = run(requests["fp32"], batches)
        for name in list(models)[1:]:
            cosines[name].append((run(requests[name], batches) * reference).sum(axis=1))
            tell(name, kind, cosines[name][-1])
    for name in list(models)[1:]:
        tell(name, "all", np.concatenate(cosines[name]))
    bulk = [tuple(array[:8] for array in batches[0]) for batches in items.values()]
    alone = [tuple(array[:1] for array in batch) for batches in items.values() for batch in batches[:2]]
    times = {"batches": timed(requests, bulk, args.rounds), "alone": timed(requests, alone, args.rounds)}
    for what, by_name in times.items():
        for name, (least, median) in by_name.items():
            to_nncf = f"{by_name['nncf'][0] / least:.3f} {by_name['nncf'][1] / median:.3f}"
            print(f"{what:8} {name:12} {least:8.2f} ms {median:8.2f} ms   times as fast as nncf: {to_nncf}")
    if args.json:
        args.json.write_text(
            json.dumps({"model": args.model, **environment(), "rows": rows, "ms": times}, indent=1),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
