"""The form in which texts are compared: what people read as the same is the same.

It follows Unicode's NFKC_Casefold (UAX 31, UAX 44): compatibility forms become plain ones, case goes, and so
do characters that nobody sees, the sign of a trade mark among them. Beyond it, digits of all scripts become 0
to 9, apostrophes and hyphens of all kinds one of each, and what is optional in writing is left out: the vowel
points of Arabic and Hebrew, the tatweel, the dot that lower-casing İ leaves behind. Only matching uses it;
stored texts stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

import regex

_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u2122\u2120]+")
_OTHER_DIGIT = regex.compile(r"(?V1)[\p{Nd}--[0-9]]")
# Points over and under letters that readers of Arabic and Hebrew do without, and the hamza of أ إ ؤ ئ.
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]+"
)
_DOTTED_I = re.compile("(?<=[iI])\u0307")
_BETWEEN_ARABIC = regex.compile(r"(?<=\p{Arabic})\u200c(?=\p{Arabic})")
# The quotation marks of Hebrew abbreviations, and the dot of a Catalan l·l.
_IN_WORDS = re.compile("(?<=[\u05d0-\u05ea])[\"'](?=[\u05d0-\u05ea])|(?<=[lL])\u00b7(?=[lL])")
_THOUSANDS = re.compile("(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_LETTERS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02bb\u02b9\u2032\u00b4\u055a\u05f3\ua78c", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u05f4\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2212\u2043\u05be\u058a\ufe63", "-"),
        "\u0640": None,  # tatweel
        "\u0326": "\u0327",  # the comma below of ș, for which a cedilla is as frequent
        "\u0131": "i",  # ı
        "\u06a9": "\u0643",  # Persian kaf and yeh, and the other letters that keyboards and fonts mix up
        "\u06cc": "\u064a",
        "\u0649": "\u064a",
        "\u0629": "\u0647",
        "\u06c1": "\u0647",
        "\u066b": ".",
        "\u066c": ",",
        "\u2044": "/",
    }
)
# What is most of what is not ASCII in English texts; four replacements cost less than one translation.
_USUAL = (("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2011", "-"))


def joined_thousands(text: str) -> str:
    """Return ``text`` with commas for the spaces that group the digits of a number."""
    return text if text.isascii() else _THOUSANDS.sub(",", text)


def cleaned(text: str) -> str:
    """Return ``text`` in the normal form for matching, but in its own case."""
    if text.isascii():
        return text
    for one, plain in _USUAL:
        text = text.replace(one, plain)
    if text.isascii():
        return text
    text = _BETWEEN_ARABIC.sub("-", joined_thousands(text))
    text = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)).translate(_LETTERS)
    text = _DOTTED_I.sub("", _POINTS.sub("", text))
    text = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0], digit[0])), text)
    return unicodedata.normalize("NFC", _IN_WORDS.sub("", text))


def folded(text: str) -> str:
    """Return ``text`` in the normal form for matching; it is its own normal form.

    Examples
    --------
    >>> folded("Ｅ‑Mail an MÜLLER, Straße №７")
    'e-mail an müller, strasse no7'
    """
    if text.isascii():
        return text.lower()
    # Twice, as in the definition of NFKC_Casefold: folding can make characters that are not decomposed.
    for _ in range(2):
        text = cleaned(unicodedata.normalize("NFKD", cleaned(text)).casefold())
    return text


# Letters with a stroke or joined, which have no decomposition but are typed without it.
_PLAIN = str.maketrans(
    {
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ł": "l",
        "ħ": "h",
        "ŧ": "t",
        "ŋ": "n",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ё": "е",
    }
)
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
# Marks that many leave out. Those of other scripts (the vowels of Hindi and Thai) make another word.
_OPTIONAL_MARK = regex.compile(
    r"(?<=[\p{Latin}\p{Greek}]\p{Mn}*)\p{Mn}|(?<=\p{Cyrillic})[\u0300\u0301]|\p{Mn}(?<=[\u093c\u09bc\u0a3c])"
)


def without_diacritics(word: str) -> str:
    """Return a folded word as it is typed on a keyboard that lacks its letters: ``müller`` as ``muller``."""
    if word.isascii():
        return word
    bare = _OPTIONAL_MARK.sub("", unicodedata.normalize("NFD", word.translate(_PLAIN)))
    return unicodedata.normalize("NFC", bare)


def spelled_out(word: str) -> str:
    """Return a folded word with its umlauts as two letters: ``müller`` as ``mueller``."""
    return word.translate(_SPELLED_OUT)
