"""Make harder multi-hop sets out of HotpotQA's passages: many passages of one title, and homonyms.

    python bench/make_multihop_dev.py --path …/hotpotqa_dev --variant asked --out /tmp/asked
    python bench/bench_retrieval.py --format hipporag --path /tmp/asked

Sets made of paragraphs of whole articles (MuSiQue, 2WikiMultihop) differ from HotpotQA's introductions:
several passages have one title, the one that answers need not name it, and much else in the collection shares
the names of the question. Both variants split the passages into pieces, drop some mentions of a piece's own
title, and add, for each supporting passage, texts about other things under its name and under homonyms. With
--retitled, that share of the passages bears the name of something else that it mentions, so that the title of
what answers is often not what the other passage names.

asked
    HotpotQA's own questions.
chains
    Questions of 2 to 4 hops along the titles that passages mention, which name the first passage and only
    the kind of the others: "When was the film director linked to … born?"

The same folder and seed always make the same files. Nothing of them belongs into a repository.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aios_db.search.phrases import title_keys

_PARENTHESIS = re.compile(r"\s*\([^)]*\)\s*$")
_CLASS = re.compile(
    r"\b(?:is|was|are|were) (?:an? |the |one of the )((?:[\w-]+ ){0,4}?[\w-]+)"
    r"(?=[,.;]| \w+ed\b| in | of | from | by | who | that | which | and |$)"
)
_NAME = re.compile(r"[A-Z][\w'-]+(?: [A-Z][\w'-]+)+")
_NEEDS = {
    r"\bborn\b": "When was {} born?",
    r"\bdied\b": "When did {} die?",
    r"\b(?:founded|established|formed)\b": "When was {} founded?",
    r"\breleased\b": "In which year was {} released?",
    r"\bpopulation\b": "What is the population of {}?",
    r"\b(?:located|situated)\b": "Where is {} located?",
    r"\b(?:won|awarded)\b": "What did {} win?",
    r"\bdirected by\b": "Who directed {}?",
    r"\b(?:written|composed) by\b": "Who wrote {}?",
    r"\b(?:married|wife|husband)\b": "Who is the spouse of {}?",
    r"\b(?:son|daughter) of\b": "Who is a parent of {}?",
    r"\b(?:plays|played) for\b": "Which team did {} play for?",
    r"\bpublished\b": "Who published {}?",
    r"\b(?:county|state|province|district)\b": "Which region is {} in?",
}
_HOMONYMS = ("film", "album", "song", "band", "village", "TV series", "novel", "footballer")


@dataclass(frozen=True)
class Piece:
    """Some sentences of a passage; ``first`` is the place of the first one in it."""

    title: str
    text: str
    first: int
    count: int


@dataclass
class Made:
    """A collection of passages and the questions about it, each with the places of its answers."""

    passages: list[Piece] = field(default_factory=list)
    questions: list[tuple[str, list[int]]] = field(default_factory=list)


def plain(title: str) -> str:
    """Return a title without the parenthesis at its end."""
    return _PARENTHESIS.sub("", title)


def split(title: str, sentences: list[str], random_: random.Random) -> Iterator[Piece]:
    """Yield pieces of 2 or 3 sentences; one that does not open the passage loses most of its own name."""
    start = 0
    while start < len(sentences):
        count = random_.choice((2, 3)) if len(sentences) - start > 3 else len(sentences) - start
        text = " ".join(sentence.strip() for sentence in sentences[start : start + count])
        if start and random_.random() < 0.7:
            text = re.sub(re.escape(plain(title)), "it", text)
        if text.strip():
            yield Piece(title, text, start, count)
        start += count


def distractors(gold: str, pieces: list[Piece], count: int, random_: random.Random) -> Iterator[Piece]:
    """Yield texts about other things that bear the name of ``gold``: of one title with it, and homonyms."""
    name = plain(gold)
    fit = [each for each in pieces if plain(each.title) in each.text and plain(each.title) != name]
    for number, other in enumerate(random_.sample(fit, count)):
        title = gold if number % 2 == 0 else f"{name} ({random_.choice(_HOMONYMS)})"
        yield Piece(title, other.text.replace(plain(other.title), name), 0, 0)


def asked(folder: Path, seed: int, count: int) -> Made:
    """Return HotpotQA's questions over pieces and distractors."""
    questions, made, random_ = _questions(folder), Made(), random.Random(seed)
    for title, sentences in _corpus(folder).items():
        made.passages += split(title, sentences, random_)
    places = _by_title(made.passages)
    for item in questions:
        gold = [
            place
            for title, number in item["supporting_facts"]
            for place in places[title]
            if made.passages[place].first <= number < made.passages[place].first + made.passages[place].count
        ]
        made.questions.append((item["question"], sorted(set(gold))))
    _add_distractors(made, count, random_)
    return made


