"""`aios remember`, `aios recall` and `aios forget`."""

from __future__ import annotations

import dataclasses
import sys

import click

from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json, print_table


@click.command(
    epilog="""\b
Examples:
  aios remember "Ada keeps the spare key under the blue pot." --speaker Ada
  aios remember --session-id monday --title Minutes - < minutes.txt
  aios remember "Tea at four" --metadata '{"place": "kitchen"}'
"""
)
@click.argument("text")
@click.option("--title", help="A title, embedded and searched with the text.")
@click.option("--kind", help="message, document, observation or a word of your own.")
@click.option("--session-id", help="The conversation it belongs to; its memories are linked in order.")
@click.option("--agent-id", help="The agent whose memory it is.")
@click.option("--user-id", help="The user it is about.")
@click.option("--speaker", help="Who said it.")
@click.option("--occurred-at", help="When it happened, in ISO 8601; UTC without a zone.")
@click.option("--importance", type=float, help="0 to 1.")
@click.option("--source", help="Where it comes from.")
@click.option("--metadata", help="A JSON object.")
@with_json
@with_database
@click.pass_obj
def remember(session: Session, /, text: str, as_json: bool, **fields: object) -> None:
    """Store TEXT and print its memory_id; '-' reads the text from standard input.

    The same text in the same scope (user, agent, session) is one memory.
    """
    content = sys.stdin.read() if text == "-" else text
    given = {name: value for name, value in fields.items() if value is not None}
    with session.connect(create=True) as con:
        memory_id = con.remember(content, **given)
    if as_json:
        print_json({"memory_id": memory_id})
    else:
        click.echo(memory_id)


@click.command(
    epilog="""\b
Examples:
  aios recall "where is the spare key?"
  aios recall "what did we decide about the boat" -k 5 --since 2024-01-01
  aios recall "Ada's brother" --hops 2 --vector-weight 0.5 --json
"""
)
@click.argument("query")
@click.option("-k", "k", type=click.IntRange(min=0), help="How many memories; default recall.k, 10.")
@click.option("--hops", type=click.IntRange(min=0), help="Links to follow from the best matches.")
@click.option("--session-id", help="Only this session.")
@click.option("--agent-id", help="Only this agent's memories.")
@click.option("--user-id", help="Only this user's memories.")
@click.option("--since", help="Only what happened at or after this time.")
@click.option("--until", help="Only what happened before this time.")
@click.option("--tier", type=click.Choice(["short", "long", "archived"]), help="Only this tier.")
@click.option("--vector-weight", type=float, help="Weight of the meaning.")
@click.option("--keyword-weight", type=float, help="Weight of the words.")
@click.option("--graph-weight", type=float, help="Weight of what arrives over links.")
@click.option("--recency-weight", type=float, help="Weight of how recent a memory is.")
@with_json
@with_database
@click.pass_obj
def recall(session: Session, /, query: str, as_json: bool, **options: object) -> None:
    """Print the memories that answer QUERY best, with their scores' parts."""
    given = {name: value for name, value in options.items() if value is not None}
    with session.connect() as con:
        found = con.recall(query, **given)  # type: ignore[arg-type]
    if as_json:
        print_json([dataclasses.asdict(memory) for memory in found])
        return
    print_table(
        ["score", "vector", "keyword", "graph", "recency", "when", "memory"],
        [
            (
                *map(_score, (memory.score, memory.vector_score, memory.keyword_score)),
                *map(_score, (memory.graph_score, memory.recency_score)),
                f"{memory.occurred_at:%Y-%m-%d}" if memory.occurred_at else "",
                f"{memory.title}: {memory.text}" if memory.title else memory.text,
            )
            for memory in found
        ],
    )


@click.command(epilog="\b\nExample:\n  aios forget 0193a1b2-0000-7000-8000-000000000000\n")
@click.argument("memory_ids", nargs=-1, required=True)
@with_json
@with_database
@click.pass_obj
def forget(session: Session, memory_ids: tuple[str, ...], as_json: bool) -> None:
    """Delete memories and their links."""
    with session.connect() as con:
        count = con.forget(list(memory_ids))
    if as_json:
        print_json({"forgotten": count})
    else:
        click.echo(f"forgot {count} of {len(memory_ids)}")


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
