# ruff: noqa: E501 - a rule is one line
"""Facts of which one value holds at a time, as sentences state them: whose, which, what.

They are found by rules, which know some ways to say where somebody lives, works, what a thing is, costs, or
when it takes place. A sentence that asks, denies, supposes, plans or tells of the past states none: in doubt
there is no fact. What limits a value ("for children", "on Sundays") belongs to what it is a value of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from aios_db.lifecycle.change_words import MOVED
from aios_db.lifecycle.fact_values import AMOUNT, DAY, ROOM, TIME, differs, says_as_much
from aios_db.lifecycle.statements import NAME, Statement, Told

_WHO = rf"(?P<who>I|We|we|{NAME}(?:'s [\w-]+)?|(?:[Mm]y|[Oo]ur) (?:[\w-]+ ){{0,2}}?[\w-]+?)"
_ADVERBS = r"(?:(?:now|currently|just|recently|finally|actually|still|officially|since|already|have|has|am|is|are|got) )*"
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December|spring|summer|autumn|winter"
_TAIL = re.compile(
    rf"(?:(?:\s*[,;:(!?–—-]+\s*|\s*(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)(?<!\bProf)\.(?=\s|$)\s*|\s+)(?:(?:right )?now|these days|nowadays|"
    rf"instead|any ?more|at the moment|at present|by the way|btw|currently|recently|today|yesterday|already|permanently|officially|for good|from now on|again|"
    rf"(?:last|this) (?:week|month|year|spring|summer|autumn|fall|winter)|in (?:{_MONTH}|\d{{4}})|(?:on|last|this|since) (?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|(?:at|on) the (?:first|beginning|start|end|\d+\w*) of .*|"
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
_IS = r"(?:is|are|=|:)(?: (?:now|currently|actually|officially|at|set to|set for))*|has become|became|costs?(?: now)?|takes place(?: now)?|(?:starts|meets|happens|begins|opens|closes|runs|(?:is|are) held)(?: now)?|(?:has|have) (?:always )?been|is (?:now )?called"
_SINGLE = (
    "single married engaged divorced widowed separated", "vegan vegetarian pescatarian omnivore",
)  # fmt: skip

_SAY_NO_LIMIT = frozenset(
    [
        "on",
        "at",
        "in",
        "from",
        "to",
        "the",
        "a",
        "an",
        "of",
        "for",
        "by",
        "and",
        "now",
        "it",
        "is",
        "every",
        "each",
    ]
)
_PROPER = re.compile(
    r"(?:(?:the|The) )?[A-Z][\w'&.-]*(?: (?:(?:of|de|la|del|and|upon|&) )?[A-Z0-9][\w'&.-]*)*"
)
_NAMED = frozenset(
    ["home", "employer", "car", "bank", "team", "school"]
)  # what has a proper name as its value
_OWNED = "has "  # before what somebody has, of which there may be more
_KIND = "kind of "  # before what somebody is or uses, of which the value is a kind: "junior developer"
_USE = "use for "
_PLACE = "place"
OF_USED = "in use"
"""The attribute of whatever somebody uses: who switched from one to another has said of which it is so no longer."""
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
    old: str = ""
    """What the value was before, where that is said."""
    said: str = field(default="", compare=False, repr=False)
    """The whole text, in lower case."""
    year: int | None = None
    """Since when it is so, where that is said."""

    def conflicts(self, older: Fact, since: int | None = None) -> bool:
        """Tell whether an older one holds no longer, since it cannot hold at once.

        A value that says more than the other is no other value, nor is one of another kind or unit, nor what
        somebody is who was named: "my boss is Alex", and is on holiday now. Nor is what is named beside the
        other, as a part of it, nor what was so before the older was said. Without a word of change that goes
        for what has one value alone: there are two meetings, and two dogs.

        Parameters
        ----------
        since
            The year in which the older was said.
        """
        same = says_as_much(self.value, older.value)
        if self.gone != older.gone:
            return same and self.gone
        if same or self.gone or self.attribute.startswith(_OWNED) or not differs(self.value, older.value):
            return False
        if (not self.old and _names(self.said, older.value)) or (self.year and since and self.year < since):
            return False
        about, _, kind = self.attribute.partition(", ")
        is_single = kind != _PLACE and (about in _LISTED or OF_ONE_VALUE.search(about))
        return (
            (self.named or not older.named)
            and (self.named == older.named or not _PERSONS.search(about))
            and (bool(self.old) or self.attribute != OF_USED)
            and bool(self.changes or is_single)
            and (not self.old or says_as_much(self.old, older.value))
        )


_PERSONAL = [
    ("home", rf"^{_WHO} {_ADVERBS}(?:live|lives|living|reside|resides|based|settled)(?: now| currently)?(?: in an? [\w-]+(?: [\w-]+)?)?(?: with [\w ]+?)? (?:in|at|on) (?P<value>.+)$"),
    ("home", rf"^{_WHO} {_ADVERBS}(?:moved|relocated|resettled|move|moving)(?: house| home| back| over| out| away)*(?: from (?P<old>.+?))? (?:to|into) (?P<value>.+)$"),
    ("employer", rf"^{_WHO} {_ADVERBS}(?:work|works|working|employed)(?: now| currently)? (?:at|for|by) (?P<value>.+?)(?: in (?:the )?[a-z][\w ]*)?$"),
    ("employer", rf"^{_WHO} {_ADVERBS}(?:joined|join|started (?:working )?(?:at|for|with)|took a (?:new )?job (?:at|with)|hired by|accepted (?:a job|an offer) (?:at|from)|(?:started )?(?:a |my )?(?:new )?(?:job|role|position) (?:at|with)|switched jobs to|left (?:.+? )?(?:for|to join)) (?P<value>.+?)(?: in (?:the )?[a-z][\w ]*)?$"),
    ("diet", rf"^{_WHO} {_ADVERBS}(?:a |an |become |became |went |gone |turned |eating )*(?P<value>{_SINGLE[1].replace(' ', '|')})(?!-)(?: to [A-Z]\w*)?(?:{_TAIL.pattern})?$"),
    ("role", rf"^{_WHO} {_ADVERBS}(?:work|works|working) as (?P<value>.+)$"),
    ("line of work", rf"^{_WHO} {_ADVERBS}(?:work|works|working) in (?P<value>.+)$"),
    ("role", rf"^{_WHO} {_ADVERBS}(?:promoted to|become|became|appointed|was made) (?P<value>.+)$"),
    ("office in {about}", rf"^{_WHO} {_ADVERBS}the (?P<value>[\w-]+) (?:of|for|at|in) (?P<about>[\w' -]+?)(?: now)?$"),
    ("marital status", rf"^{_WHO} {_ADVERBS}(?P<value>{_SINGLE[0].replace(' ', '|')})(?!-)(?: to [A-Z]\w*)?(?:{_TAIL.pattern})?$"),
    ("age", rf"^{_WHO} (?=.*\b(?:am|is|are|turned|(?:years|yrs) old)\b){_ADVERBS}(?:turned )?(?P<value>\d{{1,3}})(?: years old| yrs old)?(?:{_TAIL.pattern})?$"),
    ("car", rf"^{_WHO} {_ADVERBS}(?:drive|drives|driving) (?P<value>.+)$"),
    ("{about}", r"^(?P<who>[Pp]lease|[Yy]ou (?:can|should)) use (?P<value>\S+) (?:as|for) (?:my|our) (?P<about>[\w -]+?)(?: from now on| now| instead)*$"),
    (_USE + "{about}", rf"^{_WHO} {_ADVERBS}(?:use|uses|using|switched to|changed to|moved to|(?:switched|changed|moved|migrated|went) from (?P<old>.+?) to) (?P<value>.+?) (?:for|as) (?:my |our |his |her |their |the )?(?P<about>[\w -]+)$"),
    (OF_USED, rf"^{_WHO} {_ADVERBS}(?:switched|changed|moved|migrated|went|transferred) from (?P<old>.+?) to (?P<value>.+)$"),
    (OF_USED, rf"^{_WHO} {_ADVERBS}(?:replaced|swapped) (?:my|our|the) (?P<old>.+?) (?:with|for|by) (?P<value>.+)$"),
    ("{about}", rf"^{_WHO} {_ADVERBS}(?:changed|switched) (?P<about>[\w' -]+?) from (?P<old>.+?) to (?P<value>.+)$"),
    ("{about}", rf"^{_WHO} {_ADVERBS}(?:changed|switched|updated|moved|renamed|rescheduled|set) (?:my|our|the|his|her|their) (?P<about>[\w' -]+?)(?: from (?P<old>.+?))? to (?P<value>.+)$"),
    ("{about}", rf"^{_WHO} {_ADVERBS}(?:got |have |has )?(?:a|an|my|our) new (?P<about>[\w' -]+?)(?::|,| -| is)(?: it is)? (?P<value>.+)$"),
    ("phone number", r"^(?P<who>[Yy]ou) (?:can|should) (?:now )?(?:reach|call|text|phone|contact) me (?:now )?(?:at|on|under) (?P<value>[\d+(].+)$"),
    ("email", r"^(?P<who>[Yy]ou) (?:can|should) (?:now )?(?:reach|email|write|contact) me (?:now )?(?:at|under) (?P<value>\S+@.+)$"),
    ("home", rf"^{_WHO} {_ADVERBS}(?:rent|rents|renting) an? (?:[\w-]+ )?(?:flat|house|apartment|room|studio) (?:in|at|on) (?P<value>.+)$"),
    ("bank", rf"^{_WHO} {_ADVERBS}(?:bank|banks|banking) (?:with|at) (?P<value>.+)$"),
    ("team", rf"^{_WHO} {_ADVERBS}(?:play|plays|playing) for (?P<value>.+)$"),
    ("school", rf"^{_WHO} {_ADVERBS}(?:study|studies|studying|enrolled|go to school|goes to school) (?:at|in) (?P<value>.+)$"),
    ("preference", rf"^{_WHO} {_ADVERBS}(?:prefer|prefers) (?P<value>.+?)(?: (?:to|over|rather than) .+)?$"),
    (_OWNED, rf"^{_WHO} {_ADVERBS}(?:own|owns|(?<=have )|(?<=has )) ?(?:an?|the|my|our|his|her|their) (?P<value>[\w' -]+)$"),
    (_KIND, rf"^{_WHO} {_ADVERBS}(?:an? |on the |(?:switched|changed|upgraded|downgraded) to (?:the |an? )?)(?P<value>[\w-]+ [\w-]+)$"),
]  # fmt: skip
_PERSONAL_RULES = [(name, re.compile(rule)) for name, rule in _PERSONAL]
_ENDED = [
    ("employer", re.compile(rf"^{_WHO} {_ADVERBS}(?:quit|left|resigned from|retired from) (?:my |his |her |the )?(?:job at )?(?P<value>[A-Z].+)$")),
]  # fmt: skip
_SOLD = re.compile(
    rf"^{_WHO} {_ADVERBS}(?:sold|traded in|gave away|got rid of|returned|cancelled) (?:my|our|his|her|the) (?P<value>[\w' -]+)$"
)
_THING = re.compile(
    rf"^(?P<owner>[Mm]y|[Oo]ur|[Tt]he|{NAME}'s?) (?P<about>[\w' -]{{2,60}}?) (?:{MOVED}|{_IS}) (?P<value>.+)$"
)
_HOLDS = re.compile(
    rf"^(?P<value>{NAME}) (?:(?P<over>(?:has |have )?(?:just )?(?:took|taken|takes) over as)|is(?: now)?) (?P<the>[Tt]he|[Oo]ur|[Mm]y)? ?(?P<about>[\w' -]+?)"
    r"(?: from [A-Z][\w ]*)?(?: (?:now|from now on|these days))?$"
)
"""That somebody holds an office: "Ann is the coach"."""
# What has one value, whatever that value looks like.
OF_ONE_VALUE = re.compile(
    r"^(?:favou?rite|go-to|preferred) |(?:^| )(?:head|chief|chair|captain|president|director|leader|editor|owner) of (?:the )?\w+$|"
    r"(?:^| )(?:c[eft]o|head|chair|chairman|chairwoman|director|supervisor|coach|lead|mayor|principal|tutor|name|address|number|phone|email|e-mail|password|passcode|code|pin|job|"
    r"occupation|profession|employer|boss|manager|title|status|size|age|birthday|plan|subscription|provider|supplier|"
    r"budget|price|cost|rent|salary|deadline|date|time|colou?r|version|leader|captain|president|owner|landlord|doctor|"
    r"dentist|therapist|roommate|major|school|hometown|location|venue|capital|limit|rate|quota|model|language|editor|"
    r"username|handle|nickname|route|schedule|shift|seat|allergy|diet|car|phone|laptop|bank|gym|team|project)$",
    re.IGNORECASE,
)


_PERSONS = re.compile(
    r"(?:^| )(?:boss|manager|coach|lead|tutor|supervisor|director|mayor|principal|captain|president|owner|landlord|"
    r"doctor|dentist|therapist|roommate)$"
)
"""Who has a name and many qualities, so that no name takes the place of a quality."""

_PLACED = re.compile(
    r"^(?:(?:kept|parked|stored|hosted|located|held|based) )?(?:in|on|at|under|behind|beside|above|below|near|next to|inside|outside) "
    r"(?P<known>(?:the|my|our|his|her|their) )?"
)
_RELOCATED = re.compile(r"\b(?:moved|relocated|transferred)\b")


def _names(text: str, value: str) -> bool:
    """Tell whether a text names a value, but as what it was before."""
    return (
        re.search(
            rf"(?<!\bfrom )(?<!\bleft )(?<!\binstead of )(?<!\bout of )(?<!\bthan )(?<!\bnot )(?<!\bquit )(?<![\w.]){re.escape(value)}(?!\w|\.\w)",
            text,
        )
        is not None
    )


_IN_YEAR = re.compile(r"\b(?:in|since)(?: [A-Z]\w+)? ((?:19|20)\d\d)\b")


def _year(sentence: str) -> int | None:
    found = _IN_YEAR.search(sentence)
    return int(found[1]) if found else None


_THINGS = re.compile(r"(?:^| )(?:car|phone|laptop|bank|gym|team|project)$")
"""What has a name and many qualities."""


def facts_of(told: Told) -> list[Fact]:
    """Return the facts that a text states, each from a whole sentence, or else from a clause of it."""
    found: list[Fact] = []
    for sentence in told.sentences:
        for place, each in enumerate(sentence):
            stated = [*_stated(each, told.speaker)]
            found += [
                replace(
                    fact,
                    share=each.share,
                    changes=each.changes,
                    said=told.said.casefold(),
                    year=_year(each.text),
                )
                for fact in stated
            ]
            if stated and not place:
                break
    return found


def _stated(statement: Statement, speaker: str) -> Iterator[Fact]:
    """Yield what a sentence says is so, or is so no longer."""
    for attribute, rule in _ENDED:
        if (found := rule.match(statement.text)) and _PROPER.fullmatch(_TAIL.sub("", found["value"])):
            yield Fact(_subject(found["who"], speaker), attribute, _value(found["value"]), gone=True)
            return
    if found := _SOLD.match(statement.text):
        for attribute in ("car", _OWNED):
            yield _of_person(attribute, found, speaker, _value(found["value"]), gone=True)
    elif not statement.is_hedged:
        for each in _holding(statement.text, speaker):
            yield replace(each, gone=statement.is_over)


def _holding(sentence: str, speaker: str) -> Iterator[Fact]:
    for attribute, rule in _PERSONAL_RULES:
        if (found := rule.match(sentence)) and (value := _value(found["value"])):
            about = found.groupdict().get("about") or ""
            if _OLD.search(about) or _is_thing(found["who"]):
                continue
            raw = _LEADING.sub("", _TAIL.sub("", found["value"]))
            if _PROPER.fullmatch(raw) or (attribute not in _NAMED and len(value.split()) <= _MOST_WORDS):
                fact = _of_person(attribute, found, speaker, value)
                yield fact
                if attribute == "role":
                    yield replace(fact, attribute=_KIND + value.split()[-1])
                if attribute == "home" and value[:1].isdigit():
                    yield replace(fact, attribute="address")
                if _THINGS.search(fact.attribute) or fact.attribute.startswith(_USE):
                    yield replace(fact, attribute=OF_USED)
            return
    found = _HOLDS.match(sentence)
    if found and (
        found["over"] or (found["the"] or "").casefold() == "the" or OF_ONE_VALUE.search(found["about"])
    ):
        of_speaker = (found["the"] or "").casefold() in ("my", "our")
        yield Fact(speaker if of_speaker else "", _attribute(found["about"]), _value(found["value"]))
    elif found := _THING.match(sentence):
        yield from _of_thing(found, speaker)


def _of_person(attribute: str, found: re.Match[str], speaker: str, value: str, *, gone: bool = False) -> Fact:
    named = found.groupdict()
    attribute = attribute.format(about=_attribute(named.get("about") or ""))
    if attribute in (_OWNED, _KIND):
        attribute += value.rsplit(maxsplit=1)[-1]
    return Fact(_subject(found["who"], speaker), attribute, value, gone, old=_value(named.get("old") or ""))


def _is_thing(who: str) -> bool:
    """Tell whether "my …" is a thing that moves or costs, and nobody who lives somewhere."""
    words = who.split()
    return words[0].casefold() in ("my", "our") and bool(OF_ONE_VALUE.search(words[-1]))


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
    if _CLOSES.search(found[0][found.end("about") - found.start() : found.start("value") - found.start()]):
        about += " closing"
    value = found["value"]
    kinds = [
        (kind, rule.search(value))
        for kind, rule in (("day", DAY), ("time", TIME), ("amount", AMOUNT), ("room", ROOM))
    ]
    if any(match for _, match in kinds):
        limits = _limits(value, [match[0] for _, match in kinds if match])
        for kind, match in kinds:
            if match:
                what = _PRICED.sub("", about) if kind == "amount" else about
                yield Fact(subject, f"{what or about}, {kind}{limits}", _folded(match[0]))
        return
    changed = re.search(MOVED, found[0][: found.start("value") - found.start()])
    plain = _value(value)
    if about in ("home", "flat", "apartment", "house") and re.match(r"(?:in|at) ", value):
        about, subject = "home", speaker if owner in ("my", "our") else subject.removesuffix("'")
    if (count := _COUNT.match(value)) and _LIMITING.match(value[count.end() :]):
        about += _limits(value, [count[0]])
    first, _, _ = _LEADING.sub("", value.lstrip("\"'“")).partition(" ")
    if about == "phone number" and not any(each.isdigit() for each in plain):
        about = "phone"
    named = plain and (first.lower() != first or any(each.isdigit() for each in plain))
    placed = about != "home" and _PLACED.match(value)
    if placed or (about != "home" and named and changed and _RELOCATED.search(changed[0])):
        if named or (placed and placed["known"] and len(plain.split()) <= _MOST_WORDS):
            yield Fact(subject, f"{about}, {_PLACE}", plain, named=bool(named))
    elif plain and (named or (not _THINGS.search(about) and (changed or OF_ONE_VALUE.search(about)))):
        yield Fact(subject, about, plain, named=bool(named))


_CLOSES = re.compile(r"\bcloses\b")
_LIMITING = re.compile(r" (?:for|on|at|in|during|with|without|by)\b")
_PRICED = re.compile(r"^(?:price|cost|fee)s? (?:of|for) (?:the |an? |one )?|(?<=\w) (?:price|cost|fee)s?$")
_COUNT = re.compile(r"\d[\d.,]* ?[\w%]*")


def _limits(value: str, found: list[str]) -> str:
    """Return the words that limit for whom or when a value holds, behind a space: "for children", "on Sundays"."""
    for each in found:
        value = value.replace(each, " ", 1)
    rest = _folded(_TAIL.sub("", value)).split()
    return f" {' '.join(rest)}" if {*rest} - _SAY_NO_LIMIT else ""


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
