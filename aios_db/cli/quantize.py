"""`aios models quantize`: a model in fewer bits, validated before it may be used."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from aios_db.cli.options import Session, with_json
from aios_db.cli.output import print_fields, print_json
from aios_db.schema.errors import DataError, ValidationError


@click.command(
    epilog="""\b
Examples:
  aios models quantize minilm --to int8 --calibration texts.txt
  aios models quantize minilm --to int2 --method gptq --calibration texts.txt --max-bits 3.0
  aios models quantize ./my-model --to int2 --calibration a.txt --calibration b.txt --name my-int2

An interrupted run continues where it was when the same command is given again.
"""
)
@click.argument("name")
@click.option("--to", "target", type=click.Choice(["int8", "int2"]), help="Bits of the linear layers.")
@click.option("--method", type=click.Choice(["ptq", "gptq", "full"]), help="How far to go for precision.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    required=True,
    help="Texts, one a line; half of them, by their hash, are kept for validation.",
)
@click.option("--name", "new_name", help="The new model's name; default NAME-int8 or NAME-int2.")
@click.option("--max-bits", type=click.FloatRange(2, 8), help="Bits per weight over the linear layers.")
@click.option("--group-size", type=click.IntRange(-1), help="Weights that share a scale; 0 is a channel.")
@click.option("--keep-int8", help="Layers that keep 8 bits: parts of their names, with commas between.")
@click.option("--steps", "distillation_steps", type=click.IntRange(0), help="Steps of distillation.")
@with_json
@click.pass_obj
def quantize(
    session: Session,
    /,
    name: str,
    calibration: tuple[str, ...],
    new_name: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Quantize the model NAME, or a model directory, into a new V2 model, and validate it."""
    from aios_db.engine.models import find_model
    from aios_db.engine.quantization.quantizer import quantize_model
    from aios_db.engine.validation.split import calibration_side
    from aios_db.engine.validation.validator import PrecisionValidator

    config = session.config()
    options = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(config.quantization, **options)
    models_dir = Path(config.engine.models_dir).expanduser()
    source = find_model(name, models_dir)
    target = models_dir / (new_name or f"{source.resolve().name}-{recipe.target}")
    texts = _lines(calibration)
    with _progress() as progress:
        report = quantize_model(
            source, target, calibration=calibration_side(texts), config=recipe, progress=progress
        )
    validation = PrecisionValidator(config.validation).validate(source, target, texts)
    summary = {
        "path": str(target),
        "bytes": report.file_bytes,
        "bits_linear": round(report.bits_linear, 3),
        "bits": round(report.bits, 3),
        "int2_share": round(report.int2_share, 3),
        "cosine_mean": validation.vectors.cosine_mean if validation.vectors else None,
        "passed": validation.passed,
    }
    (print_json if as_json else print_fields)(summary)
    if not validation.passed:
        raise ValidationError(f"{target} cannot be used: {'; '.join(validation.failures)}")


def _lines(files: tuple[str, ...]) -> list[str]:
    texts = []
    for file in files:
        try:
            texts += [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as UTF-8 text: {error}") from error
    return [text for text in texts if text]


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield what draws a progress bar; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield show
