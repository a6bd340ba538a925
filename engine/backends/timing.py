"""Which back end is faster, told so that what else the machine does has no say.

Wall time beside other work is a matter of luck: with a load of 8, fp32 took 352 ms and INT8 381, on the quiet
machine 176 and 55. Processor time does not count waiting, the least of many short rounds in turns is the one
that was disturbed least, and against the order that is known beforehand only a clear margin decides.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Mapping, Sequence

from aios_db.engine.backends.cpu_features import CpuFeatures, usable_cores
from aios_db.engine.backends.protocol import Arithmetic, Arrays, Runner

Candidate = tuple[str, Arithmetic]

ROUNDS = 9
HOPELESS = 4.0  # times as slow as the fastest, in two rounds: not timed again
MARGIN = 1.3  # times as fast as one that is expected to be faster: only then it is believed
WORTH_A_WARNING = 1.5  # times as fast as what is here
BUSY = 1.25  # runnable threads a core

# In the expected order, with the sentences per second of eager torch in fp32 being 1: 512 sentences on
# 2 cores of an AMD EPYC with VNNI and BF16 (MiniLM, batches sorted by length). IPEX, which is archived, and
# OpenVINO in fp32 were not measured and count as torch does.
EXPECTED: dict[Candidate, float] = {
    ("openvino", "int8"): 3.8,
    ("openvino", "bf16"): 2.35,
    ("ipex", "bf16"): 2.4,
    ("standard", "bf16"): 2.4,
    ("openvino", "fp32"): 1.0,
    ("ipex", "fp32"): 1.0,
    ("standard", "fp32"): 1.0,
}
_ORDER = {candidate: place for place, candidate in enumerate(EXPECTED)}


def processor_seconds(runners: Mapping[Candidate, Runner], check: Sequence[Arrays]) -> dict[Candidate, float]:
    """Return the least processor time of each runner over ``check``, in seconds of all its threads."""
    seconds: dict[Candidate, list[float]] = {candidate: [] for candidate in runners}
    for turn in range(ROUNDS + 1 if len(runners) > 1 else 1):  # the first one warms up
        best = min((min(times) for times in seconds.values() if times), default=math.inf)
        for candidate, runner in runners.items():
            if turn > 2 and min(seconds[candidate]) > HOPELESS * best:
                continue
            start = time.process_time()
            runner.run(check)
            seconds[candidate].append(time.process_time() - start)
    return {candidate: min(times) for candidate, times in seconds.items()}


def preferred(times: Mapping[Candidate, float]) -> Candidate:
    """Return the one to use: the first in the expected order that is within the margin of the fastest."""
    fastest = min(times.values())
    order = sorted(times, key=lambda each: (_ORDER.get(each, -1), times[each]))
    return next(each for each in order if times[each] <= MARGIN * fastest)


def expected_loss(
    name: str, found: Collection[Candidate], features: CpuFeatures, *, quantizable: bool
) -> float:
    """Return how many times as fast as the best of ``found`` the missing back end ``name`` may be."""
    usable = {"fp32"} | ({"bf16"} if features.has_bf16 else set())
    if features.has_int8 and quantizable:
        usable.add("int8")
    missing = [speed for (each, how), speed in EXPECTED.items() if each == name and how in usable]
    present = max((EXPECTED.get(each, 1.0) for each in found), default=1.0)
    return max(missing, default=1.0) / present


def is_busy() -> bool:
    """Whether more threads want to run on this machine than it has cores."""
    if not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > BUSY * max(os.cpu_count() or 1, usable_cores())
