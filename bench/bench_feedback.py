"""How far behind sparse changes leave a head: the codec and the rules alone, without training.

Agents make changes of two parts in each round: one that all have in common, and noise of their own, as large
as AdamW's first steps make it: every number moves by about the same. What arrives at the head of the common
part is counted in rounds; full precision brings one round per round. It takes a minute, and tells densities,
bits and decays apart before anybody trains (`bench_federation.py`).

    python bench/bench_feedback.py --rounds 16
"""

from __future__ import annotations

import argparse
import logging

import numpy as np

from aios_db.federation.feedback import Feedback
from aios_db.federation.robust import judge
from aios_db.federation.sparse import Sparsity, encode

POISON = -5.0
WAYS = {
    "3 % up, 5 % down, 2 bits, decay .95": (Sparsity(0.03, 2), Sparsity(0.05, 2), 0.95),
    "3 % up, 5 % down, 2 bits": (Sparsity(0.03, 2), Sparsity(0.05, 2), 1.0),
    "5 % up, 3 % down, 2 bits": (Sparsity(0.05, 2), Sparsity(0.03, 2), 1.0),
    "8 % up and down, 1 bit, decay .95": (Sparsity(0.08, 1), Sparsity(0.08, 1), 0.95),
    "8 % up and down, 1 bit": (Sparsity(0.08, 1), Sparsity(0.08, 1), 1.0),
    "2 % up and down, 1 bit": (Sparsity(0.02, 1), Sparsity(0.02, 1), 1.0),
}


def owing(feedback: Feedback, change: np.ndarray, sparsity: Sparsity) -> tuple[np.ndarray, int]:
    """Return what is sent of a change and of what is owed, and its bytes; the rest is owed."""
    wanted = change.astype(np.float32)
    if feedback.residual is not None:
        wanted = wanted + np.float32(feedback.decay) * feedback.residual
    body, sent = encode(wanted, sparsity)
    feedback.residual = wanted - sent
    return sent, len(body)


def simulate(
    options: argparse.Namespace, up: Sparsity, down: Sparsity, decay: float
) -> tuple[list[float], float, int, tuple[float, float]]:
    """Return the rounds that have arrived, bytes per round and number, the honest left out, and shares.

    These are of the squares of a change: what is sent in the first round of one agent's, and of the mean.
    """
    random = np.random.default_rng(0)
    common = random.normal(size=options.numbers)
    common *= np.sqrt(options.numbers * options.common / 2) / np.linalg.norm(common)
    samples = [round(1000 * 4.0 ** -(n / max(1, options.agents - 1))) for n in range(options.agents)]
    agents, hub = [Feedback(decay) for _ in samples], Feedback(decay)
    head, arrived, size, left_out, shares = np.zeros(options.numbers), list[float](), 0, 0, (0.0, 0.0)
    for _ in range(options.rounds):
        changes = []
        for number, agent in enumerate(agents):
            change = np.sin(random.uniform(0, 2 * np.pi, options.numbers)) + common
            sent, length = owing(agent, change * (POISON if number < options.poisoners else 1.0), up)
            changes.append(sent)
            size += length
        made = judge(np.stack(changes), samples, options.rule)
        left_out += int((made.scales[options.poisoners :] == 0).sum())
        change = made.change if made.change is not None else (made.shares * made.scales) @ np.stack(changes)
        sent, length = owing(hub, change, down)
        shares = shares if arrived else (share(changes[-1], agents[-1]), share(sent, hub))
        head, size = head + sent, size + length * len(samples)
        arrived.append(float(head @ common / (common @ common)))
    return arrived, size / options.rounds / options.numbers / len(samples), left_out, shares


def share(sent: np.ndarray, feedback: Feedback) -> float:
    """Return how much of the squares of what was wanted was sent."""
    owed = feedback.residual
    return 0.0 if owed is None else float(1 - np.square(owed).sum() / np.square(sent + owed).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--numbers", type=int, default=49_152, help="of a card")
    parser.add_argument(
        "--common", type=float, default=0.04, help="share of a change that all have in common"
    )
    parser.add_argument("--rule", default="auto")
    parser.add_argument("--poisoners", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(vars(options))
    for name, way in WAYS.items():
        arrived, size, left_out, shares = simulate(options, *way)
        curve = ", ".join(f"{n}: {arrived[n - 1]:.1f}" for n in range(2, options.rounds + 1, 2))
        print(
            f"{name}: {100 * (1 - size / 8):.2f} % fewer bytes than float32; "
            f"rounds that have arrived after {curve}; {left_out} honest changes left out; "
            f"of one change {shares[0]:.0%} is sent, of the mean {shares[1]:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
