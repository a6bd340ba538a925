"""`aios models rewrite`."""

from __future__ import annotations

from typing import Any

import click

from aios_db.cli.options import Session, with_json
from aios_db.cli.output import print_fields, print_json


@click.command(
    epilog="\b\nExamples:\n  aios models rewrite minilm\n  aios models rewrite minilm --compression zstd\n"
)
@click.argument("model")
@click.option(
    "--compression",
    type=click.Choice(["none", "zstd", "lz4", "snappy"]),
    default="none",
    help="'none' can be mapped into memory, the others are smaller on disk.",
)
@with_json
@click.pass_obj
def rewrite(session: Session, /, model: str, compression: Any, as_json: bool) -> None:
    """Write the weights of MODEL, a name or a directory, anew, so that they can be mapped."""
    from aios_db.engine.catalog.find import find_model
    from aios_db.engine.weights.model_directory import ModelDirectory
    from aios_db.engine.weights.rewrite import rewrite_weights

    weights = ModelDirectory.open(find_model(model, session.config().engine.models_dir)).weights
    changed = rewrite_weights(weights, compression=compression)
    done = {"path": str(weights), "changed": changed, "bytes": weights.stat().st_size}
    (print_json if as_json else print_fields)(done)
