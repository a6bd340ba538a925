"""Reading the configuration: a YAML file, then environment variables, over the defaults.

The file is the one named by the caller, else by ``$AIOS_CONFIG``, else ``aios.yaml`` in the working
directory; without any, the defaults hold. ``AIOS_SECTION__KEY`` (``AIOS_CPU__BACKEND=standard``,
``AIOS_STRICT=true``) overrides the file, and what a program gives as a mapping overrides both. A value that
cannot be used is logged as an error with its place and the default is kept; ``strict: true`` raises instead,
and so does one that the program gave.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import math
import os
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from aios_db.schema.config import Config, Range, Share, Shares
from aios_db.schema.errors import ConfigError

__all__ = ["Config", "load_config"]

log = logging.getLogger("aios_db.config")

DEFAULT_FILE = Path("aios.yaml")
FILE_VARIABLE = "AIOS_CONFIG"
PREFIX = "AIOS_"
BOOLEANS = MappingProxyType(
    {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
)

_GIVEN = "config["
_ROOT = ""  # the section of the keys that stand outside of any section


@dataclasses.dataclass(frozen=True)
class _Setting:
    """One value as found: where it stands, and its unparsed content."""

    place: str
    section: str
    key: str
    value: object


GivenConfig = Config | Mapping[str, object] | str | os.PathLike[str] | None
"""A configuration, some values by section and key, a YAML file's path, or nothing."""


def given_config(config: GivenConfig) -> Config:
    """Return the configuration that a program gave, over the file and the environment unless it is whole.

    Raises
    ------
    ConfigError
        It is none of these, or has a value that cannot be used; or as `load_config`.
    """
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return load_config(given=config)
    if config is None or isinstance(config, str | os.PathLike):
        return load_config(config)
    raise ConfigError(
        f"a configuration is a Config, a mapping of sections, or a path, not {type(config).__name__}"
    )


