"""`aios warm` and `aios models tune`: what runs a model, chosen before it is asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from aios_db.cli.options import Session, with_json
from aios_db.cli.output import print_fields, print_json


@click.command(
    epilog="\b\nExamples:\n  aios models tune\n  aios models tune minilm-int8\n  aios models tune --again\n"
)
@click.argument("name", required=False)
@click.option("--again", is_flag=True, help="Measure anew, whatever this machine remembers.")
@with_json
@click.pass_obj
def tune(session: Session, name: str | None, again: bool, as_json: bool) -> None:
    """Choose what runs a text model on this CPU, NAME or that of the configuration, and show it.

    The back ends and precisions are measured once on a machine, for some tens of seconds, and remembered. A
    choice that was made while the machine was busy is provisional: a later bulk call on a quiet one, or
    --again, measures anew.
    """
    from aios_db.engine.encoders.arrow_engine import ArrowEngine

    config = session.config()
    engine = ArrowEngine(
        name or config.engine.text_model, engine=config.engine, cpu=config.cpu, device=config.device,
        validation=config.validation,
    )  # fmt: skip
    try:
        if again and engine.device.is_cpu:
            engine.tune()
        engine.settle()
        _show(engine, as_json)
    finally:
        engine.close()


@click.command(epilog="\b\nExamples:\n  aios warm\n  aios warm --json\n")
@with_json
@click.pass_obj
def warm(session: Session, as_json: bool) -> None:
    """Install, convert and choose what the configuration's text model needs, so that no later call waits."""
    from aios_db.encoder import LazyEncoder

    encoder = LazyEncoder(session.config())
    try:
        _show(encoder.warm(), as_json)
    finally:
        encoder.close()


def _show(engine: Any, as_json: bool) -> None:
    choice = engine.choice
    shown = {"version": engine.version, "arithmetic": engine.arithmetic, **(asdict(choice) if choice else {})}
    (print_json if as_json else print_fields)(shown)
