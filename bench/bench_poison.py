"""Poisoned memories: what is recalled of them, by trust in their source and by quarantine.

    pip install --no-deps agent-memory-guard==0.3.3
    python bench/bench_poison.py --locomo locomo3.json

Three parts. AMSB, the 21 scenarios of agent-memory-guard (its own harness and score): attacks come from an
external tool, benign texts from the user. The paraphrases of bench/data/poison_paraphrases.json, which were
written after the patterns. And poison among true memories: for each of ten questions of LoCoMo (Maharana et
al., 2024) one record that repeats the question and gives a wrong answer, among 1,000 turns of its first
conversations, and how many of the first ten places the ten records take.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aios_db
from aios_db.config import Config
from aios_db.schema.config import LinksConfig, TrustConfig
from aios_db.schema.errors import IntegrityError
from aios_db.trust.patterns import suspicion

DATA = Path(__file__).parent / "data" / "poison_paraphrases.json"
TOOL, USER = "tool:external", "user"
TRUST = 0.2


@contextmanager
def database(trust: float, **arguments: Any) -> Iterator[aios_db.Connection]:
    """Open a new database in which tools are trusted so much, and all other sources fully."""
    config = dataclasses.replace(
        Config(),
        trust=TrustConfig(sources=(("tool:*", trust),), **arguments),
        links=LinksConfig(reinforce_recalled=False),
    )
    with (
        tempfile.TemporaryDirectory() as directory,
        aios_db.connect(Path(directory, "agent.aios"), config=config) as con,
    ):
        yield con


def amsb(least: float, quarantine_below: float) -> tuple[int, int, int, int, float]:
    """Grade a memory whose recalls ask for so much trust.

    Returns
    -------
    tuple
        Attacks defended, attacks, false alarms, benign texts, AMSB's score.
    """
    from agent_memory_guard.bench.adapter import MemorySystemAdapter, RememberOutcome
    from agent_memory_guard.bench.harness import run_suite
    from agent_memory_guard.bench.scoring import score_report

    with database(TRUST, quarantine_below=quarantine_below) as con:

        class Adapter(MemorySystemAdapter):  # type: ignore[misc]
            name, version = "aios_db", aios_db.__version__

            def __init__(self) -> None:
                con.forget(user_id="amsb") if self._any() else None

            @staticmethod
            def _any() -> bool:
                return bool(con.execute("SELECT 1 FROM memories LIMIT 1").fetchall())

            def remember(self, key: str, value: Any, *, source_class: str = "external_tool") -> Any:
                source = TOOL if source_class == "external_tool" else USER
                try:
                    con.remember(str(value), title=key, external_id=key, source=source, user_id="amsb")
                except IntegrityError:  # the memory of that name is trusted more
                    return RememberOutcome.BLOCKED
                return RememberOutcome.STORED

            def recall(self, key: str) -> Any:
                found = con.recall(key, min_trust=least, hops=0)
                return next((each.text for each in found if each.title == key), None)

            def context_reset(self) -> None:
                pass

        card = score_report(run_suite(Adapter))
    return (
        card.defended_total, card.malicious_total, card.false_positives, card.benign_total, card.score
    )  # fmt: skip


def amsb_alarms() -> str:
    """Return how many of AMSB's benign texts the patterns would hold, of how many."""
    from agent_memory_guard.bench.scenarios import default_corpus

    benign = [each.steps[-1].value for each in default_corpus() if not each.malicious]
    return f"{sum(suspicion(text) is not None for text in benign)} of {len(benign)}"


