"""Reading all of a database finds what was changed, and nothing where nothing was."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

import aios_db
from aios_db.checking import CheckReport, check
from aios_db.cli import main
from aios_db.disk.durable import manifest, versions
from aios_db.schema import association_links, lora_cards, quarantine_releases, validation_reports
from aios_db.schema.errors import OperationalError
from aios_db.search import checksums, segment_files
from aios_db.search.segment_files import current

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "salvaging"))
from salvage_helpers import connect, copy, row

KEPT = {"maintenance_delay_s": 3600, "keep_versions_s": 3600, "compact_after_fragments": 1000}
"""Else a busy machine compacts at the end, and it is known no longer which version is the newest."""
TEXTS = [f"The fee of order {each} is 1200 euros" for each in range(6)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original") / "agent.aios"
    with connect(place, **KEPT) as con:
        rows = [dict(row(each), session_id="s", metadata={"lang": "en"}, title="Fees") for each in TEXTS]
        ids = con.remember(rows)
        con.link(ids[0], ids[5], weight=0.75)
        con.store.optimize()
    with connect(place, **KEPT) as con:  # behind the segment
        con.remember(dict(row("A later order"), external_id="x"))
        con.forget(ids[2])
        con.store.touch(ids[:2])
    return place


@pytest.fixture
def database(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path / "agent.aios")


def said(report: CheckReport, part: str) -> str:
    """Return the one fault, which must be about this part."""
    (fault,) = [each for each in report.faults if part in each.where]
    assert str(fault).startswith(fault.where)
    return str(fault)


def change(database: Path, table: str, values: dict[str, str], where: str | None = None) -> None:
    """Change rows as another program would."""
    lance.dataset(database / f"{table}.lance").update(values, where)


def append(database: Path, table: str, schema: pa.Schema, **values: Any) -> None:
    rows = pa.Table.from_pylist([values], schema)
    lance.write_dataset(rows, database / f"{table}.lance", mode="append")


def test_nothing_is_wrong_with_a_database_that_nothing_happened_to(database: Path) -> None:
    read: list[tuple[int, int]] = []
    report = check(database, progress=lambda doing, done, total: read.append((done, total)))
    assert report.faults == ()
    assert (report.whole, report.memories) == (True, 6)
    assert report.links > 5
    assert read == sorted(read)
    assert read[-1][0] == read[-1][1] > 10_000
    assert report.bytes > 10_000
    assert aios_db.check(database).whole


def test_it_changes_nothing(database: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {each: (each.stat().st_size, each.stat().st_mtime_ns) for each in database.rglob("*.*")}

    before = state()
    check(database)
    assert state() == before


def test_a_changed_amount_is_found_with_its_memory(database: Path) -> None:
    changed = 0
    for path in (database / "memories.lance" / "data").iterdir():
        content = path.read_bytes()
        if TEXTS[1].encode() in content:
            path.write_bytes(content.replace(TEXTS[1].encode(), TEXTS[1].replace("1200", "9200").encode()))
            changed += 1
    assert changed
    with connect(database) as con:
        ((memory_id,),) = con.execute("SELECT memory_id FROM memories WHERE text LIKE '%9200%'").fetchall()
    report = check(database)
    assert not report.whole
    fault = next(each for each in report.faults if "content_hash" in each.what)
    assert (fault.rows, fault.examples) == (1, (memory_id,))
    assert fault.where.startswith("memories.lance/data/")
    assert "aios restore" in fault.remedy


MEMORIES: dict[str, tuple[dict[str, str], str]] = {
    "vector": ({"text_embedding": f"[{', '.join(['0.5'] * 16)}]"}, "not of length 1"),
    "metadata": ({"metadata": "'not json'"}, "no JSON object"),
    "a list": ({"metadata": "'[1]'"}, "no JSON object"),
    "importance": ({"importance": "2.0"}, "importance is 2.0"),
    "tier": ({"tier": "'never'"}, "tier is 'never'"),
    "text": ({"text": "'another'"}, "content_hash"),
    "user": ({"user_id": "'ada'"}, "content_hash"),
    "id": ({"memory_id": "'x'"}, "no UUID"),
}


@pytest.mark.parametrize("what", MEMORIES)
def test_each_value_of_a_memory_is_looked_at(database: Path, what: str) -> None:
    values, message = MEMORIES[what]
    change(database, "memories", values, "text LIKE '%order 3%'")
    faults = [str(each) for each in check(database).faults]
    assert any(message in each for each in faults), faults


LINKS: dict[str, tuple[dict[str, Any], str]] = {
    "dangling": ({"target_id": "0198f7a4-0000-7000-8000-000000000000"}, "without the memory at an end"),
    "weight": ({"weight": 7.0}, "not in (0, 1]"),
    "nan": ({"weight": float("nan")}, "not in (0, 1]"),
    "evidence": ({"evidence_count": 0}, "below 1"),
    "kind": ({"kind": ""}, "kind of a link is empty"),
    "twice": ({}, "several links have the same ends and kind"),
}


@pytest.mark.parametrize("what", LINKS)
def test_each_value_of_a_link_is_looked_at(database: Path, what: str) -> None:
    values, message = LINKS[what]
    known = lance.dataset(database / "association_links.lance").to_table().to_pylist()[0]
    append(database, "association_links", association_links.SCHEMA, **{**known, **values})
    assert any(message in str(each) for each in check(database).faults)


def test_the_rows_of_the_tables_beside_them_are_looked_at(database: Path) -> None:
    now = pa.scalar(0, pa.timestamp("us", "UTC")).as_py()
    card = {
        "card_id": "c/1", "name": "c", "number": 1, "version": "c@0", "sha256": "0" * 64, "origin": "new",
        "rank": 1, "alpha": 1.0, "target_modules": ["q"], "parameters": 1, "bytes": 1, "samples": 0,
        "created_at": now, "metadata": "{", "card": b"no card",
    }  # fmt: skip
    append(database, "lora_cards", lora_cards.SCHEMA, **card)
    report = {
        "report_id": "r", "version": "v", "original_version": "o", "sha256": "0", "created_at": now,
        "passed": True, "inputs": 1, "failures": [], "warnings": [], "report": "{",
    }  # fmt: skip
    for _ in range(2):
        append(database, "validation_reports", validation_reports.SCHEMA, **report)
        release = {"memory_id": "m", "fingerprint": "f", "reason": "r", "released_at": now}
        append(database, "quarantine_releases", quarantine_releases.SCHEMA, **release)
    faults = [str(each) for each in check(database).faults]
    for message in (
        "metadata is no JSON", "the card c/1 cannot be read", "report is no JSON",
        "several rows have the report_id", "several rows have the memory_id",
    ):  # fmt: skip
        assert any(message in each and "--recreate" in each for each in faults), (message, faults)


def zero_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["alive.npy", "term_docs.npy", "vectors.npy", "arrays.zst", "rows.arrow", "segment.json"]
)
@pytest.mark.parametrize("damage", [zero_half, flip, Path.unlink])
def test_files_of_the_index_too_large_to_be_read_at_each_opening_are_read_here(
    database: Path, name: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "_BUDGET", 0)
    if name != "arrays.zst":
        wrong_index(database, lambda _: None)  # one that is mapped, and right
    index = database / "index"
    path = index / current(index) / name
    before = path.read_bytes()
    damage(path)
    if path.exists() and path.read_bytes() == before:
        pytest.skip("it was all zeros")
    message = said(check(database), "index")
    assert "aios repair" in message
    if name != "segment.json":
        assert name in message
    with connect(database) as con:
        con.store.repair()
    assert check(database).whole


def wrong_index(database: Path, spoil: Callable[[Any], object]) -> None:
    """Write a segment whose checksums are right and whose content is not."""
    with connect(database, maintenance_delay_s=3600) as con:
        con.store.index.save()
        index = con.store.index
        segment = index.parts[0]
        spoil(segment)
        segment_files.write(segment, index.directory, index.language)


SPOILED: dict[str, tuple[Callable[[Any], object], str]] = {
    "alive": (lambda part: part.alive.__setitem__(0, False), "not in the search index"),
    "vectors": (lambda part: part.vectors.__setitem__((1, 0), 9.0), "vectors is another one"),
    "words": (lambda part: part.terms.counts.__setitem__(0, 9), "the words are others"),
    "lengths": (lambda part: part.lengths.__setitem__(0, 99), "lengths is another one"),
    "times": (lambda part: part.columns["times"].__setitem__(0, 5), "times is another one"),
    "ids": (lambda part: part.arrays["id_rows"].__setitem__(0, 3), "not found by its id"),
    "links": (lambda part: part.arrays["link_weights"].__setitem__(0, 0.5), "has other links"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_the_index_is_compared_with_the_tables(database: Path, what: str) -> None:
    spoil, message = SPOILED[what]
    wrong_index(database, spoil)
    faults = [str(each) for each in check(database).faults]
    assert any(message in each and "aios repair" in each for each in faults), faults
    aios_db.repair(database)
    assert check(database).whole


@pytest.mark.parametrize(
    ("table", "name"),
    [("association_links", "weight"), ("association_links", "source_id"), ("memories", "text_embedding"),
     ("memories", "metadata"), ("quarantine_releases", "fingerprint")],
)  # fmt: skip
def test_a_column_with_another_name_is_named_also_where_there_are_no_rows(
    tmp_path: Path, table: str, name: str
) -> None:
    place = tmp_path / "agent.aios"
    with connect(place, maintenance_delay_s=3600) as con:
        con.remember(row("One alone has no links"))
    assert check(place).faults == ()
    path = place / f"{table}.lance"
    newest = path / manifest(versions(path)[0])
    content = newest.read_bytes()
    at = content.rindex(name.encode())
    newest.write_bytes(content[:at] + b"z" + content[at + 1 :])
    assert f"has no column {name}" in said(check(place), newest.name)


def test_a_lost_newest_manifest_is_named(database: Path) -> None:
    versions = database / "memories.lance" / "_versions"
    min(versions.glob("*.manifest")).unlink()  # numbers fall as versions rise
    message = said(check(database), "_versions")
    assert "forgotten" in message
    assert "aios restore" in message


@pytest.mark.parametrize("table", ["memories", "association_links"])
@pytest.mark.parametrize("damage", [zero_half, flip, Path.unlink])
def test_an_index_over_a_column_is_made_anew(
    database: Path, table: str, damage: Callable[[Path], None]
) -> None:
    damage(max((database / f"{table}.lance" / "_indices").rglob("page_data.lance"), key=os.path.getsize))
    report = check(database)
    repaired = aios_db.repair(database)
    if not report.whole:
        assert any("_indices" in each.where for each in report.faults)
        assert repaired.lookups == (table,)
    assert check(database).whole
    with connect(database) as con:
        ids = [each for (each,) in con.execute("SELECT memory_id FROM memories").fetchall()]
        assert con.execute("SELECT count(*) FROM memories WHERE memory_id = ?", [ids[0]]).fetchall() == [(1,)]


def test_a_stale_column_of_links_is_named(database: Path) -> None:
    change(database, "memories", {"association_links": "NULL"}, "association_links IS NOT NULL")
    faults = [str(each) for each in check(database).faults]
    assert any("the column association_links is not what the table says" in each for each in faults)
    with connect(database) as con:
        con.store.repair()
    assert check(database).whole


def test_files_beside_the_tables(database: Path) -> None:
    (database / "tokenizers.json").write_text("[]")
    (database / "imports").mkdir(exist_ok=True)
    (database / "imports" / "a.jsonl").write_text('{"done": 1}\n{{\n{"done": 2}\n')
    for log in ("recalls.log", "changes.log"):
        (database / log).write_bytes((database / log).read_bytes()[:-3])
    marker = json.loads((database / "aios.json").read_text())
    (database / "aios.json").write_text(json.dumps({**marker, "dimension": 17}))
    report = check(database)
    for name in ("tokenizers.json", "imports/a.jsonl", "recalls.log", "changes.log", "aios.json"):
        assert any(each.where == name for each in report.faults), name


def test_the_shell_says_what_is_wrong_and_its_status_is_1(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor", "--deep", "--json", "--db", str(database)])
    (deep,) = [each for each in json.loads(capsys.readouterr().out) if each["check"] == "deep"]
    assert deep["status"] == "ok"
    change(database, "memories", {"text": "'another'"}, "text LIKE '%order 3%'")
    assert main(["doctor", "--deep", "--db", str(database)]) == 1
    assert "content_hash" in capsys.readouterr().out


def test_nothing_is_checked_where_no_database_is(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="no aios_db database"):
        check(tmp_path)


def test_while_others_write_nothing_is_wrong(database: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with connect(database) as con:
            number = 0
            while not stop.is_set():
                ids = con.remember([dict(row(f"text {number} {each}"), session_id="t") for each in range(3)])
                con.forget(ids[0])
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            faults = [each for each in check(database).faults if "column association_links" not in each.what]
            assert faults == []
    finally:
        stop.set()
        writer.join()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_that_cannot_be_written_is_checked(database: Path) -> None:
    os.chmod(database, 0o500)
    try:
        assert check(database).whole
    finally:
        os.chmod(database, 0o700)
