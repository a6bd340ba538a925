"""What a value of the configuration may be: sections, keys and their types, and text read as one of them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from aios_db.schema.config import Config, Range, Share, Shares

LARGEST: Mapping[type, float] = MappingProxyType({int: 2**31 - 1, float: 10**9})
"""The largest number of a key without a limit of its own."""
ROOT = ""
"""The section of the keys that stand outside of any section."""

BOOLEANS = MappingProxyType(
    {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
)


def sections() -> dict[str, type]:
    """Return the sections by name in the order of the reference; the root, of name ``""``, comes first."""
    hints: dict[str, type] = get_type_hints(Config)
    parts = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    return {ROOT: Config, **parts}


def keys(section: type) -> dict[str, Any]:
    """Return the type of each key of a section, ``Annotated`` ranges included; sub-sections left out."""
    hints = get_type_hints(section, include_extras=True)
    return {name: hint for name, hint in hints.items() if not dataclasses.is_dataclass(hint)}


def unpack(hint: Any) -> tuple[Any, Range | None]:
    """Return the plain type of a key, and the range of its values."""
    if get_origin(hint) is not Annotated:
        return hint, None
    base, *extras = get_args(hint)
    return base, next((extra for extra in extras if isinstance(extra, Range)), None)


def describe_type(hint: Any) -> str:
    """Return a type as the reference and the error messages put it: ``an integer from 0 to 10``."""
    base, limits = unpack(hint)
    if get_origin(base) is Literal:
        return "one of " + ", ".join(get_args(base))
    if base == Shares:
        return "a number from 0 to 1 for each of some patterns"
    words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[base]
    if limits is None:
        return words
    if limits.most >= LARGEST[base]:
        return f"{words} of at least {limits.least:g}"
    return f"{words} from {limits.least:g} to {limits.most:g}"


def parse_setting(section_name: str, key: str, value: object) -> Any:
    """Return the value of a key from what a file or a variable holds for it; an empty one is the default.

    Raises
    ------
    ValueError
        There is no such section or key, or the value does not fit.
    """
    section = sections().get(section_name)
    if section is None:
        raise ValueError(f"there is no section {section_name!r}{suggest(section_name, sections())}")
    known = keys(section)
    if key not in known:
        candidates = [*known, *sections()] if section_name == ROOT else [*known]
        raise ValueError(f"there is no such key{suggest(key, candidates)}")
    if value == "":
        return getattr(section(), key)
    return parse(value, known[key])


def parse(value: object, hint: Any) -> Any:
    """Return a value of the type ``hint`` from text, or from a section where the type is one.

    Raises
    ------
    ValueError
        It does not fit.
    """
    base, limits = unpack(hint)
    wrong = ValueError(f"must be {describe_type(hint)}, not {show(value)}")
    if base == Shares:
        return _shares(value, wrong)
    if not isinstance(value, str):
        raise wrong
    if get_origin(base) is Literal:
        choices = {each.lower(): each for each in get_args(base)}
        if value.lower() not in choices:
            raise ValueError(f"{wrong}{suggest(value, get_args(base))}")
        return choices[value.lower()]
    if base is str:
        return value
    try:
        parsed: bool | int | float = BOOLEANS[value.lower()] if base is bool else base(value)
    except (KeyError, ValueError):
        raise wrong from None
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise wrong
    largest = LARGEST.get(base, math.inf)
    most = largest if limits is None or limits.most == math.inf else limits.most
    if abs(parsed) > most >= largest:
        raise ValueError(f"must be at most {most:,}, not {show(value)}")
    if limits and not limits.least <= parsed <= most:
        raise wrong
    return parsed


def as_text(value: object) -> object:
    """Return a value of Python's as a file would have it, for the one parser."""
    if isinstance(value, Mapping):
        return {str(key): as_text(each) for key, each in value.items()}
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else ""
    if isinstance(value, tuple):  # of the pairs of a `Config`, or of names
        pairs = [each for each in value if isinstance(each, tuple) and len(each) == 2]
        return as_text(dict(pairs)) if len(pairs) == len(value) else list(value)
    return str(value) if isinstance(value, int | float) or hasattr(value, "__fspath__") else value


def suggest(word: str, candidates: Iterable[str]) -> str:
    """Return a hint at the candidate that ``word`` is most like, if any is."""
    near = difflib.get_close_matches(word, [candidate for candidate in candidates if candidate], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def show(value: object) -> str:
    """Return a value for a message; a nested one is only named."""
    if isinstance(value, dict):
        return "a section"
    return "a list" if isinstance(value, list) else reprlib.repr(value)


def _shares(value: object, wrong: ValueError) -> Shares:
    """Return the numbers of a section, or of a text: ``a*=0.2, b=1``, or a JSON object for any names."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            pairs = [(name, str(share)) for name, share in json.loads(value).items()]
        except ValueError:
            raise wrong from None
    elif isinstance(value, str):
        pairs = [each.rpartition("=")[::2] for each in value.split(",") if each.strip()]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise wrong
    return tuple((name.strip(), parse(share, Share)) for name, share in pairs)
