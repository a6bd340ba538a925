# ruff: noqa: E501 - a rule is one line
"""What an English text states, one clause after the other: without greetings and openings, "it" by what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aios_db.lifecycle.change_words import BEGINS, BY_SOMEBODY, CHANGES, ONCE, PAST, is_hedged, without_end
from aios_db.lifecycle.salience import sentences
from aios_db.lifecycle.small_talk import is_small_talk
from aios_db.search.languages import detect

NAME = r"[A-Z][\w-]+(?: [A-Z][\w-]+){0,3}"
_OPENING = re.compile(
    r"^(?:(?:well|so|oh|hey|hi|hello|ok|okay|lol|haha+|ugh|yay|wow|oops|hm+|sorry|wait|no wait|scratch that|i was wrong|actually|by the way|btw|update|fyi|correction|good news|big news|news|just so you know|"
    r"for the record|note|reminder|heads up|guess what|anyway|also|and|but|yes|yeah|no|as of (?:today|now|this (?:week|month|year))|"
    r"starting (?:today|now|this week|next week)|effective immediately|from now on|these days|nowadays|today|currently|now|recently|last (?:week|month|year)|this (?:week|month|year))"
    r"[,:;!.–—-]*\s+)+",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^(?!(?:My|Our|The|His|Her|I|We|They|You|He|She|New (?!\w+: (?:the|my|our)))\b)[A-Z][a-z]+(?: [a-z]+){0,3}? (?:(?:from|about|of|on) (?P<topic>(?:my|our|the) \w+)|[a-z]+):\s+"
)
_ANEW = re.compile(r"^New ([\w ]+): (?!(?:the|my|our)\b)", re.IGNORECASE)
_CONTRACTED = (
    (re.compile(r"\b([Ii])['’]?m\b"), "I am"),
    (re.compile(r"\b[Ii]['’]?ve\b"), "I have"),
    (re.compile(r"\bi\b"), "I"),
    (re.compile(r"^My [\w-]+ and I\b"), "We"),
    (re.compile(r"\b([Ww]e|[Tt]hey)'re\b"), r"\1 are"),
    (re.compile(r"\b([Ww]e|[Tt]hey)'ve\b"), r"\1 have"),
    (re.compile(r"\b([Ii]t|[Hh]e|[Ss]he)'s\b"), r"\1 is"),
    (re.compile(r"\b([Ii])ts (?=now\b)"), r"\1t is "),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(has|have) (just |now |recently |since |finally )?gotten\b"), r"\1 \2got"),
)
_JOINT = re.compile(r"\s*[;—–(]\s*|,\s+(?:and |so |but )?|\s+and\s+|\s+-\s+")
_TOPIC = re.compile(
    rf"^(?!(?:I|We|They|He|She|It|You)\b)((?:[Mm]y|[Oo]ur|[Tt]he) [\w-]+(?: (?:of|for) (?:the |my |our )?[\w-]+)?(?: [\w-]+)??|{NAME})"
    rf"(?= (?:is|are|was|has|have|got|left|went|{PAST}|[\w-]+ed|[\w-]+s)\b)"
)
_DONE_TO = re.compile(r"^(?:I|We|They) (?:[\w-]+ ){1,3}?((?:the|my|our) [\w-]+)$")
_MEANT = re.compile(r"^(?:it|he|she|they)(?= )", re.IGNORECASE)
_WHO = re.compile(rf"^(?:I|We|{NAME}|[Mm]y [\w-]+)(?= )")
_NAMES = re.compile(r"(?<!^)\b[A-Z][\w-]+\b")
_SPEAKER = re.compile(rf"^({NAME}):\s+")
_MOST = 3  # sentences of a text that says what changed
_LONGEST = 240  # characters of a sentence that is read


@dataclass(frozen=True)
class Statement:
    """A sentence, or a clause of it, that stands for itself."""

    text: str
    share: float
    """Of what was said, what its sentence takes."""
    changes: bool
    """Whether it says that something changed, and nothing beside it casts doubt on that."""
    is_over: bool
    """Whether it says that what its text says is so no longer."""
    is_hedged: bool
    """Whether it supposes, plans, denies, reports or adds what its text says."""


@dataclass(frozen=True)
class Told:
    """What a text states in English."""

    speaker: str
    """Who says "I", in lower case."""
    said: str
    sentences: tuple[tuple[Statement, ...], ...]
    """Of each sentence that asks nothing it itself, then its clauses where it says that something changed."""


def told(text: str, speaker: str | None = None) -> Told:
    """Return what a text states.

    Parameters
    ----------
    speaker
        Who says "I"; without one it is whoever the text names before a colon, or nobody in particular.
    """
    said = text
    if speaker and text.startswith(f"{speaker}:"):
        said = text[len(speaker) + 1 :]
    elif speaker is None and (named := _SPEAKER.match(text)) and not _OPENING.match(text):
        speaker, said = named[1], text[named.end() :]
    stated = tuple(_statements(said.strip())) if _is_english(said) else ()
    return Told((speaker or "i").casefold(), said, stated)


def _is_english(text: str) -> bool:
    """Tell whether a text is in English, as far as its words say; the rules are for no other language."""
    return detect({*re.findall(r"[^\W\d_]+", text)}, text, least=1) in ("english", None)


def _statements(text: str) -> Iterator[tuple[Statement, ...]]:
    heading = _HEADING.match(_OPENING.sub("", text)) or _HEADING.match(text)
    whole, topic = max(len(text), 1), heading["topic"] or "" if heading else ""
    stating = [each for each in sentences(text) if not is_small_talk(each)]
    for place, sentence in enumerate(stating):
        if len(sentence) > _LONGEST or sentence.rstrip("\"'”’)").endswith("?"):
            continue
        others = stating[:place] + stating[place + 1 :]
        changes = len(others) < _MOST and CHANGES.search(sentence.lower()) is not None
        changes = changes and not any(map(is_hedged, others))
        whole_one = _plain(sentence)
        texts = [_meant(whole_one, topic)]
        if len(stating) > 1:
            topic = _topic(whole_one, topic)
        if changes and not is_hedged(sentence):
            texts += _clauses(whole_one)
        yield tuple(_stated(each, len(sentence) / whole, changes=changes) for each in texts)


def _stated(text: str, share: float, *, changes: bool) -> Statement:
    over = without_end(text)
    rest = text if over is None else over
    return Statement(rest, share, changes, over is not None, is_hedged(rest))


def _plain(sentence: str) -> str:
    """Return a sentence without what opens it, with its contractions written out."""
    sentence = sentence.strip().replace("’", "'").strip("\"'“”*_ ")
    sentence = _ANEW.sub(
        r"My new \1 is ", _OPENING.sub("", _HEADING.sub("", _OPENING.sub("", _HEADING.sub("", sentence))))
    )
    if BEGINS.match(sentence):
        sentence = f"I {sentence[0].lower()}{sentence[1:]}"
    for rule, long in _CONTRACTED:
        sentence = rule.sub(long, sentence)
    if found := BY_SOMEBODY.match(sentence):
        verb = found["verb"] if found["verb"].endswith(("d", "t")) else "changed"
        thing = f"{found['what'][0].upper()}{found['what'][1:]} was {verb}{found['old'] or ''}"
        sentence = f"{thing}{sentence[found.end() :]}"
    sentence = sentence.rstrip(" .!…:)")
    return sentence[:1].upper() + sentence[1:] if sentence[:2] in ("we", "my", "i ", "ou", "th") else sentence


def _clauses(sentence: str) -> Iterator[str]:
    """Yield the clauses of a sentence of several, each with whom it is about."""
    parts = _JOINT.split(sentence)
    if len(parts) < 2:
        return
    who, topic = _WHO.match(sentence), ""
    for place, part in enumerate(parts):
        said = _meant(_plain(part), topic)
        if (place and who and ONCE.match(f"{said} ")) or CHANGES.match(said.lower()):
            said = f"{who[0]} {said}" if who else said
        topic = _topic(said, topic)
        yield said


def _topic(sentence: str, before: str) -> str:
    """Return what "it" or "he" means in the next clause: what this one begins with or is done to, or the one name in it."""
    if found := _TOPIC.match(sentence) or _DONE_TO.match(sentence):
        return found[1]
    named = set(_NAMES.findall(sentence)) - {"I", "We"}
    return named.pop() if len(named) == 1 else before


def _meant(sentence: str, topic: str) -> str:
    return _MEANT.sub(f"{topic[0].upper()}{topic[1:]}", sentence, count=1) if topic else sentence
