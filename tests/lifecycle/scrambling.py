# ruff: noqa: E501 - a rule is one line
"""Texts that say something else than a true one, in ways that a language model errs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aios_db.lifecycle.grounding.clauses import names_of

_DENIALS = (
    (r"\b(?:do|does|did) not ", ""), (r"n't\b", ""), (r" cannot ", " can "), (r"\bmust not\b", "must"),
    (r" (?:not|never) ", " "), (r"\bno longer\b", "still"), (r"\b[Nn]o (?=\w)", "a "), (r"\b[Nn]othing\b", "everything"), (r"\bwithout\b", "with"),
    (r" nicht\b", ""), (r" kein(?:e[nmrs]?)? ", " "), (r"n[e'’] ?(\w+) pas\b", r"\1"), (r"\bne (\w+) jamais\b", r"\1"),
    (r" (?:no|nunca) (?=\w)", " "), (r"不能", "能"), (r"没有", ""),
)  # fmt: skip
_ADDED = ((r"\b(is|was|has|will|must|should|are|were) (?!not\b|no\b|never\b)", r"\1 not "), (r"\b(hat|lebt|läuft) ", r"\1 nicht "),
          (r" (vive|cuesta) ", r" no \1 "))  # fmt: skip
_NUMBER = re.compile(r"\d+(?:[.,]\d{3})*(?:\.\d+)?")
_NAME = re.compile(r"\b[A-ZÄÖÜÉ][a-zäöüéèíñ]+\b")
_UNITS = (
    ("euros", "dollars"), ("€", "£"), ("Euro", "Dollar"), ("dollars", "euros"), (r"$", "€"), ("£", "$"), ("kg", "pounds"),
    ("kilograms", "pounds"), ("hours", "days"), ("weeks", "months"), ("litres", "gallons"), ("pounds", "euros"),
    ("per month", "per week"), ("a month", "a week"), ("公斤", "克"), ("欧元", "美元"),
)  # fmt: skip
_MONTHS = ("January", "June", "September", "Juni", "juin", "März", "février", "April")


def scrambled(text: str, sources: Sequence[str], speakers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what was done to a text, and what it says then.

    Numbers and names are exchanged for others that the sources have, so that none is made up.
    """
    denied = next((new for rule, to in _DENIALS if (new := re.sub(rule, to, text, count=1)) != text), None)
    if denied:
        yield "denial left out", denied
    else:
        added = next((new for rule, to in _ADDED if (new := re.sub(rule, to, text, count=1)) != text), None)
        if added:
            yield "denial added", added
    joined = " ".join(sources)
    own = list(dict.fromkeys(_NUMBER.findall(text)))
    if len(own) > 1:
        yield "numbers exchanged", _exchanged(text, own[0], own[1])
    digits = {re.sub(r"\D", "", each) for each in own}
    others = [each for each in _NUMBER.findall(joined) if re.sub(r"\D", "", each) not in digits]
    if own and others:
        yield "number of another", text.replace(own[0], others[0])
    every = {*(each.casefold() for each in speakers), *names_of(" ".join(sources))}
    names = [each for each in dict.fromkeys(_NAME.findall(text)) if each.casefold() in every]
    if len(names) > 1:
        yield "names exchanged", _exchanged(text, names[0], names[1])
    strange = [each for each in speakers if each and each not in text]
    if names and strange and names[0] in speakers:
        yield "name of another", re.sub(rf"\b{names[0]}\b", strange[0], text)
    for month in _MONTHS:
        if month in text:
            other = "July" if month[0].isupper() and month.isascii() and month != "Juni" else "août"
            yield "date changed", text.replace(month, "August" if month in ("Juni", "März") else other)
            break
    for unit, other in _UNITS:
        if unit in text:
            yield "unit changed", text.replace(unit, other)
            break


def _exchanged(text: str, one: str, other: str) -> str:
    rule = re.compile(rf"(?<![A-Za-z\d])(?:{re.escape(one)}|{re.escape(other)})(?![A-Za-z\d])")
    return rule.sub(lambda match: other if match[0] == one else one, text)
