"""`aios federation`: serve cards to other agents, and push and pull them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aios_db.cli.monitoring import serving_metrics, with_metrics_port
from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_fields, print_json, print_table
from aios_db.schema.errors import OperationalError

if TYPE_CHECKING:
    from aios_db.connection import Connection
    from aios_db.federation.client import FederationClient
    from aios_db.federation.sparse import Sparsity

TOKEN_VARIABLE = "AIOS_FEDERATION_TOKEN"
Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(
    epilog="""\b
Examples:
  aios federation serve --db hub.aios
  aios federation sync grpc://127.0.0.1:8815 support --density 0.03
  aios federation status grpc://127.0.0.1:8815
"""
)
def federation() -> None:
    """Exchange LoRA cards with other agents over Arrow Flight."""


@federation.command(
    epilog="""\b
Examples:
  aios federation serve
  aios federation serve --agents 8 --density 0.05
  aios federation serve --host 0.0.0.0 --certificate cert.pem --key key.pem --access access.yaml
"""
)
@click.option(
    "--host", default="127.0.0.1", help="Another than loopback needs TLS, and tokens or certificates."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8815, help="0 takes a free one.")
@click.option("--access", type=_FILE, help="A YAML file of agents, their tokens and what they may do.")
@click.option("--certificate", type=_FILE, help="The server's certificate (PEM).")
@click.option("--key", type=_FILE, help="The server's key (PEM).")
@click.option("--client-authority", type=_FILE, help="Ask clients for certificates of this authority (PEM).")
@click.option("--agents", type=click.IntRange(1), default=1, help="Versions that make the next one together.")
@click.option("--rule", default="auto", help="How they are averaged: auto, mean, clip, median, trimmed.")
@click.option(
    "--density", type=float, help="Publish this share of the changed numbers; default all, exactly."
)
@click.option("--bits", type=int, default=2, help="Of each published number: 8, 4, 2 or 1.")
@click.option("--round-seconds", type=float, default=3600.0, help="Longest wait for the other agents.")
@with_metrics_port
@with_database
@click.pass_obj
def serve(session: Session, /, **options: Any) -> None:
    """Serve the cards of the database until it is interrupted."""
    from aios_db.federation.access import Access
    from aios_db.federation.hub import Hub, Rounds
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.server import FederationServer, ServerTls

    certificate, key = options["certificate"], options["key"]
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together")
    tls = ServerTls(certificate, key, options["client_authority"]) if certificate else None
    access = Access.read(options["access"]) if options["access"] else None
    rounds = Rounds(
        size=options["agents"], rule=options["rule"], longest_s=options["round_seconds"],
        sparsity=_sparsity(options["density"], options["bits"]),
    )  # fmt: skip
    with session.connect(create=True) as con:
        hub = Hub(CardLibrary(con.store), rounds)
        server = FederationServer(hub, host=options["host"], port=options["port"], access=access, tls=tls)
        stopped = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: stopped.set())
        click.echo(f"serving {session.path} at {server.location}")
        with serving_metrics(con.store, options["metrics_port"]):
            while not stopped.wait(0.5):
                pass
        server.shutdown()


@federation.command(epilog="\b\nExamples:\n  aios federation token ada\n")
@click.argument("agent")
def token(agent: str) -> None:
    """Make a token for AGENT, and print what an access file says of it."""
    from aios_db.federation.access import new_token, token_hash

    made = new_token()
    click.echo(f"# for {agent}, as ${TOKEN_VARIABLE}: {made}")
    click.echo(f'agents:\n  {agent}:\n    token_sha256: {token_hash(made)}\n    push: ["*"]\n    pull: ["*"]')


def _with_server(command: Command) -> Command:
    for option in (
        click.argument("location"),
        click.option("--token", envvar=TOKEN_VARIABLE, help=f"Default ${TOKEN_VARIABLE}."),
        click.option("--agent", help="A name, for servers that let everybody in."),
        click.option("--authority", type=_FILE, help="Whose certificate the server must have (PEM)."),
        click.option("--certificate", type=_FILE, help="The client's certificate (PEM)."),
        click.option("--key", type=_FILE, help="The client's key (PEM)."),
        with_json,
        with_database,
    ):
        command = option(command)
    return command


def _with_sparsity(command: Command) -> Command:
    for option in (
        click.option("--samples", type=click.IntRange(1), default=1, help="Its weight in an average."),
        click.option(
            "--density",
            type=float,
            help="Send this share of what changed; default federation.density.",
        ),
        click.option("--bits", type=int, help="Of each number that is sent: 8, 4, 2 or 1."),
    ):
        command = option(command)
    return command


@federation.command(epilog="\b\nExamples:\n  aios federation push grpc://127.0.0.1:8815 support\n")
@_with_sparsity
@_with_server
@click.argument("name")
@click.pass_obj
def push(
    session: Session,
    /,
    *,
    name: str,
    samples: int,
    density: float | None,
    bits: int | None,
    as_json: bool,
    **server: Any,
) -> None:
    """Send the head of the card NAME to the server at LOCATION."""
    with _client(session.connect(), **server) as client:
        report = client.push(name, samples=samples, **_how(session, density, bits))
    _print_report(report, as_json)


@federation.command(epilog="\b\nExamples:\n  aios federation pull grpc://127.0.0.1:8815 support\n")
@click.option("--wait", type=click.IntRange(0, 600), default=0, help="Seconds to wait for a new version.")
@_with_server
@click.argument("name")
@click.pass_obj
def pull(session: Session, /, name: str, wait: int, as_json: bool, **server: Any) -> None:
    """Fetch the head of the card NAME from the server at LOCATION."""
    _refuse_unknown(session, name, **server)
    with _client(session.connect(create=True), **server) as client:
        report = client.pull(name, wait_s=wait)
    _print_report(report, as_json)


@federation.command(
    epilog="\b\nExamples:\n  aios federation sync grpc://127.0.0.1:8815 support --density 0.03\n"
)
@click.option("--wait", type=click.IntRange(0, 600), default=0, help="Seconds to wait for a new version.")
@_with_sparsity
@_with_server
@click.argument("name")
@click.pass_obj
def sync(
    session: Session, /, *, name: str, wait: int, samples: int, density: float | None, bits: int | None,
    as_json: bool, **server: Any,
) -> None:  # fmt: skip
    """Push the card NAME to the server at LOCATION, and pull what it makes of it."""
    with _client(session.connect(), **server) as client:
        report = client.sync(name, samples=samples, wait_s=wait, **_how(session, density, bits))
    _print_report(report, as_json)


@federation.command(epilog="\b\nExamples:\n  aios federation status grpc://127.0.0.1:8815\n")
@_with_server
@click.pass_obj
def status(session: Session, /, as_json: bool, **server: Any) -> None:
    """List the cards that can be pulled from the server at LOCATION."""
    import aios_db

    with _client(aios_db.connect(config=session.config()), **server) as client:  # it needs none of its own
        found = client.status()
    if as_json:
        print_json(found)
        return
    print_table(
        ["card", "version", "number", "bytes"],
        [[name, each["version"], each["number"], each["bytes"]] for name, each in sorted(found.items())],
    )


def _refuse_unknown(session: Session, name: str, **server: Any) -> None:
    """Refuse a server that is not reached, or that has no such card, before a database is made."""
    import aios_db

    if session.path.exists():
        return
    with _client(aios_db.connect(config=session.config()), **server) as client:
        if name not in client.status():
            raise OperationalError(f"the server at {server['location']} has no card {name!r}")


@contextmanager
def _client(con: Connection, location: str, **server: Any) -> Iterator[FederationClient]:
    from aios_db.federation.client import ClientTls, FederationClient
    from aios_db.federation.library import CardLibrary

    with con:
        files = {name: server[name] for name in ("authority", "certificate", "key")}
        tls = ClientTls(**files) if any(files.values()) else None
        agent = server["agent"] or os.environ.get("USER")
        library = CardLibrary(con.store)
        with FederationClient(location, library, agent=agent, token=server["token"], tls=tls) as client:
            yield client


def _how(session: Session, density: float | None, bits: int | None) -> dict[str, Any]:
    """Return how a change is sent: as the options say, else as the configuration does."""
    configured = session.config().federation
    if density is None and not configured.delta_sync:
        return {"whole": True}
    share = density if density is not None else configured.density or None
    return {"sparsity": _sparsity(share, bits or configured.bits)}


def _sparsity(density: float | None, bits: int) -> Sparsity | None:
    from aios_db.federation.sparse import Sparsity

    return None if density is None else Sparsity(density, bits)


def _print_report(report: Any, as_json: bool) -> None:
    fields = {key: value for key, value in asdict(report).items() if value is not None}
    (print_json if as_json else print_fields)(fields)
