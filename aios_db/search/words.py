"""What a text's tokens are, and which words each of them can be found by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import regex

from aios_db.search.normal_form import folded

LONGEST = 64  # letters of a word that count
_MOST_PARTS = 16  # of a compound that are joined

# Scripts written without spaces between words, and Korean, whose particles are written with the word.
_UNSPACED = "".join(
    rf"\p{{{script}}}"
    for script in (
        "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo", "Thai", "Lao", "Khmer",
        "Myanmar", "Tibetan", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Balinese", "Javanese", "Yi"
    )
)  # fmt: skip
# A compound is words with one of these between them. A comma joins digits only, and brackets nothing.
_COMPOUND = r"""
    (?: (?<![\w.])\.(?=[^\W\d_]) | [$£€¥#@](?=\w) )?        # .NET  $5  #tag
    {word} (?: (?: [-_'.@/:&\\+]{{1}} | (?<=\d),(?=\d) ) {word} )*
    (?: (?:\+\+|[+#%$£€¥]) (?!\w) )?                        # C++  C#  50%  5€
"""
_SIMPLE = re.compile(_COMPOUND.format(word=r"[^\W_]+"), re.VERBOSE)
_ANY = regex.compile(
    r"(?V1)"
    rf"[[\w&&[{_UNSPACED}]]\u30fc](?:[[\w&&[{_UNSPACED}]]\u30fc]|\p{{M}})*"
    r"|[\U0001f1e6-\U0001f1ff]{2}|[\U0001f3fb-\U0001f3ff]|[\p{So}\p{Sm}\p{Extended_Pictographic}--[+#%|~<>=^]]"
    r"|" + _COMPOUND.format(word=rf"[\p{{L}}\p{{N}}--[{_UNSPACED}]][\p{{L}}\p{{N}}\p{{M}}--[{_UNSPACED}]]*"),
    regex.VERBOSE,
)
_NEEDS_ANY = re.compile(r"[^\x00-\u02ff\u2010-\u2027\u2030-\u205e\u20ac]")
_UNSPACED_RUN = regex.compile(rf"(?V1)[{_UNSPACED}\u30fc]")
_CHARACTER = regex.compile(r"\X")
_JOINER = re.compile(r"[-_.@/:&\\+,]")
_CAMEL = regex.compile(r"(?<=[\p{Ll}\p{N}])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})")
_ELISION = re.compile(
    r"^(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|dell|nell|sull|dall|all|coll|un|quest|quell)'(?=\w{2})"
)
_GROUPED = re.compile(r"(\d{1,3})((?:[.,']\d{3})+)(?:([.,])(\d+))?")
_DECIMAL = re.compile(r"(\d+)[.,](\d+)")
_NUMBERED = re.compile(r"no(\d+)")  # what NFKC makes of №7
_SHORT = 2  # letters of a name that a sign belongs to: C++


@dataclass(frozen=True)
class Token:
    """The words by which a token is found, folded.

    Attributes
    ----------
    words
        What it consists of; they make up the length of a text.
    others
        Other spellings and parts of the same, which count once in a text and not in its length.
    pairs
        What a query looks up of a run of characters without spaces; empty for other tokens.
    """

    words: tuple[str, ...]
    others: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


def tokens(text: str) -> list[str]:
    """Return the tokens of a `cleaned` text in their order."""
    if text.isascii() or not _NEEDS_ANY.search(text):
        return _SIMPLE.findall(text)
    found: list[str] = _ANY.findall(text)
    return found


def parse(token: str) -> Token:
    """Return the words by which a token is found."""
    if token.isascii() and token.isalnum() and (token.islower() or token.istitle() or token.isdigit()):
        return _numbered(token.lower(), ())
    if not token.isascii() and _UNSPACED_RUN.match(token):
        characters = _CHARACTER.findall(folded(token))
        pairs = tuple(map("".join, pairwise(characters)))
        return Token(tuple(characters) + pairs, pairs=pairs or tuple(characters))
    if not any(map(str.isalnum, token)):
        return Token((folded(token),))
    bare = token.strip(".$£€¥#@+%")
    found = _compound(bare)
    if bare == token:
        return found
    whole = folded(bare)
    sign = token.replace(bare, "", 1)
    if sign in {"+", "++", "#"} and token.startswith(bare) and len(whole) <= _SHORT and whole.isalpha():
        return Token((whole + sign,))
    signed = sign + whole if sign in "$£€¥.#@" else whole + sign
    return Token(found.words, (*found.others, signed))


def _compound(token: str) -> Token:
    parts = _JOINER.split(token)
    words = [_plain(part) for part in parts]
    others: list[str] = [other for part in parts if "'" in part for other in _before_apostrophe(part)]
    for part in parts:
        if not (part.islower() or part.isdigit() or part.isupper() or part.istitle()):
            others += [folded(piece) for piece in _CAMEL.split(part) if piece != part]
    if 1 < len(parts) <= _MOST_PARTS:
        if not token[0].isdigit() or not token[-1].isdigit():
            others += [one + other for one, other in pairwise(words)]
        elif len(parts) > 2:
            others += [f"{one}.{other}" for one, other in pairwise(words)]
        others += _joined(token, words)
    elif "'" in token and token[0].isdigit():
        others += _joined(token, words)
    if len(words) == 1:
        return _numbered(words[0], others)
    return Token(tuple(words), tuple(dict.fromkeys(others)))


def _numbered(word: str, others: Sequence[str]) -> Token:
    number = _NUMBERED.fullmatch(word)
    return Token((word,), (*dict.fromkeys(others), number[1]) if number else tuple(dict.fromkeys(others)))


def _joined(token: str, words: list[str]) -> list[str]:
    """Return a compound in one word; of a number, without separators of thousands."""
    if grouped := _GROUPED.fullmatch(token):
        first, rest, _, decimals = grouped.groups()
        separators = {each for each in rest if not each.isdigit()}
        if len(separators) == 1 and not (decimals and grouped[3] in separators):
            whole = first + re.sub(r"\D", "", rest)
            if decimals:
                return [f"{whole}.{decimals}"]
            if "." not in separators or rest.count(".") > 1:
                return [whole]
            return [whole, f"{first}{rest}"]  # 1.234 may be either
    if decimal := _DECIMAL.fullmatch(token):
        return [f"{decimal[1]}.{decimal[2]}"]
    if (
        token.replace(".", "").isdigit()
        or token.replace(":", "").isdigit()
        or token.replace("/", "").isdigit()
    ):
        return [token]
    return ["".join(words)]


def _plain(word: str) -> str:
    """Return a word folded, without what is elided before it (l'école) and without the English genitive."""
    word = folded(word)
    return _ELISION.sub("", word).removesuffix("'s") if "'" in word else word


def _before_apostrophe(word: str) -> list[str]:
    """Return what stands before an apostrophe when it can be a word (Ankara'da)."""
    first = folded(word).split("'")[0]
    return [first] if len(first) > _SHORT else []
