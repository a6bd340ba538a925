"""What archived memories take on the disk, and what is still recalled of them.

    python bench/bench_lifecycle.py --path locomo10.json

One database a conversation of LoCoMo (Maharana et al., 2024) and one of all of them, one memory a turn. All
turns are archived and compressed, in several ways; after each, old versions are removed and every byte of the
directory is counted: tables, links, look-ups, manifests, logs and the search index. "times" is how many times
smaller that is than the same database before, and than the texts with their float32 vectors alone. recall@10
is over all questions, and in brackets its share of what was recalled before. Texts are compared byte by byte.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_retrieval import DataSet, locomo

import aios_db
from aios_db.search import saved

WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "int8": {"compression": {"archived": "int8"}},
    "bits": {"compression": {"archived": "bits"}},
    "words": {"compression": {"archived": "none"}},
    "bits, packed": {"compression": {"archived": "bits"}},
    "bits, mapped": {"compression": {"archived": "bits"}, "search": {"index": "mapped"}},
}
"""All but the last with the default index, which of so few compressed memories is in no file; packed is what
it is of 4,096 and more, forced here."""
PARTS = {
    "memories": "memories.lance/data",
    "links": "association_links.lance/data",
    "look-ups": "*/_indices",
    "index: packed": "index/*/arrays.zst",
    "index: vectors": "index/*/vectors.npy",
    "index: rows": "index/*/rows.arrow",
    "index: the rest": "index",
}
FEW_COLD = saved._FEW_COLD
NO_OLD_VERSIONS = {"keep_versions_s": 0.0}


@dataclass
class Measured:
    """One database in one way."""

    parts: dict[str, int]
    recall: float
    opening_s: float
    texts: list[str]

    @property
    def bytes(self) -> int:
        return sum(self.parts.values())


def bytes_of(database: Path) -> dict[str, int]:
    """Return the bytes of each part of a database; a file counts where it fits first."""
    left = {each: each.stat().st_size for each in database.rglob("*") if each.is_file()}
    found = {}
    for name, pattern in PARTS.items():
        roots = list(database.glob(pattern))
        inside = [each for each in left if any(each.is_relative_to(root) for root in roots)]
        found[name] = sum(left.pop(each) for each in inside)
    return found | {"manifests and logs": sum(left.values())}


def stored(data: list[DataSet], database: Path) -> list[list[str]]:
    """Store the turns of conversations in one database; return their ids."""
    with aios_db.connect(database) as con:
        ids = [con.remember([{**turn, "agent_id": each.name} for turn in each.memories]) for each in data]
        con.optimize()
    return ids


def measured(
    data: list[DataSet],
    ids: list[list[str]],
    source: Path,
    way: dict[str, dict[str, Any]],
    work: Path,
    *,
    packed: bool,
) -> Measured:
    """Archive and compress a copy of a database and ask its questions."""
    database = work / "copy.aios"
    shutil.rmtree(database, ignore_errors=True)
    shutil.copytree(source, database)
    saved._FEW_COLD = 0 if packed else FEW_COLD
    config = {**way, "storage": NO_OLD_VERSIONS, "links": {"reinforce_recalled": False}}
    with aios_db.connect(database, config=config) as con:
        if way:
            con.update([{"memory_id": each, "tier": "archived"} for some in ids for each in some])
            con.compress()
        else:
            con.optimize()
    parts = bytes_of(database)
    began = time.process_time()
    with aios_db.connect(database, config=config) as con:
        opening_s = time.process_time() - began
        texts = [each.text for some in ids for each in con.get(some) if each is not None]
        found = [
            sum(own[place] in {hit.memory_id for hit in hits} for place in question.gold) / len(question.gold)
            for each, own in zip(data, ids, strict=True)
            for question in each.questions
            for hits in [con.recall(question.text, k=10, agent_id=each.name)]
        ]
    return Measured(parts, sum(found) / len(found), opening_s, texts)


def report(data: list[DataSet], work: Path) -> None:
    name = data[0].name if len(data) == 1 else f"{len(data)} conversations"
    source = work / "source.aios"
    shutil.rmtree(source, ignore_errors=True)
    ids = stored(data, source)
    turns = sum(map(len, ids))
    print(f"\n{name}: {turns} turns, {sum(len(each.questions) for each in data)} questions")
    print("| way | bytes a turn | times | times texts and vectors | recall@10 | opening s |", end="")
    print(*PARTS, "manifests and logs", sep=" | ", end=" |\n|" + " --- |" * (7 + len(PARTS)) + "\n")
    base: Measured | None = None
    for way, config in WAYS.items():
        found = measured(data, ids, source, config, work, packed=way.endswith("packed"))
        base = base or found
        assert found.texts == base.texts, "the texts are others"
        raw = sum(len(text.encode()) for text in found.texts) + 4 * 384 * turns
        print(
            f"| {way} | {found.bytes / turns:.0f} | {base.bytes / found.bytes:.2f} | {raw / found.bytes:.2f} "
            f"| {found.recall:.4f} ({found.recall / base.recall:.4f}) | {found.opening_s:.2f} |",
            *(f"{each / turns:.1f}" for each in found.parts.values()),
            sep=" | ",
            end=" |\n",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--path", type=Path, required=True, help="locomo10.json, or a folder with it")
    parser.add_argument("--conversations", nargs="*", help="only these, by name")
    given = parser.parse_args()
    names = given.conversations
    chosen = [each for each in locomo(given.path) if not names or each.name in names]
    with tempfile.TemporaryDirectory() as work:
        for each in chosen:
            report([each], Path(work))
        if len(chosen) > 1:
            report(chosen, Path(work))


if __name__ == "__main__":
    main()
