"""Clauses of a text: the words of each in their order, names, values, and what changes what is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property

import Stemmer

from aios_db.lifecycle.grounding.values import HAN, TOKEN, Value, bare, values_of
from aios_db.lifecycle.grounding.vocabulary import (
    DATED,
    LANGUAGES,
    OPERATORS,
    RELATIVES,
    SAME,
    SYNONYMS,
    Language,
)
from aios_db.lifecycle.salience import EVERY_STOP_WORD, names, sentences
from aios_db.search.languages import detect

_CUT = re.compile(
    r"\s*(?:[;—–()]|,(?=\s)|，|、|；|\s-\s|\b(?:and|but|while|whereas|because|though|und|aber|während|weil|et|mais|"
    r"tandis que|parce que|y|pero|mientras|porque)\b)\s*",
    re.IGNORECASE,
)
_WHOLE = ("if", "when", "said", "thinks", "asks")  # what a sentence says with one of them, no part of it says
_STEP = re.compile(
    r"\b(by|to|from|in|since|um|auf|von|seit|de|à|a|en|depuis|desde) (?:about |only |over )?[€$£]?\d",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[?？][\"'”’)]*\s*$")
_SHORTENED_WILL = re.compile(r"(\w)['’]ll\b")
_HAS_OF = re.compile(
    r"^(?P<owner>(?:the|our|my)\b[^,]*?) (?:has|have|had) an? (?P<what>[\w -]+?) of (?P<value>[^,]*\d[^,]*)$",
    re.IGNORECASE,
)
_FORBIDS = re.compile(r"^\W*(?:never|do not|don['’]t)\b", re.IGNORECASE)
_KANA = re.compile(r"[\u3040-\u30ff]")
_REPEATED = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days\b|\b\w+tags\b", re.IGNORECASE)
_PAST = re.compile(r"\b(?:was|were|had|did|war|waren|hatte|wurde|était|avait|era|fue|había)\b")
_PRESENT = re.compile(r"\b(?:is|are|am|has|have|do|does|ist|hat|est|es)\b")
_OPENING = 3  # words: as many before a comma belong to what follows
_OWNER = ("'s", "’s", "s'", "s’")


@cache
def _synonyms() -> dict[str, str]:
    """Return English stems, by each the one that stands for all that mean the same."""
    stem = Stemmer.Stemmer("english").stemWord
    return {stem(word): stem(some[0]) for some in SYNONYMS for word in some}


@dataclass(frozen=True)
class Manner:
    """How a text is read."""

    language: str | None
    """Of `LANGUAGES`; None of another."""
    known: frozenset[str]
    """Names in lower case, which are names where they begin a sentence, too."""

    @cached_property
    def words(self) -> Language | None:
        """Words of its language."""
        return LANGUAGES.get(self.language or "")

    def stem(self, word: str) -> str:
        """Return by what a word is known in all its forms."""
        if self.words is None or HAN.match(word):
            return word
        stem = self._stemmer.stemWord(word)
        form = SAME.get(word) or SAME.get(stem) or stem
        return _synonyms().get(form, form) if self.language == "english" else form

    @cached_property
    def _stemmer(self) -> Stemmer.Stemmer:
        return Stemmer.Stemmer(self.language if self.language != "chinese" else "english")


@dataclass(frozen=True)
class Clause:
    """A part of a sentence."""

    words: tuple[str, ...]
    """Stems of what it is about."""
    named: tuple[tuple[str, str], ...]
    """Names in their order, in lower case, the speaker's in the place of "I"; and how each owns something.

    That is as an ``owner`` alone, behind ``of``, or not at all.
    """
    subject: str
    """The first name or word."""
    by: str | None
    """Who says it, in lower case."""
    values: frozenset[Value]
    operators: frozenset[str]
    """Of `OPERATORS`, and ``not`` and ``?``."""
    directions: frozenset[tuple[str, str]]
    """Which way, and the word behind."""
    steps: frozenset[str]
    """Which of "by", "to" and "from" stand before a number."""
    tense: str | None
    """``past`` or ``present`` where an auxiliary says so."""
    pronouns: int
    """How many words there are for what other clauses name."""
    owning: frozenset[str]
    """Words with a genitive's ending."""
    forbids: bool
    """Whether it is an order not to do something."""
    is_passive: bool
    says_by: bool
    """Whether it says by or from whom."""
    manner: Manner = field(repr=False)

    def names(self, *kinds: str) -> set[str]:
        """Return the names that own in one of some ways."""
        return {name for name, owns in self.named if owns in kinds}


