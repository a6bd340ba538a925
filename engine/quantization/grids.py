"""Which grid each layer gets: the recipe's bits, and more where rounding does most harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from aios_db.engine.quantization.allocation import layers_in_8_bits, rows_with_planes
from aios_db.engine.quantization.job import BATCH_TOKENS, Job
from aios_db.engine.quantization.rounding import Grid
from aios_db.engine.quantization.row_sensitivity import row_sensitivities
from aios_db.engine.quantization.sensitivity import sensitivities
from aios_db.engine.quantization.subject import Batch
from aios_db.schema.errors import ProgrammingError

_PROBES = 2  # batches whose output tells the sensitivity; on the next ones layers are fitted
_DRAWN, _TEXTS_OF_A_BATCH = 16, 32  # batches, and texts of each, that the sensitivity of rows is drawn from


def choose_grids(job: Job, batches: Sequence[Batch]) -> tuple[dict[str, Grid], dict[str, float]]:
    """Return the grid of each layer that is quantized and, of mixed precision, the sensitivities."""
    measured: dict[str, float] = {}
    floats = _named(job, "keep_fp16")
    if job.config.fp16_layers:
        measured = _measure_layers(job, batches)
        left = [name for name in measured if name not in floats]
        floats |= set(sorted(left, key=measured.__getitem__)[-job.config.fp16_layers :])
    large, eight = Grid(8, symmetric=not job.config.int8_zero_points), _named(job, "keep_int8")
    small = large if job.config.target == "int8" else job.small_grid()
    grids = {name: large if name in eight else small for name in job.linears if name not in floats}
    if not grids:
        raise ProgrammingError("keep_fp16 and fp16_layers leave no layer to quantize")
    if job.config.target == "int8" or not job.config.mixed_precision:
        return grids, measured
    shapes = {name: tuple(linear.weight.shape) for name, linear in job.linears.items()}
    if job.config.mixed_by == "layer":
        measured = _measure_layers(job, batches)
        chosen = layers_in_8_bits(measured, shapes, grids, max_bits=job.config.max_bits, large=large)
        return chosen, measured
    by_row = _measure_rows(job, batches)
    measured = {name: float(rows.sum()) for name, rows in by_row.items()}
    chosen = rows_with_planes(
        by_row, shapes, grids, max_bits=job.config.max_bits, min_int2=job.config.min_int2
    )
    return chosen, measured


def _named(job: Job, setting: str) -> set[str]:
    """Return the layers whose names have one of the parts that a setting lists."""
    parts = [part.strip() for part in getattr(job.config, setting).split(",") if part.strip()]
    found = {part: {name for name in job.linears if part in name} for part in parts}
    missing = [part for part, names in found.items() if not names]
    if missing:
        known = ", ".join(sorted(job.linears))
        raise ProgrammingError(f"{setting}: {missing[0]!r} is in no layer's name; there are {known}")
    return set().union(*found.values())


def _measure_layers(job: Job, batches: Sequence[Batch]) -> dict[str, float]:
    known: dict[str, float] = dict(job.state.get("sensitivity", {}))
    left = [name for name in job.linears if name not in known]
    if left:
        fitted = batches[_PROBES : _PROBES + -(-job.budget.measured // BATCH_TOKENS)] or batches
        probes = [batch.shortened(job.budget.probed // _PROBES) for batch in batches[:_PROBES]]

        def save(measured: Mapping[str, float]) -> None:
            job.keep(sensitivity={**known, **measured})

        sensitivities(
            job.reference, fitted, probes,
            grids=dict.fromkeys(left, job.small_grid()), settings=job.gptq(refinements=0),
            language_model=job.language_model,
            done=job.counted("measuring sensitivity", len(known)), advanced=save,
        )  # fmt: skip
    return dict(job.state["sensitivity"])


def _measure_rows(job: Job, batches: Sequence[Batch]) -> dict[str, Tensor]:
    if "row_sensitivity" not in job.state:
        shown = [batch.first(_TEXTS_OF_A_BATCH).shortened(job.budget.probed) for batch in batches[:_DRAWN]]

        def done(count: int) -> None:
            job.progress("measuring sensitivity", count, 2 * len(shown))

        rows = row_sensitivities(
            job.reference, job.linears, shown, job.small_grid(),
            language_model=job.language_model, seed=job.config.seed, done=done,
        )  # fmt: skip
        job.keep(row_sensitivity=rows)
    return dict(job.state["row_sensitivity"])
