"""`aios cards`: LoRA cards of the database, from and to files, trained, and merged into a model."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json, print_table
from aios_db.cli.progress import shown
from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    from aios_db.federation.training import Pair


@click.group(
    epilog="""\b
Examples:
  aios cards new support
  aios cards train support pairs.csv
  aios cards list
  aios cards merge support ./minilm-support
"""
)
def cards() -> None:
    """Train, keep, and apply LoRA cards: what the text model has learned, in about a megabyte."""


@cards.command("list", epilog="\b\nExamples:\n  aios cards list\n  aios cards list --json\n")
@with_json
@with_database
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List the versions of the cards in the database."""
    from aios_db.federation.library import CardLibrary

    with session.connect(read_only=True) as con:
        found = [asdict(each) for each in CardLibrary(con.store).versions()]
    if as_json:
        print_json(found)
        return
    columns = ["version", "number", "origin", "agent", "rank", "samples", "bytes", "created_at"]
    print_table(columns, [[each[column] for column in columns] for each in found])


@cards.command(
    epilog="\b\nExamples:\n  aios cards new support\n  aios cards new support --rank 16 --seed 1\n"
)
@click.argument("name")
@click.option("--model", metavar="MODEL", help="A name or a directory; default the database's text model.")
@click.option("--rank", type=click.IntRange(1), default=8, help="Of the factors.")
@click.option("--alpha", type=float, help="Scale; default twice the rank.")
@click.option("--seed", type=int, default=0, help="Agents with the same seed begin with the same card.")
@with_json
@with_database
@click.pass_obj
def new(session: Session, /, name: str, model: str | None, as_json: bool, **options: Any) -> None:
    """Add the card NAME, which changes nothing yet."""
    from aios_db.federation.checks import check_name
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.training import new_card

    check_name(name)
    card = new_card(name, _model(session, model), **options)
    with session.connect(create=True) as con:
        made = CardLibrary(con.store).add(card, origin="new")
    _print_version(made, as_json)


@cards.command(
    epilog="""\b
Examples:
  aios cards train support pairs.csv
  aios cards train support scored.csv --epochs 2 --learning-rate 0.0003
"""
)
@click.argument("name")
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False))
@click.option("--model", metavar="MODEL", help="A name or a directory; default the database's text model.")
@click.option("--epochs", type=click.IntRange(1), default=1, help="Times that each pair is seen.")
@click.option("--steps", type=click.IntRange(1), help="Steps in all, instead of epochs.")
@click.option("--batch-size", type=click.IntRange(2), default=32, help="Pairs in a step.")
@click.option("--learning-rate", type=float, default=5e-4, help="Of AdamW.")
@click.option("--freeze-a", is_flag=True, help="Train only the factors B: half as much to send.")
@with_json
@with_database
@click.pass_obj
def train(
    session: Session, /, name: str, pairs: str, model: str | None, as_json: bool, **options: Any
) -> None:
    """Go on training the card NAME on PAIRS: a CSV file with two texts that belong together per row.

    With a number as a third column, pairs are ranked by how alike they are.
    """
    from aios_db.federation.debts import to_train
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.training import Training, train_card

    examples = _pairs(Path(pairs))
    with session.connect() as con, shown(quiet=as_json) as progress:
        library = CardLibrary(con.store)
        start = to_train(library, name)
        trained = train_card(start, _model(session, model), examples, Training(**options), progress=progress)
        made = library.add(trained.card, origin="trained", parent=start.sha256, samples=trained.samples)
    if not as_json:
        click.echo(f"loss {trained.losses[0]:.4f} at first, {trained.losses[-1]:.4f} in the end", err=True)
    _print_version(made, as_json)


@cards.command(
    "import",
    epilog="\b\nExamples:\n  aios cards import s.lora.arrow\n  aios cards import ./adapter --name s\n",
)
@click.argument("path", type=click.Path(exists=True))
@click.option("--name", help="Its name here; default what the file says, or the directory's name.")
@with_json
@with_database
@click.pass_obj
def import_(session: Session, path: str, name: str | None, as_json: bool) -> None:
    """Add the card in PATH: a *.lora.arrow file, or an adapter directory of PEFT."""
    from dataclasses import replace

    from aios_db.federation.card_files import read_card
    from aios_db.federation.checks import check_name
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.peft_files import read_peft

    card = read_peft(path, name) if Path(path).is_dir() else read_card(path)
    card = replace(card, name=name or card.name)
    check_name(card.name)
    with session.connect(create=True) as con:
        made = CardLibrary(con.store).add(card, origin="file")
    _print_version(made, as_json)


@cards.command(
    epilog="\b\nExamples:\n  aios cards export s s.lora.arrow\n  aios cards export s ./adapter --peft\n"
)
@click.argument("name")
@click.argument("path", type=click.Path())
@click.option("--peft", is_flag=True, help="Write an adapter directory of PEFT.")
@with_database
@click.pass_obj
def export(session: Session, name: str, path: str, peft: bool) -> None:
    """Write the card NAME, or the version name@..., as the file PATH, or as a directory."""
    from aios_db.federation.card_files import write_card
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.peft_files import write_peft

    with session.connect(read_only=True) as con:
        card = CardLibrary(con.store).get(name)
    written = write_peft(card, path) if peft else write_card(card, path)
    click.echo(str(written))


@cards.command(
    epilog="\b\nExamples:\n  aios cards merge support ./minilm-s\n  aios models activate ./minilm-s\n"
)
@click.argument("name")
@click.argument("target", type=click.Path())
@click.option("--model", metavar="MODEL", help="A name or a directory; default the database's text model.")
@with_json
@with_database
@click.pass_context
def merge(context: click.Context, /, name: str, target: str, model: str | None, as_json: bool) -> None:
    """Write the model directory TARGET: the model with the card NAME merged into its weights.

    How far the card moves the vectors of the memories is in its validation report; below
    validation.min_cosine the model cannot be activated, and the exit status is 1.
    """
    from aios_db.federation.applying import merge_validated
    from aios_db.federation.library import CardLibrary
    from aios_db.models.texts import memory_texts

    session: Session = context.obj
    config = session.config()
    with session.connect(read_only=True) as con:
        card = CardLibrary(con.store).get(name)
        texts = memory_texts(con.store)
    report = merge_validated(
        card, _model(session, model), target,
        texts=texts, config=config.validation, cpu=config.cpu, device=config.device,
    )  # fmt: skip
    if as_json:
        print_json(report.to_dict())
    else:
        measured = asdict(report.vectors) if report.vectors else {}
        result = "passed" if report.passed else "refused"
        print_fields({"model": target, "card": card.version, "result": result, **measured})
    context.exit(0 if report.passed else EXIT_FAILED)


def _model(session: Session, model: str | None) -> Path:
    from aios_db.engine.catalog.find import find_model

    engine = session.config().engine
    return find_model(model or engine.text_model, engine.models_dir)


def _pairs(path: Path) -> list[Pair]:
    from aios_db.federation.training import Pair

    pairs = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            try:
                first, second, *scores = row
                pairs.append(Pair(first, second, float(scores[0]) if scores else None))
            except ValueError as error:
                raise DataError(f"{path}, row {number}: give two texts, and a number or nothing") from error
    return pairs


def _print_version(version: Any, as_json: bool) -> None:
    print_json(asdict(version)) if as_json else click.echo(version.version)
