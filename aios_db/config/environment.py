"""The configuration in environment variables: ``AIOS_SECTION__KEY``, or ``AIOS_KEY`` outside of sections."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping

from aios_db.config.legacy import ALIASES, Setting
from aios_db.config.values import ROOT, keys, sections
from aios_db.schema.config import Config

log = logging.getLogger("aios_db.config")

PREFIX = "AIOS_"
OTHERS = frozenset({"AIOS_CONFIG", "AIOS_DB", "AIOS_FEDERATION_TOKEN"})
"""Variables of ours that are no keys."""
_ALIKE = 0.75


def from_environment(env: Mapping[str, str], problems: list[str]) -> Iterator[Setting]:
    """Yield what the variables say; note those that are named nearly as a key is, and ignored.

    Those with the names of today come last, and so hold over older ones.
    """
    for variable in sorted(env, key=lambda each: (not _is_older(each), each)):
        if not variable.startswith(PREFIX) or variable in OTHERS:
            continue
        name = variable.removeprefix(PREFIX).lower()
        section, separator, key = name.partition("__")
        if separator:
            yield Setting(f"${variable}", section, key, env[variable])
        elif name in keys(Config):
            yield Setting(f"${variable}", ROOT, name, env[variable])
        elif meant := _meant(name):
            problems.append(f"${variable}: there is no such key (did you mean {meant}?); it is ignored")
        else:
            log.info("$%s is no key of the configuration", variable)


def _is_older(variable: str) -> bool:
    section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
    return (section, key) in ALIASES


def _meant(name: str) -> str | None:
    """Return the variable that a name is most like, if any is."""
    known = {each.removeprefix(PREFIX).lower(): each for each in OTHERS}
    for section, type_ in sections().items():
        for key in keys(type_):
            full = f"{section}__{key}" if section else key
            known[full.replace("__", "_")] = PREFIX + full.upper()
    near = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return known[near[0]] if near else None