def chains(folder: Path, seed: int, count: int, questions: int = 150) -> Made:
    """Return questions along chains of mentioned titles, over pieces and distractors."""
    made, random_ = Made(), random.Random(seed)
    corpus = _corpus(folder)
    for title, sentences in corpus.items():
        made.passages += split(title, sentences, random_)
    places = _by_title(made.passages)
    kinds = {title: found for title, sentences in corpus.items() if (found := _kind(sentences[0]))}
    mentioned = _mentions(made.passages, kinds)
    starts = [place for place, titles in mentioned.items() if titles]
    used: set[int] = set()  # an answer or a start is in one question only
    for _ in range(200 * questions):
        if len(made.questions) == questions:
            break
        chain = [random_.choice(starts)]
        titles = [made.passages[chain[0]].title]
        for _ in range(random_.choice((1, 1, 2, 3))):
            onward = [title for title in mentioned[chain[-1]] if title not in titles]
            if not onward:
                break
            titles.append(random_.choice(onward))
            chain.append(random_.choice(places[titles[-1]]))
        needs = [text for found, text in _NEEDS.items() if re.search(found, made.passages[chain[-1]].text)]
        ends = {chain[0], chain[-1]}
        if len(chain) > 1 and needs and used.isdisjoint(ends):
            used |= ends
            name = plain(titles[0])
            for title in titles[1:]:
                link = random_.choice(("linked to", "of", "associated with", "behind"))
                name = f"the {kinds[title]} {link} {name}"
            made.questions.append((random_.choice(needs).format(name), sorted(chain)))
    _add_distractors(made, count, random_)
    return made


def _add_distractors(made: Made, count: int, random_: random.Random) -> None:
    pieces = list(made.passages)
    for title in dict.fromkeys(pieces[place].title for _, gold in made.questions for place in gold):
        made.passages += distractors(title, pieces, count, random_)


def retitle(made: Made, share: float, random_: random.Random) -> None:
    """Give a share of the passages the name of something else that they mention as their title."""
    for place, piece in enumerate(made.passages):
        names = dict.fromkeys(_NAME.findall(piece.text))
        others = [name for name in names if name not in piece.title and piece.title not in name]
        if others and random_.random() < share:
            made.passages[place] = replace(piece, title=random_.choice(others))


def _kind(sentence: str) -> str | None:
    match = _CLASS.search(sentence)
    return " ".join(match[1].split()[-2:]).lower() if match else None


def _mentions(passages: list[Piece], kinds: dict[str, str]) -> dict[int, list[str]]:
    """Return the other titles that each passage mentions, of those whose kind is known."""
    by_key: dict[str, set[str]] = defaultdict(set)
    for title in kinds:
        for key in title_keys(title):
            by_key[key].add(title)
    found = {}
    for place, piece in enumerate(passages):
        words = re.findall(r"\w+", piece.text.lower())
        runs = {" ".join(words[i : i + n]) for i in range(len(words)) for n in range(1, 7)}
        titles = sorted({title for run in runs & by_key.keys() for title in by_key[run]} - {piece.title})
        found[place] = [title for title in titles if _alone(plain(title)).search(piece.text)]
    return found


def _alone(name: str) -> re.Pattern[str]:
    """Return a pattern that finds a name which is no part of a longer one."""
    return re.compile(rf"(?<![A-Z]\w )(?<!\w){re.escape(name)}(?!\w)(?! [A-Z])")


def _by_title(passages: list[Piece]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, piece in enumerate(passages):
        places[piece.title].append(place)
    return places


def _file(folder: Path) -> Path:
    return next(file for file in sorted(folder.glob("*.json")) if not file.stem.endswith("_corpus"))


def _questions(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_file(folder).read_text(encoding="utf-8"))
    return found


def _corpus(folder: Path) -> dict[str, list[str]]:
    file = _file(folder)
    text = file.with_name(f"{file.stem}_corpus.json").read_text(encoding="utf-8")
    found: dict[str, list[str]] = json.loads(text)
    return found


VARIANTS = {"asked": asked, "chains": chains}


def write(made: Made, folder: Path, name: str) -> None:
    """Write a set in the format that bench_retrieval.py calls hipporag."""
    folder.mkdir(parents=True, exist_ok=True)
    passages = [{"title": piece.title, "text": piece.text} for piece in made.passages]
    questions = [
        {"question": text, "paragraphs": [{**passages[place], "is_supporting": True} for place in gold]}
        for text, gold in made.questions
    ]
    for stem, content in ((name, questions), (f"{name}_corpus", passages)):
        (folder / f"{stem}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", type=Path, required=True, help="folder with HotpotQA's two files")
    parser.add_argument("--variant", choices=VARIANTS, required=True, help="which questions")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other distractors")
    parser.add_argument("--distractors", type=int, default=4, help="texts added for each supporting title")
    parser.add_argument("--retitled", type=float, default=0.0, help="share of passages with another title")
    options = parser.parse_args()
    made = VARIANTS[options.variant](options.path, options.seed, options.distractors)
    retitle(made, options.retitled, random.Random(options.seed))
    write(made, options.out, options.variant)
    print(f"{len(made.questions)} questions, {len(made.passages)} passages in {options.out}")


if __name__ == "__main__":
    main()
