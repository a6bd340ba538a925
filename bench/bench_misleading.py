"""What the check of a model's words and the search for changed facts make of texts meant to mislead them.

    python bench/bench_misleading.py [--show]

The answers and pairs in bench/data/misleading_*.json were written by somebody who had not seen the rules, to
find what they miss: opposites, who does what, people with one first name, units, modal verbs, languages. They
are no sample of what models write or people say. Tune nothing on them: for that there are development_*.json
and the first half of talk_changes.json, whose second half is only watched (bench/data/README.md).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import aios_db
from aios_db.lifecycle.grounding.checking import Evidence
from aios_db.lifecycle.llm.prompt import checked
from aios_db.lifecycle.llm.protocol import Unusable

DATA = Path(__file__).parent / "data"


def read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return found


def is_refused(answer: str, sources: list[Evidence]) -> bool:
    try:
        checked({"principle": answer, "sources": [*range(1, len(sources) + 1)]}, len(sources), sources)
    except Unusable:
        return True
    return False


def answers(name: str, *, show: bool) -> None:
    texts, refused = {"wrong": 0, "right": 0}, {"wrong": 0, "right": 0}
    for each in read(f"{name}_answers"):
        sources = [
            Evidence(source["text"], source["speaker"], date.fromisoformat(source["said"]))
            for source in each["sources"]
        ]
        for kind in texts:
            for answer in each[kind]:
                out = is_refused(answer, sources)
                texts[kind] += 1
                refused[kind] += out
                if show and out != (kind == "wrong"):
                    print(f"  {kind}, {'refused' if out else 'taken'}: {answer}")
    for kind, count in texts.items():
        print(f"{kind} answers: {refused[kind]} of {count} refused ({refused[kind] / count:.3f})")


def halves(pairs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the pairs at even and at odd places of each kind."""
    found: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    seen: Counter[tuple[bool, str]] = Counter()
    for pair in pairs:
        kind = pair["changed"], pair["kind"]
        found[seen[kind] % 2].append(pair)
        seen[kind] += 1
    return found


def changes(pairs: list[dict[str, Any]], *, show: bool) -> None:
    rows = [
        {"text": pair[when], "speaker": "Ada", "user_id": str(number), "session_id": when, "occurred_at": day}
        for number, pair in enumerate(pairs)
        for when, day in (("older", "2024-01-01"), ("newer", "2024-06-01"))
    ]
    with tempfile.TemporaryDirectory() as directory, aios_db.connect(Path(directory) / "a.aios") as con:
        con.remember(rows)
        con.supersede()
        noted = {
            int(user)
            for (user,) in con.execute(
                "SELECT user_id FROM memories WHERE superseded_by IS NOT NULL"
            ).fetchall()
        }
    for changed, what in ((True, "changed facts"), (False, "others")):
        some = [number for number, pair in enumerate(pairs) if pair["changed"] is changed]
        taken = sorted(noted.intersection(some))
        print(f"{what}: {len(taken)} of {len(some)} pairs noted as a change ({len(taken) / len(some):.3f})")
        if show:
            for number in taken if not changed else sorted({*some} - noted):
                print(f"  {pairs[number]['older']} / {pairs[number]['newer']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--show", action="store_true", help="print what was judged wrongly of development")
    given = parser.parse_args()
    for name in ("development", "misleading"):
        print(name)
        answers(name, show=given.show and name == "development")
        changes(read(f"{name}_changes"), show=given.show and name == "development")
    for half, pairs in zip(("tuned on", "watched"), halves(read("talk_changes")), strict=True):
        print(f"talk, {half}")
        changes(pairs, show=given.show and half == "tuned on")


if __name__ == "__main__":
    main()
