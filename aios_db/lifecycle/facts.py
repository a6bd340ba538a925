# ruff: noqa: E501 - a rule is one line
"""Facts of which one value holds at a time, as sentences state them: whose, which, what.

They are found by rules, which know some ways to say where somebody lives, works, what a thing is, costs, or
when it takes place. A sentence that asks, denies, supposes, plans or tells of the past states none: in doubt
there is no fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from unicodedata import combining, normalize

from aios_db.lifecycle.grounding.values import values_of
from aios_db.lifecycle.salience import sentences
from aios_db.lifecycle.small_talk import is_small_talk
from aios_db.search.languages import detect

_NAME = r"[A-Z][\w-]+(?: [A-Z][\w-]+){0,3}"
_WHO = rf"(?P<who>I|We|we|{_NAME}|(?:[Mm]y|[Oo]ur) (?:[\w-]+ ){{0,2}}?[\w-]+?)"
_ADVERBS = r"(?:(?:now|currently|just|recently|finally|actually|still|officially|since|already|have|has|am|is|are|got) )*"
HEDGED = re.compile(
    r"\b(?:if|would|might|(?-i:may)|maybe|perhaps|could|should|want(?:s|ed)?|hop(?:e|es|ing)|plan(?:s|ning)?|going to|"
    r"gonna|will|used to|wish(?:es)?|dream(?:s|ed|t)?|almost|thinks?|thinking|consider(?:s|ing)?|probably|"
    r"about to|pretend(?:s|ed)?|not|never|neither|unless|whether|imagine|suppose(?:d)?|years? ago|back when|"
    r"as a (?:child|kid|student)|formerly|previously|visit(?:s|ed|ing)?|also|too|another|other|both|either|sometimes|"
    r"weekends?|temporar\w+|for now|kidding|jok(?:e|ed|es|ing)|novel|story|song|title|game|(?-i:said)|says|saying|told|tells|asked|claim(?:s|ed)?|"
    r"heard|according|during|turn(?:s|ed) down|for (?:a|an|one|two|three|four|\d+|a few|several) (?:days?|weeks?|months?|nights?|hours?))\b|[\"“”«»]",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?:well|so|oh|hey|actually|by the way|btw|update|fyi|correction|good news|big news|news|just so you know|"
    r"for the record|note|reminder|heads up|guess what|anyway|also|and|but|yes|yeah|as of (?:today|now)|"
    r"starting (?:today|now|this week|next week)|effective immediately|from now on|these days|nowadays|today|currently|now|recently|last (?:week|month|year)|this (?:week|month|year))"
    r"[,:;!.–—-]*\s+)+",
    re.IGNORECASE,
)
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December|spring|summer|autumn|winter"
_TAIL = re.compile(
    rf"(?:(?:\s*[,;:(!?–—-]+\s*|\s*(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)(?<!\bProf)\.(?=\s|$)\s*|\s+)(?:(?:right )?now|these days|nowadays|"
    rf"instead|any ?more|currently|recently|today|yesterday|already|permanently|officially|for good|from now on|again|"
    rf"(?:last|this) (?:week|month|year|spring|summer|autumn|fall|winter)|in (?:{_MONTH}|\d{{4}})|on (?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|"
    r"(?:with (?:my|our|his|her|their)|because|since|as of|with effect|effective|starting|rather than|after|as an?)\b.*)|[\s.!)…]+)+$",
    re.IGNORECASE | re.DOTALL,
)
_LEADING = re.compile(
    r"^(?:the|a|an|in|at|on|to|for|as|into|set to|set for|called|named|every|each)\s+", re.IGNORECASE
)
_NEW = re.compile(
    r"\b(?:new|current|latest|present|updated|revised|correct|actual|own|permanent|main|all-time)\s+",
)  # in small letters: New York is a name
_OLD = re.compile(
    r"\b(?:old|former|previous|ex|last|first|original|other|second|another|next|past)\b", re.IGNORECASE
)
DAY = re.compile(
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:tomorrow|weekend)\b|\b\d{4}-\d\d-\d\d\b|"
    r"\b(?:\d{1,2}(?:st|nd|rd|th)?(?: of)? )?(?:january|february|march|april|may|june|july|august|september|october|"
    r"november|december)\b(?: \d{1,2}(?:st|nd|rd|th)?)?",
    re.IGNORECASE,
)
TIME = re.compile(
    r"\b\d{1,2}(?::\d\d)?\s?(?:am|pm|a\.m\.|p\.m\.|o'clock)|\b\d{1,2}:\d\d\b|\b(?:noon|midnight)\b",
    re.IGNORECASE,
)
ROOM = re.compile(r"\b(?:room|office|hall|building|floor|gate|platform|desk)\s+[\w-]+", re.IGNORECASE)
_EACH = r"(?:(?:\b(?:per|an?|each|every)\s|/\s?)(?:second|minute|hour|day|night|week|fortnight|month|quarter|year|dozen|piece|person|head)\b)"
_RATE = re.compile(
    rf"{_EACH[:-1]}|\b(?:hourly|daily|nightly|weekly|monthly|quarterly|yearly|annually))", re.IGNORECASE
)
AMOUNT = re.compile(
    rf"(?:[$€£¥]\s?\d[\d.,]*|\b\d[\d.,]*\s?(?:dollars|euros|pounds|percent|%|usd|eur|gbp))(?:\s?{_EACH})?",
    re.IGNORECASE,
)
_MOVED = (
    r"(?:(?:has|have|was|were|is|got) (?:just |now |recently |since |been )*)?(?:changed|moved|switched|renamed|rescheduled|"
    r"updated|postponed|pushed(?: back)?|brought forward|corrected|raised|lowered|increased|reduced|cut|extended|"
    r"transferred|upgraded|downgraded|went up|went down|rose|dropped|fell)(?: from (?P<old>.+?))? to"
)
_IS = r"(?:is|are|=|:)(?: (?:now|currently|actually|officially|at|set to|set for))*|has become|became|costs?(?: now)?|takes place(?: now)?|(?:starts|meets|happens|begins|opens|closes|runs|(?:is|are) held)(?: now)?|(?:has|have) (?:always )?been|is (?:now )?called"
_SINGLE = (
    "single married engaged divorced widowed separated", "vegan vegetarian pescatarian omnivore",
)  # fmt: skip


CHANGES = re.compile(
    r"\b(?:now|(?<!\ba )(?<!\bA )(?<!nother )(?:(?-i:new)|^new(?! (?-i:[A-Z])))|changed?|changes|moved|relocated|switched|replaced|became|become|turned|got|promoted|"
    r"joined|started|hired|left|quit|retired|resigned|updated|rescheduled|postponed|pushed|brought forward|instead|no longer|these days|"
    r"nowadays|from now on|as of|anymore|took (?:over|a)|takes over|went up|went down|rose|dropped|fell|raised|lowered|increased|"
    r"reduced|upgraded|downgraded|transferred|extended|corrected|renamed)\b",
    re.IGNORECASE,
)
"""Words that say that something changed."""
_PROPER = re.compile(
    r"(?:(?:the|The) )?[A-Z][\w'&.-]*(?: (?:(?:of|de|la|del|and|upon|&) )?[A-Z0-9][\w'&.-]*)*"
)
_NAMED = frozenset(["home", "employer", "car", "bank", "school"])  # what has a proper name as its value
_LISTED = frozenset(["diet", "marital status"])  # of which one excludes the others
_MOST_WORDS = 3  # of a value that is no proper name


@dataclass(frozen=True)
class Fact:
    """That something has a value."""

    subject: str
    attribute: str
    value: str
    gone: bool = False
    """That it has this value no longer."""
    share: float = 1.0
    """Of the text, the share that its sentence takes."""
    changes: bool = False
    """Whether it is said that this has changed."""
    named: bool = True
    """Whether the value is a name or has digits."""

    def conflicts(self, older: Fact) -> bool:
        """Tell whether an older one holds no longer, since it cannot hold at once.

        A value that says more than the other is no other value, nor is one of another kind or unit, nor what
        somebody is who was named: "my boss is Alex", and is on holiday now. Without a word of change that goes for what has one value alone: there are two meetings, and two dogs.
        """
        mine, others = set(self.value.split()), set(older.value.split())
        same = mine <= others or others <= mine
        if self.gone != older.gone:
            return same and self.gone
        is_single = self.attribute in _LISTED or _OF_ONE_VALUE.search(self.attribute.partition(",")[0])
        return (
            not (same or self.gone)
            and (self.named or not older.named)
            and bool(self.changes or is_single)
            and differs(self.value, older.value)
        )


_PERSONAL = [
    ("home", rf"^{_WHO} {_ADVERBS}(?:live|lives|living|reside|resides|based|settled)(?: now| currently)? (?:in|at|on) (?P<value>.+)$"),
    ("home", rf"^{_WHO} {_ADVERBS}(?:moved|relocated|resettled|move|moving)(?: house| home| back| over| out| away)*(?: from .+?)? (?:to|into) (?P<value>.+)$"),
    ("employer", rf"^{_WHO} {_ADVERBS}(?:work|works|working|employed)(?: now| currently)? (?:at|for|by) (?P<value>.+)$"),
    ("employer", rf"^{_WHO} {_ADVERBS}(?:joined|join|started (?:working )?(?:at|for|with)|took a (?:new )?job (?:at|with)|hired by|accepted (?:a job|an offer) (?:at|from)|(?:a )?(?:new )?job (?:at|with)|switched jobs to|has a job (?:at|with)|have a job (?:at|with)|left (?:.+? )?(?:for|to join)) (?P<value>.+)$"),
    ("diet", rf"^{_WHO} {_ADVERBS}(?:a |an |become |became |went |gone |turned |eating )*(?P<value>{_SINGLE[1].replace(' ', '|')})(?!-)(?: to [A-Z]\w*)?(?:{_TAIL.pattern})?$"),
    ("role", rf"^{_WHO} {_ADVERBS}(?:work|works|working) as (?P<value>.+)$"),
    ("role", rf"^{_WHO} {_ADVERBS}(?:promoted to|become|became|appointed|was made) (?P<value>.+)$"),
    ("marital status", rf"^{_WHO} {_ADVERBS}(?P<value>{_SINGLE[0].replace(' ', '|')})(?!-)(?: to [A-Z]\w*)?(?:{_TAIL.pattern})?$"),
    ("age", rf"^{_WHO} {_ADVERBS}(?:turned )?(?P<value>\d{{1,3}})(?: years old| yrs old)?$"),
    ("car", rf"^{_WHO} {_ADVERBS}(?:drive|drives|driving) (?P<value>.+)$"),
    ("{about}", r"^(?P<who>[Pp]lease|[Yy]ou (?:can|should)) use (?P<value>\S+) (?:as|for) (?:my|our) (?P<about>[\w -]+?)(?: from now on| now| instead)*$"),
    ("use for {about}", rf"^{_WHO} {_ADVERBS}(?:use|uses|using|switched to|changed to|moved to) (?P<value>.+?) (?:for|as) (?:my |our |his |her |their |the )?(?P<about>[\w -]+)$"),
    ("{about}", rf"^{_WHO} {_ADVERBS}(?:changed|switched|updated|moved|renamed|rescheduled|set) (?:my|our|the|his|her|their) (?P<about>[\w' -]+?)(?: from .+?)? to (?P<value>.+)$"),
    ("{about}", rf"^{_WHO} {_ADVERBS}(?:got |have |has )?(?:a|an|my|our) new (?P<about>[\w' -]+?)(?::|,| -| is) (?P<value>.+)$"),
    ("phone number", r"^(?P<who>[Yy]ou) (?:can|should) (?:now )?(?:reach|call|text|phone|contact) me (?:now )?(?:at|on|under) (?P<value>[\d+(].+)$"),
    ("email", r"^(?P<who>[Yy]ou) (?:can|should) (?:now )?(?:reach|email|write|contact) me (?:now )?(?:at|under) (?P<value>\S+@.+)$"),
    ("bank", rf"^{_WHO} {_ADVERBS}(?:bank|banks|banking) (?:with|at) (?P<value>.+)$"),
    ("school", rf"^{_WHO} {_ADVERBS}(?:study|studies|studying|enrolled|go to school|goes to school) (?:at|in) (?P<value>.+)$"),
    ("preference", rf"^{_WHO} {_ADVERBS}(?:prefer|prefers) (?P<value>.+?)(?: (?:to|over|rather than) .+)?$"),
]  # fmt: skip
_PERSONAL_RULES = [(name, re.compile(rule)) for name, rule in _PERSONAL]
_ENDED = [
    ("home", re.compile(rf"^{_WHO} no longer (?:live|lives|reside|resides) (?:in|at|on) (?P<value>.+)$")),
    ("employer", re.compile(rf"^{_WHO} no longer (?:work|works) (?:at|for) (?P<value>.+)$")),
    ("employer", re.compile(rf"^{_WHO} {_ADVERBS}(?:quit|left|resigned from|retired from) (?:my |his |her |the )?(?:job at )?(?P<value>[A-Z].+)$")),
    ("car", re.compile(rf"^{_WHO} no longer (?:drive|drives) (?P<value>.+)$")),
]  # fmt: skip
_THING = re.compile(
    rf"^(?P<owner>[Mm]y|[Oo]ur|[Tt]he|{_NAME}'s?) (?P<about>[\w' -]{{2,60}}?) (?:{_MOVED}|{_IS}) (?P<value>.+)$"
)
# What has one value, whatever that value looks like.
_OF_ONE_VALUE = re.compile(
    r"^(?:favou?rite|go-to|preferred) |(?:^| )(?:name|address|number|phone|email|e-mail|password|passcode|code|pin|job|"
    r"occupation|profession|employer|boss|manager|title|status|size|age|birthday|plan|subscription|provider|supplier|"
    r"budget|price|cost|rent|salary|deadline|date|time|colou?r|version|leader|captain|president|owner|landlord|doctor|"
    r"dentist|therapist|roommate|major|school|hometown|location|venue|capital|limit|rate|quota|model|language|editor|"
    r"username|handle|nickname|route|schedule|shift|seat|allergy|diet|car|phone|laptop|bank|gym|team|project)$",
    re.IGNORECASE,
)


def differs(one: str, other: str) -> bool:
    """Tell whether two values are of the same kinds, units and times ("per hour"), and not the same."""
    if may_be_one_name(one, other):
        return False
    rates = [set(_RATE.findall(each)) for each in (one, other)]
    if all(rates) and rates[0] != rates[1]:
        return False
    mine, others = (values_of(each, None)[1] for each in (one, other))
    kinds = [
        {(each.kind, each.form[1] if each.kind == "number" else None) for each in some}
        for some in (mine, others)
    ]
    if kinds[0] != kinds[1]:
        return False
    return not mine or not all(any(a.stands_in(b) or b.stands_in(a) for b in others) for a in mine)


def may_be_one_name(one: str, other: str) -> bool:
    """Tell whether two values may be spellings of one: "2.1" and "2.1.0", initials, "Munich" and "München"."""
    shorter, longer = sorted((one, other), key=len)
    if _VERSION.fullmatch(shorter) and re.fullmatch(rf"{re.escape(shorter)}(?:\.0)+", longer):
        return True
    words = longer.split()
    if len(words) > 1 and shorter.replace(".", "") == "".join(word[0] for word in words):
        return True
    plain = [_without_accents(each) for each in (one, other)]
    if one.isascii() == other.isascii() or plain[0][:1] != plain[1][:1]:
        return False
    return SequenceMatcher(None, plain[0], plain[1], autojunk=False).ratio() >= _ONE_SPELLING


_VERSION = re.compile(r"v?\d+(?:\.\d+)*")
_ONE_SPELLING = 0.7  # of two names of which one has accents, what they share


def _without_accents(text: str) -> str:
    return "".join(each for each in normalize("NFD", text) if not combining(each))


_THINGS = re.compile(r"(?:^| )(?:car|phone|laptop|bank|gym|team|project)$")
"""What has a name and many qualities."""


def facts_of(text: str, speaker: str | None = None) -> list[Fact]:
    """Return the facts that a text states.

    Parameters
    ----------
    speaker
        Who says "I"; without one it is whoever the text names before a colon, or nobody in particular.
    """
    said = text
    if speaker and text.startswith(f"{speaker}:"):
        said = text[len(speaker) + 1 :]
    elif speaker is None and (named := re.match(rf"^({_NAME}):\s+", text)) and not _OPENING.match(text):
        speaker, said = named[1], text[named.end() :]
    whole = max(len(said.strip()), 1)
    if not is_english(said):
        return []
    stating = [each for each in sentences(said.strip()) if not is_small_talk(each)]
    found = []
    for sentence in stating:
        if not sentence.rstrip("\"'”’)").endswith("?"):
            share = len(sentence) / whole
            changes = len(stating) == 1 and CHANGES.search(sentence) is not None
            for each in _stated(_plain(sentence), (speaker or "i").casefold()):
                found.append(replace(each, share=share, changes=changes))
    return found


def is_english(text: str) -> bool:
    """Tell whether a text is in English, as far as its words say; the rules are for no other language."""
    return detect({*re.findall(r"[^\W\d_]+", text)}, text, least=1) in ("english", None)


def _plain(sentence: str) -> str:
    """Return a sentence without what opens it, with its contractions written out."""
    sentence = sentence.strip().replace("’", "'").strip("\"'“”*_ ")
    sentence = _OPENING.sub("", sentence)
    for short, long in (
        ("I'm", "I am"),
        ("I've", "I have"),
        ("We're", "We are"),
        ("we're", "we are"),
        ("We've", "We have"),
        ("n't", " not"),
    ):
        sentence = sentence.replace(short, long)
    sentence = re.sub(r"\b(has|have) (just |now |recently |since |finally )?gotten\b", r"\1 \2got", sentence)
    sentence = sentence.rstrip(" .!…")
    return sentence[:1].upper() + sentence[1:] if sentence[:2] in ("we", "my", "i ", "ou", "th") else sentence


def _stated(sentence: str, speaker: str) -> Iterator[Fact]:
    for attribute, rule in _ENDED:
        if (found := rule.match(sentence)) and _PROPER.fullmatch(_TAIL.sub("", found["value"])):
            yield Fact(_subject(found["who"], speaker), attribute, _value(found["value"]), gone=True)
            return
    if HEDGED.search(sentence):
        return
    for attribute, rule in _PERSONAL_RULES:
        if (found := rule.match(sentence)) and (value := _value(found["value"])):
            named = found.groupdict()
            about = _attribute(named.get("about") or "")
            if _OLD.search(named.get("about") or "") or _is_thing(found["who"]):
                continue
            raw = _LEADING.sub("", _TAIL.sub("", found["value"]))
            if _PROPER.fullmatch(raw) or (attribute not in _NAMED and len(value.split()) <= _MOST_WORDS):
                yield Fact(_subject(found["who"], speaker), attribute.format(about=about), value)
            return
    if found := _THING.match(sentence):
        yield from _of_thing(found, speaker)


def _is_thing(who: str) -> bool:
    """Tell whether "my …" is a thing that moves or costs, and nobody who lives somewhere."""
    words = who.split()
    return words[0].casefold() in ("my", "our") and bool(_OF_ONE_VALUE.search(words[-1]))


def _of_thing(found: re.Match[str], speaker: str) -> Iterator[Fact]:
    if _OLD.search(found["about"]):
        return
    owner = found["owner"].casefold()
    subject = (
        speaker
        if owner in ("my", "our")
        else ""
        if owner == "the"
        else owner.removesuffix("'s").removesuffix("'")
    )
    about = _attribute(found["about"])
    value = found["value"]
    kinds = [
        (kind, rule.search(value))
        for kind, rule in (("day", DAY), ("time", TIME), ("amount", AMOUNT), ("room", ROOM))
    ]
    if any(match for _, match in kinds):
        for kind, match in kinds:
            if match:
                yield Fact(subject, f"{about}, {kind}", _folded(match[0]))
        return
    changed = re.search(_MOVED, found[0][: found.start("value") - found.start()]) is not None
    plain = _value(value)
    if about in ("home", "flat", "apartment", "house") and re.match(r"(?:in|at) ", value):
        about, subject = "home", speaker if owner in ("my", "our") else subject.removesuffix("'")
    first = _LEADING.sub("", value.lstrip("\"'“"))[:1]
    named = plain and (first.isupper() or any(each.isdigit() for each in plain))
    if plain and (named or (not _THINGS.search(about) and (changed or _OF_ONE_VALUE.search(about)))):
        yield Fact(subject, about, plain, named=bool(named))


def _subject(who: str, speaker: str) -> str:
    words = _NEW.sub("", who).casefold().removesuffix("'s")
    if words.split()[0] in ("i", "we", "you", "please"):
        return speaker
    for mine in ("my ", "our "):
        if words.startswith(mine):
            return f"{speaker}'s {words.removeprefix(mine)}"
    return words


def _attribute(about: str) -> str:
    words = _NEW.sub("", f"{about} ").strip().casefold()
    words = re.sub(r"^(?:go-to|preferred|favourite) ", "favorite ", words)
    words = re.sub(r"(?:'s name|^name of )", "", words.replace("colour", "color"))
    words = re.sub(r"e-?mail(?: address)?$", "email", words)
    return re.sub(
        r"^(?:number|(?:phone|mobile|cell|telephone)(?: phone)?(?: number)?)$", "phone number", words
    )


def _value(text: str) -> str:
    text = _TAIL.sub("", text)
    while (shorter := _NEW.sub("", _LEADING.sub("", text))) != text:
        text = shorter
    return _folded(text)


def _folded(text: str) -> str:
    return " ".join(re.findall(r"[\w@.+$€£%:/-]*(?:\d,\d[\w.,]*)*\w|\w", text.casefold()))
