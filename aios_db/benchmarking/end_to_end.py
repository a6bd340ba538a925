"""What a user waits for: texts encoded, questions answered, memories stored, cards exchanged."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aios_db.benchmarking.measuring import Comparison, Run, Strategy
from aios_db.schema.amounts import amount
from aios_db.schema.config import Config, StorageConfig
from aios_db.schema.errors import Error

if TYPE_CHECKING:
    from aios_db.connection import Connection
    from aios_db.engine.encoders.arrow_engine import ArrowEngine

_OPEN = "the open database and its text model"

STRATEGIES: Mapping[str, tuple[str, str]] = {
    "standard": ("standard", "fp32"),
    "bf16": ("standard", "bf16"),
    "compile": ("compile", "fp32"),
    "ipex": ("ipex", "fp32"),
    "openvino": ("openvino", "fp32"),
    "int8": ("openvino", "int8"),
    "auto": ("auto", "auto"),
}
"""Back end and precision of each name of ``--compare``; another name is that of an installed model."""


def encoding(
    config: Config, names: Sequence[str], texts: Sequence[str], stack: ExitStack
) -> Iterator[Comparison]:
    """Yield one comparison: all texts encoded in one call, by each strategy.

    The reference is fp32 on the standard back end; accuracy is the cosine to it.
    """

    def cosines(run: Run, first: Run) -> Mapping[str, float]:
        found: NDArray[Any] = (run() * first()).sum(1)
        return {"cosine_mean": float(found.mean()), "cosine_least": float(found.min())}

    def made(name: str) -> Run:
        return partial(_engine(config, name, stack).encode, texts)

    yield Comparison(
        "encode",
        f"{amount(len(texts), 'text')} of {config.engine.text_model}",
        len(texts),
        "texts",
        [
            Strategy(name, partial(made, name), None if name == "standard" else cosines)
            for name in dict.fromkeys(("standard", *names))
        ],
    )


def _engine(config: Config, name: str, stack: ExitStack) -> ArrowEngine:
    from aios_db.engine.encoders.arrow_engine import ArrowEngine

    backend, precision = STRATEGIES.get(name, ("auto", "auto"))
    engine = ArrowEngine(
        config.engine.text_model if name in STRATEGIES else name,
        engine=config.engine,
        cpu=replace(config.cpu, backend=backend, precision=precision),  # type: ignore[arg-type]
        device=config.device,
        validation=config.validation,
    )
    stack.callback(engine.close)
    engine.settle()
    used = engine.choice
    if name in STRATEGIES and used is not None and backend not in ("auto", used.backend):
        raise Error(f"{backend} does not run here; {used.backend} does in its place")
    return engine


def databases(config: Config, texts: Sequence[str], rows: int, place: Path) -> Iterator[Comparison]:
    """Yield recall, its vector part against an exact scan, bulk and single writes, and consolidation.

    Memories are made of ``texts`` by adding a number, ``rows`` of them, in sessions of twenty, unless the
    database is in ``place`` already.
    """
    import aios_db

    config = replace(config, storage=StorageConfig(dimension=config.storage.dimension))
    path = place / "bench.aios"
    made = path.exists()
    with aios_db.connect(path, config=config) as con:
        if not made:
            con.remember(
                [
                    {"text": f"{texts[number % len(texts)]} ({number})", "session_id": f"s{number // 20}"}
                    for number in range(rows)
                ]
            )
            con.optimize()
        yield _recall(con, texts)
        yield _vectors(con, texts)
        fresh = itertools.count()
        run = uuid.uuid4().hex
        yield Comparison(
            "ingest", "one memory, durable", 1, "memories",
            [_always("remember", lambda: con.remember(f"{texts[0]} {run} {next(fresh)} again"))], _OPEN,
        )  # fmt: skip
        many = [f"{texts[0]} {run} {{}} more"] * 256
        yield Comparison(
            "ingest", "256 memories in one call", 256, "memories",
            [_always("remember", lambda: con.remember([each.format(next(fresh)) for each in many]))], _OPEN,
        )  # fmt: skip
        plan = "SELECT count(*) FROM consolidation_plan()"
        yield Comparison(
            "consolidate", f"plan of {amount(rows, 'memory')}", rows, "memories",
            [_always("dry run", lambda: con.execute(plan).fetchall())], _OPEN,
        )  # fmt: skip


def _always(name: str, run: Run) -> Strategy:
    """Return a strategy for which nothing has to be prepared."""
    return Strategy(name, lambda: run)


def _recall(con: Connection, texts: Sequence[str]) -> Comparison:
    asked = itertools.cycle(texts)
    sql = "SELECT memory_id, text, score FROM recall(?, k := 10)"
    cursor = con.cursor()

    def in_sql(question: str) -> list[str]:
        return [text for _, text, _ in cursor.execute(sql, [question]).fetchall()]

    def in_python(question: str) -> list[str]:
        return [each.text for each in con.recall(question, k=10)]

    def way(name: str, ask: Callable[[str], list[str]]) -> Strategy:
        def right(_run: Run, _first: Run) -> Mapping[str, float]:
            best = [next(iter(ask(each)), "").startswith(each) for each in texts[:20]]
            return {"best_is_what_was_asked": float(np.mean(best))}

        return Strategy(name, lambda: lambda: ask(next(asked)), right)

    return Comparison(
        "recall", f"10 of {len(con.store.index)}", 1, "questions",
        [way("SQL", in_sql), way("Python", in_python)], _OPEN,
    )  # fmt: skip


def _vectors(con: Connection, texts: Sequence[str]) -> Comparison:
    """Compare the index's search with all vectors of the table, multiplied and sorted."""
    cursor = con.cursor()
    questions = cache(lambda: con.store.encoder.encode(texts[:20]))

    @cache
    def stored() -> tuple[list[str], NDArray[np.float32]]:
        table = con.store.memories.to_table(columns=["memory_id", "text_embedding"])
        matrix = np.stack(table["text_embedding"].to_numpy(zero_copy_only=False)).astype(np.float32)
        return table["memory_id"].to_pylist(), matrix

    def searched(vector: NDArray[np.float32]) -> list[str]:
        found = cursor.execute("SELECT memory_id FROM vector_search(?, 10)", [vector.tolist()]).fetchall()
        return [name for (name,) in found]

    def scanned(vector: NDArray[np.float32]) -> list[str]:
        names, matrix = stored()
        return [names[row] for row in np.argsort(-(matrix @ vector), kind="stable")[:10]]

    def in_turn(find: Callable[[NDArray[np.float32]], list[str]]) -> Run:
        turns = itertools.cycle(questions())
        return lambda: find(next(turns))

    def recall(_run: Run, _first: Run) -> Mapping[str, float]:
        shares = [len({*searched(each)} & {*scanned(each)}) / 10 for each in questions()]
        return {"recall@10": float(np.mean(shares))}

    return Comparison(
        "recall", f"vectors, 10 of {len(con.store.index)}", 1, "questions",
        [
            Strategy("exact scan in NumPy", partial(in_turn, scanned)),
            Strategy("vector_search in SQL", partial(in_turn, searched), recall),
        ], _OPEN,
    )  # fmt: skip


