"""What the check of a language model's principles lets pass, and what it refuses.

    python bench/bench_grounding.py --set report

True paraphrases, in English, German, French, Spanish and Chinese, and scrambled ones: a denial left out or
added, two names or numbers exchanged, a number, a name, a date or unit of another thing. Those should be
refused; and so are most of the paraphrases, which use other words for the same, since only a shorter form of
what a memory says is known to be true. What is refused is quoted instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from aios_db.lifecycle.grounding.checking import Evidence, ungrounded

PAIRS = Path(__file__).parents[1] / "tests/lifecycle"
sys.path.insert(0, str(PAIRS))
from scrambling import scrambled  # noqa: E402 - lies beside the test


@dataclass
class Count:
    """How many of some texts were refused."""

    texts: int = 0
    refused: int = 0


def evidence(pair: dict[str, Any]) -> list[Evidence]:
    return [
        Evidence(each["text"], each["speaker"], date.fromisoformat(each["said"])) for each in pair["sources"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--set", choices=["fit", "report"], default="report", dest="name")
    parser.add_argument("--show", action="store_true", help="print what was judged wrongly")
    given = parser.parse_args()
    pairs = json.loads((PAIRS / f"paraphrases_{given.name}.json").read_text("utf-8"))
    counts: dict[str, Count] = defaultdict(Count)
    for pair in pairs:
        sources = evidence(pair)
        texts, speakers = [each.text for each in sources], [each.speaker or "" for each in sources]
        tried = [("true", pair["paraphrase"]), *scrambled(pair["paraphrase"], texts, speakers)]
        for kind, text in tried:
            reasons = ungrounded(text, sources)
            groups = (kind, f"{kind} {pair['language']}") if kind == "true" else (kind, "scrambled")
            for group in groups:
                counts[group].texts += 1
                counts[group].refused += bool(reasons)
            if given.show and bool(reasons) == (kind == "true"):
                print(f"{kind}: {text} {reasons}")
    for name, count in sorted(counts.items()):
        print(f"{name}: {count.refused} of {count.texts} refused ({count.refused / count.texts:.3f})")


if __name__ == "__main__":
    main()
