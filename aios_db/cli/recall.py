"""`aios recall`, with an option for each filter."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aios_db.cli.options import Command, Session, with_database, with_json
from aios_db.cli.output import print_json, print_table
from aios_db.schema.filters import CONDITIONS, Comparison, Condition

if TYPE_CHECKING:
    from aios_db.recollection import Recollection

_SEVERAL = (Comparison.ONE_OF, Comparison.HAS, Comparison.WITHIN)


def with_filters(command: Command) -> Command:
    """Add an option for each filter."""
    for name, condition in reversed(list(CONDITIONS.items())):
        command = _option(name, condition)(command)
    return command


def _option(name: str, condition: Condition) -> Callable[[Command], Command]:
    flag, comparison = f"--{name.replace('_', '-')}", condition.comparison
    doc = condition.doc[0].upper() + condition.doc[1:]
    if comparison in _SEVERAL:
        type_ = click.Choice(condition.choices) if condition.choices else str
        return click.option(flag, name, multiple=True, type=type_, help=f"{doc}. May be repeated.")
    if comparison is Comparison.HOLDS:
        doc = "Only where the metadata has this, as key=value or a JSON object"
        return click.option(flag, name, multiple=True, metavar="KEY=VALUE", help=f"{doc}. May be repeated.")
    if comparison in (Comparison.AT_LEAST, Comparison.TRUSTED):
        return click.option(flag, name, type=click.FloatRange(0, 1), help=f"{doc}.")
    return click.option(flag, name, metavar="TIME", help=f"{doc}.")


@click.command(
    epilog="""\b
Examples:
  aios recall "where is the spare key?"
  aios recall "what did we decide about the boat" -k 5 --since 2024-01-01
  aios recall "Ada's brother" --hops 2 --vector-weight 0.5 --json
  aios recall --image boat.jpg -k 5
  aios recall "the key" --session-id monday --session-id tuesday --metadata lang=en
"""
)
@click.argument("query", required=False)
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="A picture to ask with.")
@click.option("--audio", type=click.Path(exists=True, dir_okay=False), help="A sound to ask with.")
@click.option("-k", "k", type=click.IntRange(min=0), help="How many memories; default recall.k, 10.")
@click.option("--hops", type=click.IntRange(min=0), help="Links to follow from the best matches.")
@with_filters
@click.option("--min-score", type=float, help="Only memories with at least this score.")
@click.option("--vector-weight", type=float, help="Weight of the meaning.")
@click.option("--keyword-weight", type=float, help="Weight of the words.")
@click.option("--graph-weight", type=float, help="Weight of what arrives over links.")
@click.option("--recency-weight", type=float, help="Weight of how recent a memory is.")
@click.option("--recency-days", type=float, help="Age in days at which recency is 1/e.")
@click.option("--superseded-penalty", type=float, help="What is taken off the score of what no longer holds.")
@click.option("--joint-weight", type=float, help="Weight of the joint space of text, sound and picture.")
@with_json
@with_database
@click.pass_obj
def recall(session: Session, /, query: str | None, as_json: bool, **options: Any) -> None:
    """Print the memories that answer QUERY, a picture or a sound best, with their scores' parts."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    if query is None and not {"image", "audio"} & given.keys():
        raise click.UsageError("give a QUERY, --image or --audio")
    if "metadata" in given:
        given["metadata"] = metadata_of(given["metadata"])
    with session.connect() as con:
        found = con.recall(query, **given)
    if as_json:
        print_json([dataclasses.asdict(memory) for memory in found])
        return
    print_table(
        ["score", "vector", "keyword", "graph", "recency", "joint", "when", "memory"],
        [
            (
                *map(_score, (memory.score, memory.vector_score, memory.keyword_score)),
                *map(_score, (memory.graph_score, memory.recency_score, memory.joint_score)),
                f"{memory.occurred_at:%Y-%m-%d}" if memory.occurred_at else "",
                _shown(memory),
            )
            for memory in found
        ],
    )


def _shown(memory: Recollection) -> str:
    """Return what is told of a memory: its words, or where its picture or sound lies."""
    words = f"{memory.title}: {memory.text}" if memory.title else memory.text
    return words or memory.media_uri or f"[{memory.media_type or 'media'}] {memory.memory_id}"


def metadata_of(given: tuple[str, ...]) -> dict[str, Any]:
    """Return what ``--metadata`` asks for: several values of one key are alternatives."""
    wanted: dict[str, Any] = {}
    for each in given:
        if each.lstrip().startswith("{"):
            try:
                values = json.loads(each)
            except ValueError as error:
                raise click.BadParameter(
                    f"{each!r} is no JSON object: {error}", param_hint="--metadata"
                ) from error
        else:
            key, equals, value = each.partition("=")
            if not equals:
                raise click.BadParameter(f"{each!r} is neither KEY=VALUE nor JSON", param_hint="--metadata")
            values = {f"$.{key}" if "." in key and not key.startswith("$.") else key: value}
        for key, value in values.items():
            wanted[key] = [*_listed(wanted[key]), *_listed(value)] if key in wanted else value
    return wanted


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