def load_config(
    path: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Config:
    """Return the configuration of this process.

    Parameters
    ----------
    path
        A YAML file; by default ``$AIOS_CONFIG`` or ``./aios.yaml``.
    env
        The environment; by default ``os.environ``.
    given
        Values by key, and by section and key: ``{"storage": {"durability": "normal"}}``.

    Raises
    ------
    ConfigError
        When a file is named and not there; when ``given`` has a value that cannot be used; or when ``strict``
        is set (in the file or as ``AIOS_STRICT``) and anything is invalid.
    """
    env = os.environ if env is None else env
    problems: list[str] = []
    settings = [*_from_file(path, env, problems), *_from_environment(env), *_from_mapping(given or {})]
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        section = values.setdefault(setting.section, {})
        try:
            section[setting.key] = _parse_setting(setting)
        except ValueError as error:
            if setting.place.startswith(_GIVEN):
                raise ConfigError(f"{setting.place}: {error}") from None
            kept = "the file's value" if setting.key in section else "the default"
            problems.append(f"{setting.place}: {error}; using {kept}")
    config = _build(values)
    if problems and config.strict:
        raise ConfigError("invalid configuration: " + "; ".join(problems))
    for problem in problems:
        log.error("invalid configuration: %s", problem)
    return config


def sections() -> dict[str, type]:
    """Return the sections by name in the order of the reference; the root, of name ``""``, comes first."""
    hints: dict[str, type] = get_type_hints(Config)
    parts = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    return {_ROOT: Config, **parts}


def keys(section: type) -> dict[str, Any]:
    """Return the type of each key of a section, ``Annotated`` ranges included; sub-sections left out."""
    hints = get_type_hints(section, include_extras=True)
    return {name: hint for name, hint in hints.items() if not dataclasses.is_dataclass(hint)}


def describe_type(hint: Any) -> str:
    """Return a type as the reference and the error messages put it: ``an integer from 0 to 10``."""
    base, limits = _unpack(hint)
    if get_origin(base) is Literal:
        return "one of " + ", ".join(get_args(base))
    if base == Shares:
        return "a number from 0 to 1 for each of some patterns"
    words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[base]
    if limits is None:
        return words
    if limits.most == math.inf:
        return f"{words} of at least {limits.least:g}"
    return f"{words} from {limits.least:g} to {limits.most:g}"


def _from_file(
    path: str | os.PathLike[str] | None, env: Mapping[str, str], problems: list[str]
) -> Iterator[_Setting]:
    named = path or env.get(FILE_VARIABLE)
    file = Path(named or DEFAULT_FILE)
    if not named and not file.exists():
        return
    if named and (file.is_dir() or not file.exists()):
        raise ConfigError(
            f"there is no configuration file at {file}, which {_namer(path)} names: mend the path"
        )
    import yaml

    try:
        # BaseLoader leaves every scalar as text, so the file and the environment share one parser.
        document = yaml.load(file.read_bytes(), Loader=yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problems.append(f"{file}: cannot be read as YAML ({reason}); using the defaults")
        return
    if document in (None, ""):
        return
    if not isinstance(document, dict):
        problems.append(f"{file}: must hold sections of keys, not a {type(document).__name__}")
        return
    for name, content in document.items():
        if not name or name not in sections():
            yield _Setting(f"{file}:{name}", _ROOT, name, content)
        elif isinstance(content, dict):
            for key, value in content.items():
                yield _Setting(f"{file}:{name}.{key}", name, key, value)
        elif content:
            problems.append(f"{file}:{name}: must be a section of keys, not {_show(content)}")


def _namer(path: str | os.PathLike[str] | None) -> str:
    return "the caller" if path else f"${FILE_VARIABLE}"


def _from_environment(env: Mapping[str, str]) -> Iterator[_Setting]:
    for variable in sorted(env):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        section, separator, key = name.partition("__")
        if separator:
            yield _Setting(f"${variable}", section, key, env[variable])
        elif name in keys(Config):
            yield _Setting(f"${variable}", _ROOT, name, env[variable])


def _from_mapping(given: Mapping[str, object]) -> Iterator[_Setting]:
    for name, content in given.items():
        place = f"{_GIVEN}{name!r}]"
        if not name or name not in sections():
            yield _Setting(place, _ROOT, str(name), _as_text(content))
        elif not isinstance(content, Mapping):
            raise ConfigError(f"{place}: must be a section of keys, not {_show(content)}")
        else:
            for key, value in content.items():
                yield _Setting(f"{place}[{key!r}]", name, str(key), _as_text(value))


def _as_text(value: object) -> object:
    """Return a value of Python's as a file would have it, for the one parser."""
    if isinstance(value, Mapping):
        return {str(key): _as_text(each) for key, each in value.items()}
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else ""
    return str(value) if isinstance(value, int | float | os.PathLike) else value


def _parse_setting(setting: _Setting) -> Any:
    section = sections().get(setting.section)
    if section is None:
        raise ValueError(f"there is no section {setting.section!r}{_suggest(setting.section, sections())}")
    known = keys(section)
    if setting.key not in known:
        candidates = [*known, *sections()] if setting.section == _ROOT else [*known]
        raise ValueError(f"there is no such key{_suggest(setting.key, candidates)}")
    if setting.value == "":
        return getattr(section(), setting.key)
    return _parse(setting.value, known[setting.key])


def _parse(value: object, hint: Any) -> Any:
    base, limits = _unpack(hint)
    wrong = ValueError(f"must be {describe_type(hint)}, not {_show(value)}")
    if base == Shares:
        return _shares(value, wrong)
    if not isinstance(value, str):
        raise wrong
    if get_origin(base) is Literal:
        if value not in get_args(base):
            raise ValueError(f"{wrong}{_suggest(value, get_args(base))}")
        return value
    if base is str:
        return value
    try:
        parsed: bool | int | float = BOOLEANS[value.lower()] if base is bool else base(value)
    except (KeyError, ValueError):
        raise wrong from None
    if (isinstance(parsed, float) and not math.isfinite(parsed)) or (
        limits and not limits.least <= parsed <= limits.most
    ):
        raise wrong
    return parsed


def _shares(value: object, wrong: ValueError) -> Shares:
    """Return the numbers of a section, or of a text such as ``a*=0.2, b=1``."""
    if isinstance(value, str):
        pairs = [each.rpartition("=")[::2] for each in value.split(",") if each.strip()]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise wrong
    return tuple((name.strip(), _parse(share, Share)) for name, share in pairs)


def _unpack(hint: Any) -> tuple[Any, Range | None]:
    if get_origin(hint) is not Annotated:
        return hint, None
    base, *extras = get_args(hint)
    return base, next((extra for extra in extras if isinstance(extra, Range)), None)


def _build(values: Mapping[str, Mapping[str, Any]]) -> Config:
    parts = {name: section(**values.get(name, {})) for name, section in sections().items() if name != _ROOT}
    return Config(**values.get(_ROOT, {}), **parts)


def _suggest(word: str, candidates: Any) -> str:
    near = difflib.get_close_matches(word, [candidate for candidate in candidates if candidate], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _show(value: object) -> str:
    # A nested value is only named: through aliases a few lines of YAML can print as gigabytes.
    if isinstance(value, dict):
        return "a section"
    return "a list" if isinstance(value, list) else reprlib.repr(value)