def language_of(text: str) -> str | None:
    """Return the language of a text, None of one whose words are not in `vocabulary`."""
    if _KANA.search(text):
        return None
    if HAN.search(text):
        return "chinese"
    found = detect({*re.findall(r"[^\W\d_]+", text)}, text)
    return found if found in LANGUAGES else None


def clauses(
    text: str, manner: Manner, speaker: str | None = None, said: date | None = None, subject: str = ""
) -> list[Clause]:
    """Return the clauses of a text, with what they are about where that was said before.

    Parameters
    ----------
    speaker
        Who says it, and is meant by "I".
    said
        When, for dates of which a part is left out, and for "yesterday".
    subject
        What "he" and "she" in the first clause mean.
    """
    found = []
    for sentence in sentences(text):
        is_question = bool(_QUESTION.search(sentence))
        for number, part in enumerate(_parts(sentence)):
            whole = _completed(_said_of(part, manner), subject, manner, opens=not number)
            subject = subject_of(whole, manner) or subject
            found.append(_Reading(whole, manner, speaker, said).clause(is_question=is_question))
    return found


def names_of(text: str) -> set[str]:
    """Return the words of a text that may be names, in lower case: no frequent word, day, month or unit.

    What begins a sentence may be one where it is never written otherwise.
    """
    words = TOKEN.findall(text)
    written = {each for each in words if each[0].islower()}
    opening = {
        each for part in sentences(text) if (each := (TOKEN.findall(part) or [""])[0]) and each[0].isupper()
    }
    opening = {each for each in opening if each.casefold() not in written | EVERY_STOP_WORD}
    return {bare(each) for each in names(text) | opening} - DATED


def subject_of(part: str, manner: Manner) -> str:
    """Return the beginning of a clause, up to what it is about; empty where it begins with a value."""
    end = 0
    for match in TOKEN.finditer(part):
        word, is_name = bare(match[0]), bare(match[0]) in manner.known
        if any(map(str.isdecimal, word)) or manner.words is None or word in DATED or word in RELATIVES:
            return ""
        if end and not is_name:
            break
        if not match.start() and word in manner.words.things:
            return ""
        speaks = word in manner.words.speaking
        if is_name or speaks or word not in manner.words.neutral:
            end = match.end()
            if match[0].casefold().endswith(_OWNER):
                end = 0
    return part[:end]


def _said_of(part: str, manner: Manner) -> str:
    """Return "the project has a budget of 5" as "the budget of the project is 5", and "I'll" as "I will"."""
    if manner.language != "english":
        return part
    part = _HAS_OF.sub(r"The \g<what> of \g<owner> is \g<value>", part)
    return _SHORTENED_WILL.sub(r"\1 will", part)


def _completed(part: str, subject: str, manner: Manner, *, opens: bool) -> str:
    """Return a part of a sentence with what it is about before it, where that was said before."""
    first = TOKEN.match(part.lstrip("\"'“‘([ "))
    if not first or not subject or manner.words is None or HAN.match(first[0]):
        return part
    word = bare(first[0])
    if word in manner.words.persons:
        return f"{subject} {part.lstrip()[first.end() :]}"
    own = manner.words.articles | manner.words.third | manner.words.speaking | manner.words.owning
    if opens or first[0][0].isupper() or word in own | manner.known or word.isdecimal():
        return part
    return f"{subject} {part}"


def _parts(sentence: str) -> Iterator[str]:
    """Yield what a sentence says one after the other; a list of words is in one part."""
    if any(OPERATORS[each].search(sentence.casefold()) for each in _WHOLE):
        yield sentence
        return
    joined, fits = "", True
    for number, piece in enumerate(_CUT.split(sentence)):
        count = len(TOKEN.findall(piece or ""))
        if joined and not fits and count > 1:
            yield joined
            joined = ""
        joined = f"{joined} {piece or ''}".strip()
        fits = not number and count <= _OPENING
    if joined:
        yield joined


