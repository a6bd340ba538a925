"""`aios quarantine`, `audit` and `rollback-source`: what is held back, where it came from, taking it back."""

from __future__ import annotations

import dataclasses
from textwrap import shorten

import click

from aios_db.cli.options import EXIT_FAILED, Session, with_database, with_json
from aios_db.cli.output import print_json
from aios_db.schema.amounts import amount


@click.command(
    epilog="""\b
Examples:
  aios quarantine
  aios quarantine --release 0193a1b2-0000-7000-8000-000000000000
"""
)
@click.option("--release", "memory_ids", multiple=True, metavar="ID", help="Let it out. May be repeated.")
@with_json
@with_database
@click.pass_context
def quarantine(context: click.Context, /, memory_ids: tuple[str, ...], as_json: bool) -> None:
    """List the memories that are kept and not recalled, and why, or let some out.

    They read like an instruction and come from a source that the configuration does not trust enough. The
    exit status is 1 when one that is to be let out is not held.
    """
    with context.obj.connect(read_only=not memory_ids) as con:
        held = con.quarantine()
        if memory_ids:
            count = con.release(memory_ids)
            if as_json:
                print_json({"released": count})
            else:
                click.echo(f"released {count}")
            missing = {*memory_ids} - {each.memory_id for each in held}
            if missing:
                click.echo(f"not held: {', '.join(sorted(missing))}; aios quarantine lists what is", err=True)
                context.exit(EXIT_FAILED)
            return
    if as_json:
        print_json([dataclasses.asdict(each) for each in held])
        return
    for each in held:
        click.echo(f"{each.memory_id}  {each.reason}; {each.source or 'no source'}, trust {each.trust:.2f}")
        text = f"{each.title}: {each.text}" if each.title else each.text
        click.echo(f"    {shorten(text, 200, placeholder=' …')}")


@click.command(epilog="\b\nExamples:\n  aios audit 0193a1b2-0000-7000-8000-000000000000 --json\n")
@click.argument("memory_id")
@with_json
@with_database
@click.pass_context
def audit(context: click.Context, /, memory_id: str, as_json: bool) -> None:
    """Say where a memory came from: its source, trust, quarantine, links to other sources, recalls.

    The exit status is 1 when there is no such memory.
    """
    with context.obj.connect(read_only=True) as con:
        found = con.audit(memory_id)
    if found is None:
        click.echo(f"there is no memory {memory_id}", err=True)
        context.exit(EXIT_FAILED)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    for each in dataclasses.fields(found):
        value = getattr(found, each.name)
        if each.name != "links" and value not in (None, []):
            click.echo(f"{each.name}: {', '.join(value) if isinstance(value, list) else value}")
    for link in found.links:
        way = "to" if link.outgoing else "from"
        told = f"{link.kind} {way} {link.memory_id}, weight {link.weight:.2f}"
        click.echo(f"link: {told}, of {link.source or 'no source'}, trust {link.trust:.2f}")


@click.command(
    epilog="""\b
Examples:
  aios rollback-source web:evil.org --dry-run
  aios rollback-source inbox.mbox --since 2026-11-01
"""
)
@click.argument("source")
@click.option("--since", metavar="TIME", help="Only what was stored at this time or later.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be deleted.")
@with_json
@with_database
@click.pass_obj
def rollback_source(
    session: Session, /, source: str, since: str | None, dry_run: bool, as_json: bool
) -> None:
    """Take back what SOURCE has written, as if it had never been there.

    Its memories are deleted and what is derived from them, and links between others that they had a part in
    are made anew.
    """
    with session.connect(read_only=dry_run) as con:
        report = con.rollback_source(source, since, dry_run=dry_run)
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    would = "would delete" if dry_run else "deleted"
    click.echo(f"{would} {amount(len(report.memory_ids), 'memory')}, {report.derived} of them derived")
    click.echo(f"{would} {amount(report.links, 'link')} at them")
    if not dry_run:
        click.echo(f"changed {amount(report.links_changed, 'link')} between others")
