"""`aios models quantize`: a model in fewer bits, validated before it may be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json
from aios_db.cli.progress import shown
from aios_db.schema.errors import DataError, ValidationError
from aios_db.schema.homes import expanded


@click.command(
    epilog="""\b
Examples:
  aios models quantize minilm --to int8 --calibration texts.txt
  aios models quantize minilm --to int2 --method gptq --calibration texts.txt
  aios models quantize minilm --to int2 --max-bits 3 --mixed-by row --group-size 0 --calibration texts.txt
  aios models quantize ./my-model --to int2 --calibration a.txt --calibration b.txt --name my-int2
  aios models quantize whisper-tiny --to int8 --calibration ~/sounds

An interrupted run continues where it was when the same command is given again.
"""
)
@click.argument("name")
@click.option("--to", "target", type=click.Choice(["int8", "int2"]), help="Bits of the linear layers.")
@click.option("--method", type=click.Choice(["ptq", "gptq", "full"]), help="How far to go for precision.")
@click.option(
    "--calibration",
    type=click.Path(exists=True),
    multiple=True,
    required=True,
    help="Texts, one a line; for encoders of sounds and pictures such files, or folders of them. Half, by "
    "their hash, are kept for validation.",
)
@click.option("--name", "new_name", help="The new model's name; default NAME-int8 or NAME-int2.")
@click.option("--max-bits", type=click.FloatRange(2, 8), help="Bits per weight over the linear layers.")
@click.option(
    "--mixed-by", type=click.Choice(["layer", "row"]), help="Give more bits to layers or to single rows."
)
@click.option("--group-size", type=click.IntRange(-1), help="Weights that share a scale; 0 is a channel.")
@click.option("--keep-int8", help="Layers that keep 8 bits: parts of their names, with commas between.")
@click.option("--keep-fp16", help="Layers that stay floats of 16 bits, as --keep-int8.")
@click.option("--fp16-layers", type=click.IntRange(0), help="So many of the most sensitive stay floats.")
@click.option(
    "--int8-zero-points/--no-int8-zero-points", default=None, help="Zero points in 8 bits where they gain."
)
@click.option("--steps", "distillation_steps", type=click.IntRange(0), help="Steps of distillation.")
@with_json
@with_database
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
    """Quantize the model NAME, or a model directory, into a new V2 model, and validate it.

    It is validated on the database's memories where there are any, else on the other half of what is given.
    A version that passes is recorded in the database, where there is one, beside the one it was made of; it
    is used once it is activated.
    """
    from aios_db.engine.catalog.find import find_model
    from aios_db.models.making import quantize_version

    config = session.config()
    options = {key: value for key, value in given.items() if value is not None}
    config = dataclasses.replace(config, quantization=dataclasses.replace(config.quantization, **options))
    models_dir = expanded(config.engine.models_dir)
    source = find_model(name, models_dir)
    target = models_dir / (new_name or f"{source.resolve().name}-{config.quantization.target}")
    texts, files = read_calibration(calibration)
    with shown() as progress:
        made = quantize_version(
            source, target, texts=texts, files=files, config=config, open_store=session.open_store(),
            progress=progress,
        )  # fmt: skip
    report, validation = made.report, made.validation
    summary = {
        "version": validation.candidate.version,
        "path": str(target),
        "bytes": report.file_bytes,
        "bits_linear": round(report.bits_linear, 3),
        "bits": round(report.bits, 3),
        "int2_share": round(report.int2_share, 3),
        "cosine_mean": validation.vectors.cosine_mean if validation.vectors else None,
        "perplexity_increase": validation.perplexity.increase if validation.perplexity else None,
        "passed": validation.passed,
        "recorded": made.recorded,
    }
    (print_json if as_json else print_fields)(summary)
    if not validation.passed:
        raise ValidationError(f"{target} cannot be used: {'; '.join(validation.failures)}")


def read_calibration(paths: Iterable[str]) -> tuple[list[str], list[Path]]:
    """Return the lines of text files, and apart the paths of folders and of sound and picture files.

    Raises
    ------
    DataError
        A file is neither.
    """
    from aios_db.engine.architectures.kinds import is_media_file

    texts: list[str] = []
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir() or is_media_file(path):
            files.append(path)
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} is no sound or picture by its name, and no UTF-8 text: {error}"
            ) from error
        texts += [line.strip() for line in lines if line.strip()]
    return texts, files
