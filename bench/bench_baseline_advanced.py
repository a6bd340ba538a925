"""The benchmark of `aios bench` from a checkout: the same options, the same report.

    python bench/bench_baseline_advanced.py --suite encode --compare standard,compile,openvino,int8
    python bench/bench_baseline_advanced.py --json out.json --html out.html --baseline last.json

Operators (matmul, attention, layer norm, dequantize, scan, top-k, MaxSim), texts encoded by each back end and
precision, recall, writes, consolidation and exchanges of a card, in turns within one run: medians, spread,
ratios, accuracy beside each speed, memory, and on what it ran.
"""

from __future__ import annotations

import sys

from aios_db.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
