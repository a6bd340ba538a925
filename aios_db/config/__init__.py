"""Reading the configuration: a YAML file, then environment variables, over the defaults.

`aios_db.config.files` says where the file is looked for. ``AIOS_SECTION__KEY``
(``AIOS_CPU__BACKEND=standard``, ``AIOS_STRICT=true``) overrides it, and what a program gives as a mapping
overrides both. A value that cannot be used is logged as an error with its file and line and the default is
kept; ``strict: true`` raises instead, and so does one that the program gave.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios_db.config.anchoring import anchored
from aios_db.config.environment import from_environment
from aios_db.config.files import find_file, read_file
from aios_db.config.legacy import SECTIONS, Place, Setting, today, translated
from aios_db.config.values import ROOT, as_text, describe_type, keys, parse_setting, sections, show
from aios_db.schema.config import Config
from aios_db.schema.errors import ConfigError

__all__ = ["Config", "Loaded", "describe_type", "given_config", "keys", "load_config", "loaded", "sections"]

log = logging.getLogger("aios_db.config")

_GIVEN = "config["

GivenConfig = Config | Mapping[str, object] | str | os.PathLike[str] | None
"""A configuration, some values by section and key, a YAML file's path, or nothing."""


@dataclass(frozen=True)
class Loaded:
    """A configuration and how it came about.

    Attributes
    ----------
    config
        The effective values.
    file
        The file that was read; None is none.
    places
        Of each section and key that was set, where its value stands: ``aios.yaml:3: cpu.threads`` or
        ``$AIOS_CPU__THREADS``.
    problems
        What could not be used, each with its place.
    """

    config: Config
    file: Path | None
    places: Mapping[tuple[str, str], str]
    problems: tuple[str, ...]


def given_config(config: GivenConfig, database: str | os.PathLike[str] | None = None) -> Config:
    """Return the configuration that a program gave, over the file and the environment unless it is whole.

    Its relative paths are those of the present working directory for good.

    Raises
    ------
    ConfigError
        It is none of these, or has a value that cannot be used; or as `load_config`.
    """
    if isinstance(config, Config):
        return anchored(config)
    if isinstance(config, Mapping):
        return anchored(load_config(given=config, database=database))
    if config is None or isinstance(config, str | os.PathLike):
        return anchored(load_config(config, database=database))
    raise ConfigError(
        f"a configuration is a Config, a mapping of sections, or a path, not {type(config).__name__}"
    )


def load_config(
    path: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
    database: str | os.PathLike[str] | None = None,
) -> Config:
    """Return the configuration of this process.

    Parameters
    ----------
    path
        A YAML file; by default the one that `aios_db.config.files.find_file` finds.
    env
        The environment; by default ``os.environ``.
    given
        Values by key, and by section and key: ``{"storage": {"durability": "normal"}}``.
    database
        The directory of a database, which may hold an ``aios.yaml`` of its own.

    Raises
    ------
    ConfigError
        When a file is named and not there; when ``given`` has a value that cannot be used; or when ``strict``
        is set (in the file or as ``AIOS_STRICT``) and anything is invalid.
    """
    found = loaded(path, env, given, database)
    if found.problems and found.config.strict:
        raise ConfigError("invalid configuration: " + "; ".join(found.problems))
    for problem in found.problems:
        log.error("invalid configuration: %s", problem, extra={"event": "invalid_configuration"})
    return found.config


def loaded(
    path: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
    database: str | os.PathLike[str] | None = None,
) -> Loaded:
    """Return the configuration with where each value comes from; parameters as `load_config`.

    Raises
    ------
    ConfigError
        A file is named and not there, or ``given`` has a value that cannot be used.
    """
    env = os.environ if env is None else env
    problems: list[str] = []
    file = find_file(path, env, database)
    values: dict[str, dict[str, Any]] = {}
    places: dict[Place, str] = {}
    for settings in (
        read_file(file, problems) if file else (),
        from_environment(env, problems),
        _from_mapping(given or {}),
    ):
        _take(settings, values, places, problems)
    return Loaded(_build(values), file, places, tuple(problems))


def _take(
    settings: Iterable[Setting],
    values: dict[str, dict[str, Any]],
    places: dict[Place, str],
    problems: list[str],
) -> None:
    """Take over what one source says, and note what of it cannot be used, or contradicts itself."""
    here: set[Place] = set()
    for setting in settings:
        try:
            for each in translated(setting):
                value, name = parse_setting(each.section, each.key, each.value), (each.section, each.key)
                if name in here and values[each.section][each.key] != value:
                    _report(setting, f"{places[name]} sets the same to something else", "this", problems)
                values.setdefault(each.section, {})[each.key] = value
                places[name] = each.place
                here.add(name)
        except ValueError as error:
            held = places.get(today(setting.section, setting.key))
            _report(setting, str(error), f"that of {held}" if held else "the default", problems)


def _report(setting: Setting, why: str, used: str, problems: list[str]) -> None:
    if setting.place.startswith(_GIVEN):
        raise ConfigError(f"{setting.place}: {why}")
    problems.append(f"{setting.place}: {why}; using {used}")


def _from_mapping(given: Mapping[str, object]) -> Iterator[Setting]:
    for name, content in given.items():
        place = f"{_GIVEN}{name!r}]"
        if not name or name not in (SECTIONS | sections().keys()):
            yield Setting(place, ROOT, str(name), as_text(content))
        elif content is None:
            continue
        elif not isinstance(content, Mapping):
            raise ConfigError(f"{place}: must be a section of keys, not {show(content)}")
        else:
            for key, value in content.items():
                yield Setting(f"{place}[{key!r}]", name, str(key), as_text(value))


def _build(values: Mapping[str, Mapping[str, Any]]) -> Config:
    parts = {name: section(**values.get(name, {})) for name, section in sections().items() if name != ROOT}
    return Config(**values.get(ROOT, {}), **parts)