class _Reading:
    """One part of a sentence, as it is read."""

    def __init__(self, part: str, manner: Manner, speaker: str | None, said: date | None) -> None:
        self._part, self._manner, self._words = part, manner, manner.words
        self._by = speaker.casefold() if speaker else None
        rest, self._values = values_of(part, said)
        plain = TOKEN.findall(rest)
        self._tokens = [self._without_genitive(bare(each)) for each in plain]
        self._owned = {
            token
            for token, each in zip(self._tokens, plain, strict=True)
            if each.casefold().endswith(_OWNER) or bare(each) != token
        }
        self._text = " ".join(self._tokens)

    def clause(self, *, is_question: bool) -> Clause:
        """Return it as a clause."""
        tokens, words = {*self._tokens}, self._words
        pronouns = sum(each in words.third for each in self._tokens) if words else 0
        return Clause(
            words=tuple(self._content()),
            named=tuple(self._names()),
            subject=self._subject(),
            by=self._by,
            values=frozenset(self._values),
            operators=frozenset(self._operators()) | (frozenset("?") if is_question else frozenset()),
            directions=frozenset(self._directions()),
            steps=frozenset(each.casefold() for each in _STEP.findall(self._part)),
            tense=self._tense(),
            pronouns=pronouns * (2 if self._manner.language == "chinese" else 1),
            owning=frozenset(self._owned),
            forbids=self._manner.language == "english" and _FORBIDS.match(self._part) is not None,
            is_passive=bool(words and tokens & words.passive),
            says_by=bool(words and tokens & words.by),
            manner=self._manner,
        )

    def _without_genitive(self, token: str) -> str:
        known = self._manner.known
        return token[:-1] if token not in known and token.endswith("s") and token[:-1] in known else token

    def _names(self) -> Iterator[tuple[str, str]]:
        """Yield the names, and how each owns something: as an ``owner`` alone, ``of``, or not at all."""
        tokens, known, words = self._tokens, self._manner.known, self._words
        signs = [each for each in known if HAN.match(each) and each in "".join(tokens)]
        for place, token in enumerate(tokens):
            before = [
                each for each in tokens[max(place - 2, 0) : place] if words and each not in words.articles
            ]
            if token in known and not HAN.match(token):
                of = "of" if words and before and before[-1] in words.of else ""
                yield token, "owner" if token in self._owned else of
            elif self._by and words and token.split("'")[0] in words.speaking:
                yield self._by, "owner" if tokens[place + 1 : place + 2] == ["的"] else ""
            elif self._by and words and token in words.owning:
                yield self._by, "owner"
            for each in signs:
                if "".join(tokens[place : place + len(each)]) == each:
                    owns = tokens[place + len(each) : place + len(each) + 1] == ["的"]
                    yield each, "owner" if owns else ""

    def _subject(self) -> str:
        """Return the first name or word, the speaker's for "I"; empty where it cannot be told."""
        said = [bare(each) for each in TOKEN.findall(subject_of(self._part, self._manner))]
        words = self._words
        if not said or words is None:
            return ""
        if said[-1] in words.speaking:
            return self._by or ""
        known, left_out = said[-1] in self._manner.known, self._changing() | words.denials
        return said[-1] if known else "" if said[-1] in left_out else self._manner.stem(said[-1])

    def _content(self) -> Iterator[str]:
        known, words = self._manner.known, self._words
        named = {sign for each in known if HAN.match(each) for sign in each}
        left_out = self._changing() | named | known | {*"€$£¥"}
        if words:
            left_out |= words.neutral | words.denials | LANGUAGES["chinese"].neutral
            if self._by:
                left_out |= words.speaking | words.owning
        for token in self._tokens:
            head, _, tail = token.partition("'")
            if token not in left_out and not (tail and head in left_out):
                yield self._manner.stem(tail if len(head) == 1 and len(tail) > 2 else token)

    def _changing(self) -> set[str]:
        """Return the words that are in `_operators`."""
        matches = (match for rule in OPERATORS.values() for match in rule.finditer(self._text))
        found = {word for match in matches for word in match[0].split()} if self._words else set()
        return found if self._manner.language != "chinese" else {sign for word in found for sign in word}

    def _operators(self) -> Iterator[str]:
        if self._words is None:
            return
        text = self._text if self._manner.language != "chinese" else "".join(self._tokens)
        yield from (name for name, rule in OPERATORS.items() if rule.search(text))
        if _REPEATED.search(self._part):
            yield "each"
        for rule in OPERATORS.values():
            text = rule.sub(lambda match: " " if " " in match[0] else match[0], text)
        tokens = text if self._manner.language == "chinese" else text.split()
        count = sum(
            each in self._words.denials or each.endswith("n't") or each.startswith("n'") for each in tokens
        )
        if count and (self._words.denies_together or count % 2):
            yield "not"

    def _tense(self) -> str | None:
        past, present = _PAST.search(self._text), _PRESENT.search(self._text)
        return None if bool(past) == bool(present) else "past" if past else "present"

    def _directions(self) -> Iterator[tuple[str, str]]:
        if self._words is None:
            return
        ways, skipped = self._words.directed, self._words.neutral - self._words.speaking
        for place, token in enumerate(self._tokens):
            behind = next((each for each in self._tokens[place + 1 :] if each not in skipped), None)
            if token in ways and behind:
                speaks = self._by and behind in self._words.speaking
                yield ways[token], (self._by or "") if speaks else behind
