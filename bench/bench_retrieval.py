"""Retrieval quality through SQL: recall@2/5/10 and nDCG@10 of the parts of `recall`, with its defaults.

    python bench/bench_retrieval.py --format locomo --path locomo10.json
    python bench/bench_retrieval.py --format hipporag --path folder_with_X.json_and_X_corpus.json
    python bench/bench_retrieval.py --format beir --path folder_with_corpus_queries_qrels

What is stored is what a user would store: for LoCoMo (Maharana et al., 2024) one database a conversation and
one memory a turn, with the speaker's name and the image's caption in the text, session, speaker and time;
for sets of passages one database a corpus and one memory a passage, title and text. Averages over LoCoMo's
questions are taken in each of the five categories, then over the categories.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import lance

import aios_db

METHODS: dict[str, dict[str, float]] = {
    "vector only": {"keyword_weight": 0.0, "graph_weight": 0.0},
    "keyword only": {"vector_weight": 0.0, "graph_weight": 0.0},
    "fused": {"graph_weight": 0.0},
    "fused and graph": {},
}
CUTS = (2, 5, 10)
MEASURES = (*(f"recall@{cut}" for cut in CUTS), "nDCG@10")


@dataclass(frozen=True)
class Question:
    """A question, the positions of the memories that answer it, and the group it is averaged in."""

    text: str
    gold: frozenset[int]
    category: str


@dataclass(frozen=True)
class DataSet:
    """Memories of one database and the questions asked of it."""

    name: str
    memories: list[dict[str, Any]]
    questions: list[Question]


def locomo(path: Path) -> Iterator[DataSet]:
    file = path if path.is_file() else next(iter(sorted(path.glob("*.json"))))
    for sample in json.loads(file.read_text(encoding="utf-8")):
        memories, place = [], {}
        conversation = sample["conversation"]
        sessions = [key for key, turns in conversation.items() if isinstance(turns, list)]
        for session in sorted(sessions, key=lambda key: int(key.split("_")[1])):
            stamp = conversation[f"{session}_date_time"]
            when = datetime.strptime(stamp, "%I:%M %p on %d %B, %Y").replace(tzinfo=timezone.utc)
            for turn in conversation[session]:
                caption = f" [shares image: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
                place[turn["dia_id"]] = len(memories)
                memories.append(
                    {
                        "text": f"{turn['speaker']}: {turn['text']}{caption}",
                        "session_id": session,
                        "speaker": turn["speaker"],
                        "occurred_at": when,
                    }
                )
        questions = []
        for item in sample["qa"]:
            named = re.findall(r"D\d+:\d+", " ".join(item.get("evidence") or ()))
            gold = frozenset(place[name] for name in named if name in place)
            if gold:
                questions.append(Question(item["question"], gold, str(item["category"])))
        yield DataSet(sample.get("sample_id", f"conversation of {len(memories)}"), memories, questions)


def hipporag(path: Path) -> Iterator[DataSet]:
    for file in [path] if path.is_file() else sorted(path.glob("*.json")):
        corpus_file = file.with_name(f"{file.stem}_corpus.json")
        if not corpus_file.exists():
            continue
        corpus = json.loads(corpus_file.read_text(encoding="utf-8"))
        if isinstance(corpus, dict):
            joined = {title: " ".join(map(str.strip, sentences)) for title, sentences in corpus.items()}
            corpus = [{"title": title, "text": text} for title, text in joined.items()]
        memories = [{"title": passage["title"], "text": passage["text"]} for passage in corpus]
        by_title: dict[str, set[int]] = defaultdict(set)
        for i, memory in enumerate(memories):
            by_title[memory["title"]].add(i)
        by_passage = {(memory["title"], memory["text"]): i for i, memory in enumerate(memories)}
        questions = []
        for item in json.loads(file.read_text(encoding="utf-8")):
            if "supporting_facts" in item:
                gold = frozenset(i for title, _ in item["supporting_facts"] for i in by_title[title])
            else:
                passages = [each for each in item["paragraphs"] if each["is_supporting"]]
                keys = [(each["title"], each.get("paragraph_text") or each["text"]) for each in passages]
                gold = frozenset(by_passage[key] for key in keys if key in by_passage)
            if gold:
                questions.append(Question(item["question"], gold, "all"))
        yield DataSet(file.stem, memories, questions)


def beir(path: Path) -> Iterator[DataSet]:
    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (path / name).read_text(encoding="utf-8").splitlines() if line]

    corpus = lines("corpus.jsonl")
    place = {passage["_id"]: i for i, passage in enumerate(corpus)}
    memories = [{"title": passage.get("title") or None, "text": passage["text"]} for passage in corpus]
    relevant = defaultdict(set)
    with (path / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0 and row["corpus-id"] in place:
                relevant[row["query-id"]].add(place[row["corpus-id"]])
    asked = [query for query in lines("queries.jsonl") if relevant[query["_id"]]]
    questions = [Question(query["text"], frozenset(relevant[query["_id"]]), "all") for query in asked]
    yield DataSet(path.name, memories, questions)


FORMATS = {"locomo": locomo, "hipporag": hipporag, "beir": beir}


@dataclass(frozen=True)
class Answer:
    """How one method did on one question."""

    method: str
    category: str
    scores: dict[str, float]
    seconds: float


def measure(found: list[str], gold: set[str]) -> dict[str, float]:
    hits = [name in gold for name in found]
    recalls = [sum(hits[:cut]) / len(gold) for cut in CUTS]
    gain = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(hits[:10]) if hit)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(gold))))
    return dict(zip(MEASURES, [*recalls, gain / ideal], strict=True))


def warm_up(connection: aios_db.Connection, data: DataSet, recalls: int) -> None:
    """Recall what is asked, over and over, and write down all that this counts and links."""
    for number in range(recalls):
        connection.recall(data.questions[number % len(data.questions)].text, k=10)
    connection.store.optimize()


def ask(data: DataSet, methods: dict[str, dict[str, float]], recalls: int) -> Iterator[Answer]:
    with (
        tempfile.TemporaryDirectory() as directory,
        aios_db.connect(Path(directory) / "memory.aios") as connection,
    ):
        ids = connection.remember(data.memories)
        warm_up(connection, data, recalls)
        for question in data.questions:
            gold = {ids[i] for i in question.gold}
            for method, weights in methods.items():
                start = time.perf_counter()
                found = [hit.memory_id for hit in connection.recall(question.text, k=10, **weights)]
                yield Answer(method, question.category, measure(found, gold), time.perf_counter() - start)


def average(answers: list[Answer]) -> dict[str, float]:
    """Average over the questions of each category, then over the categories."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.category].append(answer)
    means = [
        {name: sum(each.scores[name] for each in group) / len(group) for name in MEASURES}
        for group in groups.values()
    ]
    return {name: sum(each[name] for each in means) / len(means) for name in MEASURES}


