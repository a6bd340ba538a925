"""Write calibration texts for a text model from public data sets, and texts held out of the same sets.

    python bench/calibration_texts.py ../shared/data calibration.txt held_out.txt

A text a line: sentences of WikiText-2, HotpotQA's passages and their sentences, LoCoMo's turns, Flickr8k's
captions. The last tenth of every set's documents (paragraphs, passages, sessions, pictures) is held out:
recipes are chosen on it, never on the texts that results are reported on.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

HELD_OUT = 0.1
FEWEST_WORDS = 4
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z\"“'(])")


def wikitext(path: Path) -> Iterator[list[str]]:
    """Yield the sentences of each paragraph, with the data set's spaces and @-signs taken out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.strip().startswith("="):
            plain = re.sub(r" @(.)@ ", r"\1", line.strip())
            plain = re.sub(r" ([,.;:!?)'])", r"\1", plain).replace("( ", "(").replace("<unk>", "it")
            yield _SENTENCE_END.split(plain)


def hotpotqa(path: Path) -> Iterator[list[str]]:
    """Yield each passage with its title, and its sentences."""
    for title, sentences in json.loads(path.read_text(encoding="utf-8")).items():
        passage = "".join(sentences).strip()
        yield [f"{title} {passage}", *(sentence.strip() for sentence in sentences)]


def locomo(path: Path) -> Iterator[list[str]]:
    """Yield the turns of each session as memories hold them, and without their speaker."""
    for sample in json.loads(path.read_text(encoding="utf-8")):
        for session in sample["conversation"].values():
            if isinstance(session, list):
                yield [
                    text for turn in session for text in (f"{turn['speaker']}: {turn['text']}", turn["text"])
                ]


def flickr8k(path: Path) -> Iterator[list[str]]:
    """Yield the captions of each picture."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)["captions"]


def split(documents: Iterable[list[str]]) -> tuple[list[str], list[str]]:
    """Return the texts of the first documents and those of the last tenth."""
    every = list(documents)
    border = round(len(every) * (1 - HELD_OUT))
    return texts(every[:border]), texts(every[border:])


def texts(documents: Sequence[list[str]]) -> list[str]:
    """Return the distinct texts of some length, each on one line."""
    flat = (" ".join(text.split()) for document in documents for text in document)
    return [text for text in dict.fromkeys(flat) if len(text.split()) >= FEWEST_WORDS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of wikitext-2, hotpotqa_dev, locomo_dev, …")
    parser.add_argument("calibration", type=Path)
    parser.add_argument("held_out", type=Path)
    arguments = parser.parse_args()
    sets = {
        "wikitext-2": wikitext(arguments.data / "wikitext-2/valid.txt"),
        "hotpotqa": hotpotqa(arguments.data / "hotpotqa_dev/hotpotqa_train_corpus.json"),
        "locomo": locomo(arguments.data / "locomo_dev/locomo3.json"),
        "flickr8k": flickr8k(arguments.data / "flickr8k_trimodal_dev/captions.jsonl"),
    }
    calibration, held_out = [], []
    for name, documents in sets.items():
        kept, aside = split(documents)
        print(
            f"{name}: {len(kept)} texts, {len(aside)} held out, {sum(map(len, kept)) / 1e6:.2f} M characters"
        )
        calibration += kept
        held_out += aside
    seen = set(calibration)
    arguments.calibration.write_text("\n".join(calibration) + "\n", encoding="utf-8")
    held_out = [text for text in held_out if text not in seen]
    arguments.held_out.write_text("\n".join(held_out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
