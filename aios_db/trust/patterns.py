r"""Text that reads like an instruction to the agent that will recall it, and not like something to know.

Only texts from sources that are not trusted are looked at (`Standing`); a pattern is there to hold the blunt
ones among them. An ordinary sentence that is held is worse than an attack that is missed, since trust caps
what is missed: so each pattern wants an imperative and its object (``ignore … instructions``), not a word.
They are applied to text in lower case, in Unicode's NFKC form, without invisible characters and with single
spaces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_WORDS = r"(?:\W{1,3}\w+){0,%d}?\W{1,3}"  # so many words at most, between two others
_START = (
    r"(?:^|[.!?:;\n>\])}*\"'“”,-]|\b(?:please|now|and|then|must|should|you|just|always|simply|"
    r"(?:instructed|required|need|have|told|asked|free|allowed|ordered|supposed) to))\s*"
)
_RULES = (
    r"(?:instructions?|directives?|guidelines|safety|guardrails|system prompts?|programming|prompts?|"
    r"restrictions|rules|polic(?:y|ies)|constraints|safeguards|orders)\b"
)
_ABOUT = r"(?!\s+(?:about|on|for|in|from|regarding|of)\b)"
_PERSON = r"(?:the |any |a |your )?(?:user|operator|human|admin(?:istrator)?)s?"
_NO_MORE = r"(?=\s*(?:[.;!)]|$)|\s+(?:that|about (?:this|it)|of (?:this|it))\b)"
_ORDER = r"(?:^|[.!?:;\n>\])}*\"'“”-]|\b(?:please|must|should|to))\s*"


@dataclass(frozen=True)
class _Shape:
    """What a text can read like: looked for only where it has one of ``words``."""

    reason: str
    words: tuple[str, ...]
    patterns: tuple[str, ...]


_SHAPES = (
    _Shape(
        "tells the agent to ignore its instructions",
        ("ignor", "disregard", "forget", "override", "bypass", "discard", "vergiss", "missachte", "oublie",
         "olvid"),
        (
            _START
            + r"(?:ignore|disregard|forget|override|bypass|discard)\s+(?:(?:all of|any of|all|any|every|"
            r"the|your|"
            r"these|those|previous|prior|earlier|above|preceding|former|existing|current|safety|"
            r"system|security)"
            r"\s+)+" + _RULES + _ABOUT,
            r"\bbypass(?:ing)?\s+(?:every|all|any)\s+(?:security|safety)\s+(?:check|control|filter)s?\b",
            # German, French, Spanish
            r"\b(?:ignoriere|vergiss|missachte)\s+(?:alle|sämtliche|deine|"
            r"die)\s+(?:\w+\s+)?(?:anweisungen|regeln)\b",
            r"\b(?:ignore[zr]?|oublie[zr]?)\s+(?:toutes\s+)?(?:les|tes|vos)\s+(?:instructions|consignes|"
            r"règles)\b",
            r"\b(?:ignora|olvida|ignore|olvide)\s+(?:todas\s+)?(?:las|tus|sus)\s+(?:instrucciones|"
            r"reglas)\b",
        ),
    ),
    _Shape(
        "gives the agent another role",
        ("anything now", "you are", "you have", "with no ", "act as", "the assistant", "the agent"),
        (
            r"\bdo anything now\b",
            r"\byou are (?:now )?(?:an? )?(?:unrestricted|unfiltered|uncensored|jailbroken|amoral)\b",
            r"\byou (?:are|have been) (?:now )?(?:freed?|liberated|released) (?:from|of) (?:all|any|"
            r"your)\s+(?:\w+\s+)?(?:limit(?:ation)?s|restrictions|rules|guidelines|constraints|filters|"
            r"instructions|safeguards)\b",
            r"\b(?:you have|with) no (?:safety|ethical|content|moral) (?:guidelines|restrictions|limits|"
            r"limitations|"
            r"filters?)\b",
            _START
            + r"act as (?:an? |the )?(?:root|superuser|unrestricted|admin(?:istrator)? with)\b",
            r"\byou are now in (?:developer|admin|god|jailbreak) mode\b",
            r"\bthe (?:assistant|agent) (?:now )?has (?:full )?(?:admin(?:istrator)?|root|unrestricted) "
            r"(?:rights|access|privileges|permissions)\b(?!\s+(?:to|on|for|in|of)\b)",
        ),
    ),
    _Shape(
        "imitates the messages of a system",
        ("<", "system", "[inst", "[/inst", "[memory", "[admin", "[user_", "###"),
        (
            r"<\|(?:im_start|im_end|system|endoftext|start_header_id)\|?>",
            r"\[/?inst\]|<<sys>>|</?(?:system|system_prompt|system_instructions?)>",
            r"(?:^|[\n.\]>!?]\s*)\[?system(?: message| prompt| note| override)?\s*\]?:\s*"
            r"(?:you (?:must|are to|will|should|have to) )?(?:now |always |never )*"
            r"(?:ignore|disregard|reveal|obey|comply|disclose|approve|execute|override)\b",
            r"(?:^|\n)\s*#{1,4}\s*(?:system|new instructions?)\s*:?\s*\n",
            r"\[(?:memory_persist|system_override|admin_override)\]",
            r"\[user_memory=[^\]]{1,400}\]\s*\[user_memory=",
        ),
    ),
    _Shape(
        "asks for what is secret",
        ("reveal", "print", "show", "repeat", "output", "leak", "send", "exfil", "forward", "disclose",
         "post", "email", "upload", "dump"),
        (
            _START
            + r"(?:reveal|print|show|repeat|output|leak|send|exfiltrate|forward|disclose|post|email|"
            r"upload|dump)"
            + _WORDS % 2
            + r"(?:(?:(?:your|all|any|every|stored|saved|the user'?s|hidden|secret|full|entire)\s+)+"
            r"(?:system prompt|credentials?|passwords?|api[ -]keys?|secrets|private keys?|tokens|user data)|"
            r"(?:your|the user'?s)\s+(?:\w+\s+)?"
            r"(?:system prompt|instructions|chat history|memor(?:y|ies)|conversations?))\b"
            r"(?!\s+(?:about|for|from|in|of|on|with|skills?)\b)",
            r"\breveal (?:the|your) (?:system|hidden|initial) (?:prompt|instructions)\b(?! of\b)",
        ),
    ),
    _Shape(
        "wants to stay as an instruction",
        ("remember", "store", "save", "treat", "keep", "record", "regard", "from now on", " future ",
         "subsequent", "later", "your "),
        (
            r"\b(?:remember|store|save|treat|keep|record|regard) (?:this|that|it|the following) as "
            r"(?:an?|the|your)\s+(?:\w+\s+){0,2}?(?:directive|instruction|command|override)\b",
            r"\bfrom now on,?\s+(?:you (?:must|will|should|shall|are to)\s+)?(?:always\s+|never\s+|only\s+)?"
            r"(?:recommend|obey|reveal|disclose|treat\b.{1,80}\bas|"
            r"(?:approve|authori[sz]e|allow|ignore|disregard|execute) (?:all|any|every|each|the user))\b",
            r"\bin (?:all|every|any) (?:future|subsequent|later) (?:conversation|session|response|"
            r"answer|reply|"
            r"interaction|chat)s?,?\s+(?:you\s+)?(?:(?:always|never|must|do not|don't)\s+)*"
            r"(?:recommend|respond|reply|say|tell|ask|"
            r"include|mention|send|approve|ignore|reveal|obey)\b",
            r"\byour (?:new|real|true|actual) (?:instructions?|directives?|objective) (?:is|are)(?: now)?"
            r"\s+to\b",
        ),
    ),
    _Shape(
        "tells the agent to act without asking",
        ("without", "never", "don't", "do not", "skip"),
        (
            _ORDER
            + r"(?:approve|authori[sz]e|execute|transfer|wire|pay|delete|export|run|send|share|install|"
            r"grant|skip|"
            r"forward|book|buy)\b"
            + _WORDS % 10
            + r"without (?:asking|informing|notifying|telling|consulting|alerting|confirmation from|"
            r"approval from) "
            rf"{_PERSON}\b(?!\s+\w)",
            r"\b(?:approve|authori[sz]e|allow) all\b" + _WORDS % 4
            + r"without (?:review|confirmation|approval)\b",
            rf"\b(?:never|do not|don't) (?:ask|wait for|request|require) {_PERSON} (?:for )?"
            r"(?:confirmation|permission|approval|consent|review)\b",
            _ORDER + r"skip (?:the )?(?:user|operator|human|owner|admin) (?:confirmation|approval|review|"
            r"consent)\b(?=\s*(?:[.,;!)]|$)|\s+(?:and|for)\b)",
            rf"\b(?:do not|don't|never) (?:tell|inform|notify|alert|mention (?:this|it) to|"
            rf"reveal (?:this|it) to) "
            rf"{_PERSON}" + _NO_MORE,
        ),
    ),
    _Shape(
        "holds a credential",
        ("akia", "gh", "sk-", "xox", "private key"),
        (
            r"\bakia[0-9a-z]{16}\b",
            r"\bgh[pousr]_[a-z0-9]{36}\b",
            r"\bsk-[a-z0-9_-]{24,}\b",
            r"\bxox[abprs]-[a-z0-9-]{20,}\b",
            r"-----begin (?:rsa |ec |openssh )?private key-----",
        ),
    ),
)  # fmt: skip

_COMPILED = tuple(
    (each.reason, each.words, re.compile("|".join(f"(?:{one})" for one in each.patterns))) for each in _SHAPES
)
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?(?:\n ?)+")  # one break for many: patterns would try each of them as their beginning
_INVISIBLE = {
    ord(char): None
    for char in map(chr, [0xAD, 0x34F, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
                          *range(0x2060, 0x2070), 0xFEFF, *range(0xE0000, 0xE0080)])
}  # fmt: skip


def suspicion(text: str) -> str | None:
    """Return why a text from a source that is not trusted is held in quarantine; None where it is not."""
    plain = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).lower()
    plain = _LINES.sub("\n", _SPACES.sub(" ", plain))
    for reason, words, pattern in _COMPILED:
        if any(word in plain for word in words) and pattern.search(plain):
            return reason
    return None