def show(label: str, answers: list[Answer]) -> dict[str, float]:
    row = average(answers)
    took = sorted(answer.seconds for answer in answers)[len(answers) // 2]
    cells = "".join(f"{math.floor(row[name] * 1e4) / 1e4:11.4f}" for name in MEASURES)
    print(f"{label:24}{cells}{1000 * took:11.1f}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="layout of the data")
    parser.add_argument("--path", type=Path, required=True, help="file or folder of the data")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="what is measured"
    )
    parser.add_argument(
        "--warm-recalls", type=int, default=0, help="recalls of its questions in each database beforehand"
    )
    parser.add_argument("--json", type=Path, help="write the results here as JSON")
    options = parser.parse_args()
    sets = list(FORMATS[options.format](options.path))
    if not sets:
        parser.error(f"{options.path} holds no data of format {options.format}")
    about = {
        "format": options.format,
        "data": options.path.name,
        "databases": len(sets),
        "memories": sum(len(data.memories) for data in sets),
        "questions": sum(len(data.questions) for data in sets),
        "recalls before": options.warm_recalls * len(sets),
        "versions": {
            "aios_db": aios_db.__version__,
            "duckdb": duckdb.__version__,
            "lance": lance.__version__,
        },
    }
    print("; ".join(f"{key}: {value}" for key, value in about.items()))
    print(f"{'':24}" + "".join(f"{name:>11}" for name in (*MEASURES, "ms/query")))
    methods = {name: METHODS[name] for name in options.methods}
    answers = {data.name: list(ask(data, methods, options.warm_recalls)) for data in sets}
    every = [answer for group in answers.values() for answer in group]
    results = {method: show(method, [a for a in every if a.method == method]) for method in methods}
    best = [answer for answer in every if answer.method == "fused and graph"]
    if len(categories := sorted({answer.category for answer in best})) > 1:
        for category in categories:
            show(f"  category {category}", [answer for answer in best if answer.category == category])
    if best and len(sets) > 1:
        for name, group in answers.items():
            show(f"  {name}", [answer for answer in group if answer.method == "fused and graph"])
    if options.json:
        options.json.write_text(json.dumps({**about, "results": results}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