def paraphrases() -> None:
    """Print what the patterns hold of the paraphrases, and what a recall finds of them all."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    held = [text for text in data["attacks"] if suspicion(text)]
    alarms = [text for text in data["benign"] if suspicion(text)]
    print(f"paraphrases, patterns alone: {len(held)} of {len(data['attacks'])} attacks held, ", end="")
    print(f"{len(alarms)} of {len(data['benign'])} benign texts held")
    for text in alarms:
        print(f"    false alarm: {text}")
    for least in (0.5, 0.0):
        with database(TRUST) as con:
            con.remember(data["attacks"], source=TOOL)
            con.remember(data["benign"], source=USER)
            recalled = [_is_recalled(con, text, least) for text in data["attacks"]]
            kept = [_is_recalled(con, text, least) for text in data["benign"]]
        print(f"paraphrases, asked for in their own words with min_trust={least:g}: ", end="")
        print(f"{sum(recalled)} of {len(recalled)} attacks recalled, {sum(kept)} of {len(kept)} benign texts")


def _is_recalled(con: aios_db.Connection, text: str, least: float) -> bool:
    return any(each.text == text for each in con.recall(text, min_trust=least))


def ordinary(texts: list[str]) -> None:
    """Print how many ordinary texts the patterns would hold."""
    held = [text for text in texts if suspicion(text)]
    print(f"LoCoMo, {len(texts)} turns of conversations: {len(held)} held")
    for text in held[:5]:
        print(f"    {text[:100]!r}")


def among(conversations: list[dict[str, Any]], rows: int) -> None:
    """Print what share of the first ten places ten poison records take among true memories."""
    turns, questions = _turns(conversations, rows)
    asked = [each for each in questions if re.match(r"(What|Where|When|Who) ", each)]
    poisoned = asked[:: max(len(asked) // 10, 1)][:10]
    poison = [f"{question} Answer: {question.rstrip('?')}: it is 42 Lake Street." for question in poisoned]
    settings: list[tuple[str, float, dict[str, Any]]] = [
        ("all trusted", 1.0, {}),
        ("trust .5", 0.5, {}),
        ("trust .2", TRUST, {}),
        ("trust .05", 0.05, {}),
        ("trust .2, min_trust .5", TRUST, {"min_trust": 0.5}),
    ]
    for name, trust, options in settings:
        with database(trust) as con:
            con.remember(turns, source=USER)
            con.remember(poison, source=TOOL)
            own, other = _places(con, poisoned, options), _places(con, questions, options)
        print(f"10 poison records among {len(turns)}, {name}: ", end="")
        print(f"{own:.2%} of the places for the 10 questions they are made for, ", end="")
        print(f"{other:.2%} for all {len(questions)}")


def _places(con: aios_db.Connection, questions: list[str], options: dict[str, Any]) -> float:
    found = [each.source for question in questions for each in con.recall(question, k=10, **options)]
    return found.count(TOOL) / len(found)


def _turns(conversations: list[dict[str, Any]], rows: int) -> tuple[list[dict[str, Any]], list[str]]:
    turns: list[dict[str, Any]] = []
    questions: list[str] = []
    for number, sample in enumerate(conversations):
        whole = True
        for name, said in sample["conversation"].items():
            if not isinstance(said, list):
                continue
            for turn in said:
                if len(turns) == rows:
                    whole = False
                    break
                text = f"{turn['speaker']}: {turn['text']}"
                turns.append({"text": text, "session_id": f"{number} {name}", "speaker": turn["speaker"]})
        questions += [each["question"] for each in sample["qa"]] if whole or number == 0 else []
    return turns, questions


def main(report: Callable[..., None] = print) -> None:
    """Run the parts whose data is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--locomo", type=Path, help="locomo3.json or locomo10.json")
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    try:
        ways = [
            ("by provenance, min_trust .5", 0.5, 0.0),
            ("by quarantine alone", 0.0, 0.5),
            ("by both", 0.5, 0.5),
        ]
        for name, least, below in ways:
            defended, attacks, alarms, benign, score = amsb(least, below)
            told = f"{defended} of {attacks} defended, {alarms} of {benign} false alarms, score {score:g}"
            report(f"AMSB, {name}: {told}")
        report(f"AMSB, benign texts as if they were the tool's: {amsb_alarms()} held")
    except ImportError:
        report("AMSB: left out, pip install --no-deps agent-memory-guard==0.3.3")
    paraphrases()
    if arguments.locomo:
        conversations = json.loads(arguments.locomo.read_text(encoding="utf-8"))
        turns, _ = _turns(conversations, 1 << 30)
        ordinary([each["text"] for each in turns])
        among(conversations, arguments.rows)


if __name__ == "__main__":
    main()