def syncing(config: Config, place: Path) -> Iterator[Comparison]:
    """Yield a card of rank 8, pushed over loopback whole, exactly and sparsely."""
    import aios_db
    from aios_db.engine.catalog.find import find_model
    from aios_db.federation.client import FederationClient
    from aios_db.federation.delta import moved, vector
    from aios_db.federation.hub import Hub
    from aios_db.federation.library import CardLibrary
    from aios_db.federation.server import FederationServer
    from aios_db.federation.sparse import Sparsity
    from aios_db.federation.training import new_card

    start = new_card("bench", find_model(config.engine.text_model, config.engine.models_dir), rank=8)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
        mine, theirs = (
            CardLibrary(stack.enter_context(aios_db.connect(place / f"{name}.aios", config=config)).store)
            for name in ("mine", "hub")
        )
        for library in (mine, theirs):
            library.add(start, origin="new")
        server = FederationServer(Hub(theirs))
        stack.callback(server.shutdown)
        client = stack.enter_context(FederationClient(server.location, mine))
        chance = np.random.default_rng(0)
        sent: dict[str, list[int]] = {}

        def push(name: str, **how: Any) -> None:
            head = mine.get("bench")
            change = (1e-4 * chance.standard_normal(len(vector(head)))).astype(np.float32)
            mine.add(moved(head, change), origin="trained", parent=head.sha256)
            sent.setdefault(name, []).append(client.push("bench", **how).bytes_sent)
            client.pull("bench")

        def size(name: str, _run: Run, _first: Run) -> Mapping[str, float]:
            return {"bytes": float(np.median(sent[name]))}

        ways: dict[str, dict[str, Any]] = {
            "whole": {"whole": True},
            "exact difference": {},
            "8 % in 1 bit": {"sparsity": Sparsity(density=0.08, bits=1)},
        }
        yield Comparison(
            "sync", f"a card of {start.parameters} numbers", start.parameters, "numbers",
            [
                Strategy(name, partial(partial, push, name, **how), partial(size, name))
                for name, how in ways.items()
            ],
            "the agent, the hub and the databases of both",
        )  # fmt: skip
