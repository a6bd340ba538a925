# ruff: noqa: E501 - a rule is one line
"""How an English sentence says that something changed, was wrong, is over, happened once, or is in doubt."""

from __future__ import annotations

import re

_HEDGED = re.compile(
    r"\b(?:if|would|might|may|maybe|perhaps|could|should|want(?:s|ed)?|hop(?:e|es|ing)|planning|plan(?:s|ned)? (?:to|on)|plan is to|going to|"
    r"gonna|will|used to|wish(?:es)?|dream(?:s|ed|t)?|almost|thinks?|thinking|consider(?:s|ing)?|probably|"
    r"about to|pretend(?:s|ed)?|not|never|neither|unless|whether|imagine|suppose(?:d)?|years? ago|back when|"
    r"as a (?:child|kid|student)|formerly|previously|visit(?:s|ed|ing)?|also|as well|in addition|additional|extra|further|an? (?:second|third|new)(?= .* in\b)|too|another|other|both|either|sometimes|at times|occasionally|once in a while|now and (?:then|again)|"
    r"weekends?|while|meanwhile|until(?! \d)|only|tomorrow's|today's|temporar\w+|for now|kidding|jok(?:e|ed|es|ing)|novel|story|song|(?<!job )title|game|said|says|saying|told|tells|asked|claim(?:s|ed)?|"
    r"heard|according|during|turn(?:s|ed) down|(?:one|some|most|many|half|a third) of|and (?:[a-z]+ )?back|"
    r"for (?:a|an|one|two|three|four|\d+|a few|several) (?:days?|weeks?|months?|nights?|hours?))\b"
)
_QUOTED = re.compile('["“”«»]')

_VERBS = (
    r"changed|moved|relocated|switched|replaced|rescheduled|postponed|pushed|brought forward|raised|lowered|increased|"
    r"reduced|cut|upgraded|downgraded|transferred|migrated|extended|shortened|corrected|renamed|updated|went up|went down|"
    r"gone up|gone down|rose|risen|dropped|fell|fallen|slipped"
)
_HAD_TO = "move|change|switch|raise|postpone"
MOVED = (
    rf"(?:(?:has|have|had to|was|were|is|got|had) (?:just |now |recently |since |been )*)?(?:{_VERBS}|(?<=had to )(?:{_HAD_TO}))(?: back)?"
    r"(?: from (?P<old>.+?))? to"
)
"""How a thing comes to another value; the group ``old`` is what it had."""

_MISTAKEN = (
    r"correction|actually|i was wrong|got (?:it|that) wrong|my mistake|scratch that|no,? wait|mistaken"
)
_REPLACES = (
    rf"\b(?:now(?! and (?:then|again))|{_VERBS}|changes|had to (?:{_HAD_TO})|instead|no longer|current|latest|these days|nowadays|from now on|as of|anymore|"
    rf"from (?:today|this (?:week|month|year|spring|summer|autumn|winter))|(?:took|takes|taken) over|starting (?:today|now|this)|effective|{_MISTAKEN})\b"
)
_BECAME = "become|became|turned|got|promoted|joined|started|hired|left|quit|retired|resigned|took a"
CHANGES = re.compile(rf"{_REPLACES}|\b(?:{_BECAME})\b")
"""Words, in small letters, that say that something changed, be it who speaks."""
REPLACES = re.compile(_REPLACES)
"""Those that say that a value takes the place of another, or was wrong."""

BEGINS = re.compile(
    rf"^(?:(?:just|finally|recently|officially|already) )?(?:{_VERBS}|{_BECAME})\b(?! (?:is|are|was)\b)",
    re.IGNORECASE,
)
"""The verb of what changed, where a sentence begins with it and leaves out who did it."""
BY_SOMEBODY = re.compile(
    rf"^(?:I|We|They|He|She|You|(?:[Tt]he|[Mm]y|[Oo]ur) [\w-]+(?: [\w-]+)?|[A-Z][\w-]+) (?:(?:has|have|had to|just|now|recently|finally) )*"
    rf"(?P<verb>{_VERBS}|(?<=had to )(?:{_HAD_TO})) (?P<what>(?:the|my|our) [\w' -]+?|[A-Z][\w-]+)(?P<old> from .+?)?(?= to )"
)
"""That somebody changed a thing to another value."""

MOVES = re.compile(
    rf"\b(?:{_VERBS}|had to (?:{_HAD_TO})|instead|from now on|(?:took|takes|taken) over|{_MISTAKEN})\b"
)
"""Of these, those that need no other to say it: what is so "now" may be so besides."""

NEW = re.compile(r"\b(?<!\ba )(?<!\bA )(?<!nother )(?:(?-i:new)|^new(?! (?-i:[A-Z])))\b", re.IGNORECASE)
"""That something is new, which says of what has one value that it changed; "a new dog" is one more."""

PAST = (
    "had did came said gave made saw met ate ran wrote spoke bought brought thought taught caught found lost kept slept "
    "felt held led paid sent spent built won sat stood wore drove rode flew grew knew drew threw broke chose woke began "
    "drank sang swam hid bit told heard sold understood forgot shot"
).replace(" ", "|")
ONCE = re.compile(
    rf"(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bam )(?<!\bbe )(?<!\bbeen )(?<!\bhas )(?<!\bhave )(?<!\bgot )(?<!\bget )(?<!\bgets )(?<!\bnow )"
    rf"\b(?!(?:{_VERBS})\b)(?:{PAST}|went(?! (?:up|down))|took(?! over)|got(?! \w+ed\b)|got (?:an?|the)|[a-z]+[a-z]ed)\b"
)
"""A verb in the past: something that happened, and is not so ever since."""

_NOT_ANY_MORE = re.compile(
    r"\b(?P<be>am |is |are )?(?:(?:do|does|has|have|can) )?not (?P<what>.+?) any ?more(?=\W*$)", re.IGNORECASE
)
_NO_LONGER = re.compile(r"\bno longer ", re.IGNORECASE)


_STOPPED = re.compile(r"\b(?:(?:has|have) )?(?:stopped|quit|gave up|given up) (?=[a-z]+ing\b)")


def is_hedged(sentence: str) -> bool:
    """Tell whether a sentence states nothing: it supposes, plans, denies, reports, adds, or tells of a while."""
    small = sentence.replace("May", "").replace("Said", "").lower()  # a month, and a name
    return _HEDGED.search(small) is not None or _QUOTED.search(sentence) is not None


def without_end(sentence: str) -> str | None:
    """Return what a sentence says is over ("I do not smoke anymore": "I smoke"); None of others.

    Of "I stopped smoking" that is "I smoking", which is compared by its stems.
    """
    small = sentence.lower()
    if "no longer" in small:
        return _NO_LONGER.sub("", sentence, count=1)
    if "ing" in small and _STOPPED.search(sentence):
        return _STOPPED.sub("", sentence, count=1)
    if "more" in small and _NOT_ANY_MORE.search(sentence):
        return _NOT_ANY_MORE.sub(lambda match: f"{match['be'] or ''}{match['what']}", sentence, count=1)
    return None
