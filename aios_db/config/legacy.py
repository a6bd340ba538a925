"""Names of the older system's configuration, read as what they are called here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple

from aios_db.config.values import BOOLEANS

log = logging.getLogger("aios_db.config")

Place = tuple[str, str]
Translated = list[tuple[str, str, object]]

_MEGABYTE = 1_000_000


class Setting(NamedTuple):
    """One value as found: where it stands, and its unparsed content."""

    place: str
    section: str
    key: str
    value: object


class Alias(NamedTuple):
    """The key that an older name stands for, and what a value of it says today."""

    section: str
    key: str
    translate: Callable[[object], Translated]


def _is(section: str, key: str, **words: str) -> Alias:
    """Return a translation into one key, of some values into others."""
    return Alias(section, key, lambda value: [(section, key, words.get(str(value).lower(), value))])


def _if_true(section: str, key: str, meant: str) -> Alias:
    """Return a translation of a switch into a choice; switched off it says nothing."""

    def translate(value: object) -> Translated:
        if value == "":
            return []
        if not isinstance(value, str) or value.lower() not in BOOLEANS:
            raise ValueError(f"must be true or false, not {value!r}")
        return [(section, key, meant)] if BOOLEANS[value.lower()] else []

    return Alias(section, key, translate)


def _bytes(section: str, key: str) -> Alias:
    """Return a translation of megabytes into bytes."""

    def translate(value: object) -> Translated:
        if value == "":
            return [(section, key, value)]
        try:
            return [(section, key, str(round(float(str(value)) * _MEGABYTE)))]
        except (ValueError, OverflowError):
            raise ValueError(f"must be a number of megabytes, not {value!r}") from None

    return Alias(section, key, translate)


def _names(section: str, key: str) -> Alias:
    """Return a translation of a list of names into a text of them."""
    return Alias(
        section, key, lambda value: [(section, key, ", ".join(value) if isinstance(value, list) else value)]
    )


def _method(value: object) -> Translated:
    if str(value).lower() == "mixed":
        return [("quantization", "method", "gptq"), ("quantization", "mixed_precision", "true")]
    return [("quantization", "method", {"minmax": "ptq", "mse": "ptq"}.get(str(value).lower(), value))]


_METHOD = Alias("quantization", "method", _method)

ALIASES: MappingProxyType[Place, Alias] = MappingProxyType(
    {
        ("device", "device"): _is("device", "target"),
        ("cpu", "use_compile"): _if_true("cpu", "backend", "compile"),
        ("cpu", "use_ipex"): _if_true("cpu", "backend", "ipex"),
        ("cpu", "num_threads"): _is("cpu", "threads"),
        ("gpu", "use_amp"): _is("device", "amp"),
        ("gpu", "vram_threshold"): _is("device", "vram_threshold"),
        ("gpu", "fallback_to_cpu"): _is("device", "fallback_enabled"),
        ("quantization", "quant_type"): _is("quantization", "target"),
        ("quantization", "calibration_method"): _METHOD,
        ("quantization", "method"): _METHOD,
        ("quantization", "sensitive_layers"): _names("quantization", "keep_fp16"),
        ("validation", "cosine_threshold"): _is("validation", "min_cosine"),
        ("validation", "ppl_threshold"): _is("validation", "max_perplexity_increase"),
        ("consolidation", "time_based_schedule"): _is("consolidation", "schedule"),
        ("consolidation", "pressure_threshold_mb"): _bytes("consolidation", "pressure_bytes"),
        ("consolidation", "llm_provider"): _is("llm", "provider", anthropic="claude"),
        ("consolidation", "llm_model"): _is("llm", "model"),
        ("consolidation", "llm_endpoint"): _is("llm", "base_url"),
        ("federation", "enable_delta_sync"): _is("federation", "delta_sync"),
        ("federation", "delta_threshold"): _is("federation", "density"),
    }
)
SECTIONS = frozenset(section for section, _ in ALIASES)


def today(section: str, key: str) -> Place:
    """Return the section and key of today that a name stands for: itself, unless it is an older one."""
    alias = ALIASES.get((section, key))
    return (section, key) if alias is None else (alias.section, alias.key)


def translated(setting: Setting) -> Iterator[Setting]:
    """Yield what a setting says under the names of today: itself, unless it bears an older name or value.

    Raises
    ------
    ValueError
        It bears an older name, and its value does not fit.
    """
    alias = ALIASES.get((setting.section, setting.key))
    if alias is None:
        yield setting
        return
    for section, key, value in alias.translate(setting.value):
        if (section, key) != (setting.section, setting.key):
            log.info("%s is called %s.%s here", setting.place, section, key)
        yield Setting(setting.place, section, key, value)
