"""What an execution of a retrieval query costs, by how its parameters are given.

    python bench/bench_plans.py

Each query is the user's own SQL, executed with two sets of values in turns, after three executions that do
not count. Processor time per execution, so that other work on the machine counts little; queries take turns
in each round, and the median over rounds is printed, with the ratio to the same query with its values written
into its text. Vectors and words are made; embedding is not part of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import aios_db

DIMENSION = 384
TWO = ["tea word1", "tea word2"]
SELECT = "SELECT memory_id, score FROM "
QUERIES: dict[str, tuple[str, list[list[Any]]]] = {
    "written out": ("keyword_search('tea word1', 5, session_id := 's1')", [[], []]),
    "(?, 5)": ("keyword_search(?, 5)", [[words] for words in TWO]),
    "(?, ?)": ("keyword_search(?, ?)", [[words, 5] for words in TWO]),
    "session_id := ?": ("keyword_search(?, 5, session_id := ?)", [[words, "s1"] for words in TWO]),
    "session_id := [?]": ("keyword_search(?, 5, session_id := ?)", [[words, ["s1", "s2"]] for words in TWO]),
    "session_id := NULL": ("keyword_search(?, 5, session_id := ?)", [[words, None] for words in TWO]),
    "since := ?": ("keyword_search(?, 5, since := ?)", [[words, datetime(2020, 1, 1)] for words in TWO]),
    "min_importance := ?": ("keyword_search(?, 5, min_importance := ?)", [[words, 0.0] for words in TWO]),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000, help="memories")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of all queries")
    parser.add_argument("--json", type=Path, help="write the results here as JSON")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    vectors = random.standard_normal((options.rows, DIMENSION), np.float32)
    rows = pa.table(
        {
            "text": [f"word{number % 50} tea {number}" for number in range(options.rows)],
            "session_id": [f"s{number % 5}" for number in range(options.rows)],
            "text_embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIMENSION),
        }
    )
    taken: dict[str, list[float]] = {name: [] for name in QUERIES}
    with tempfile.TemporaryDirectory() as work, aios_db.connect(Path(work) / "plans.aios") as con:
        con.remember(rows)
        cursor = con.cursor()
        for number in range(options.rounds + 3):
            for name, (call, sets) in QUERIES.items():
                start = time.process_time()
                cursor.execute(SELECT + call, sets[number % 2] or None).fetchall()
                if number >= 3:
                    taken[name].append(1e3 * (time.process_time() - start))
    medians = {name: float(np.median(each)) for name, each in taken.items()}
    print(f"aios_db {aios_db.__version__}, duckdb {duckdb.__version__}; {options.rows} rows")
    print(f"{'parameters':22}{'ms':>8}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:22}{median:8.2f}{median / medians['written out']:8.2f}")
    if options.json:
        options.json.write_text(json.dumps({"duckdb": duckdb.__version__, "ms": medians}), encoding="utf-8")


if __name__ == "__main__":
    main()
