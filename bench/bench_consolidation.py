"""What consolidation costs and gives recall, on LoCoMo (Maharana et al., 2024).

    AIOS_LINKS__REINFORCE_RECALLED=false python bench/bench_consolidation.py --path locomo10.json

One database a conversation, one memory a turn, all of it consolidated with the configured summariser (by
default the embedded one). Printed are the number of principles and of the turns that they are derived from,
and recall@10 and nDCG@10 before and after, averaged over the questions of each category, then over the
categories. Over one hop a turn counts as found, too, when a principle is returned that is derived from it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_retrieval import Answer, DataSet, average, locomo, measure

import aios_db


def asked(
    con: aios_db.Connection, data: DataSet, ids: list[str], sources: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Ask all questions; a principle that is returned stands for its ``sources``, too."""
    answers = []
    for question in data.questions:
        hits = [hit.memory_id for hit in con.recall(question.text, k=10)]
        found = [each for hit in hits for each in (hit, *sources.get(hit, ()))]
        gold = {ids[place] for place in question.gold}
        scores = measure(found, gold) | {"recall@10": len(gold & {*found}) / len(gold)}
        answers.append(Answer("recall", question.category, scores, 0.0))
    return average(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--path", type=Path, required=True, help="locomo10.json, or a folder with it")
    parser.add_argument("--conversations", nargs="*", help="only these, by name")
    given = parser.parse_args()
    print("conversation: principles of turns, recall@10 before, after, over one hop, nDCG@10 before, after")
    for data in locomo(given.path):
        if given.conversations and data.name not in given.conversations:
            continue
        with tempfile.TemporaryDirectory() as work, aios_db.connect(Path(work) / "a.aios") as con:
            ids = con.remember(data.memories)
            before = asked(con, data, ids, {})
            con.consolidate()
            made = con.execute("SELECT memory_id, derived_from FROM memories WHERE derived_from IS NOT NULL")
            sources: dict[str, list[str]] = dict(made.fetchall())
            after = asked(con, data, ids, {})
            hop = asked(con, data, ids, sources)
        turns = len({each for some in sources.values() for each in some})
        print(
            f"{data.name}: {len(sources)} of {turns}, "
            f"{before['recall@10']:.4f} {after['recall@10']:.4f} {hop['recall@10']:.4f}, "
            f"{before['nDCG@10']:.4f} {after['nDCG@10']:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
