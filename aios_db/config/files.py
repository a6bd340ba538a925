"""The configuration file: where it is looked for, and what it says on which line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.config.legacy import SECTIONS, Setting
from aios_db.config.values import ROOT, sections, show
from aios_db.schema.errors import ConfigError
from aios_db.schema.regular import is_special

if TYPE_CHECKING:
    import yaml

log = logging.getLogger("aios_db.config")

NAME = "aios.yaml"
VARIABLE = "AIOS_CONFIG"
_NULLS = {"null", "Null", "NULL", "~"}  # where they stand without quotes
_LARGEST = 1 << 20  # bytes; a configuration is some hundreds


def find_file(
    named: str | os.PathLike[str] | None,
    env: Mapping[str, str],
    database: str | os.PathLike[str] | None = None,
) -> Path | None:
    """Return the file that holds the configuration, the first that there is; None is the defaults.

    The one that the caller names, that of ``$AIOS_CONFIG``, ``aios.yaml`` in the working directory, in the
    directory of the database, and in the user's configuration folder. One in either directory that belongs
    to another user is passed over with a warning: it came with the data, or lies in wait in a shared folder.

    Raises
    ------
    ConfigError
        A file is named and not there.
    """
    if wanted := named or env.get(VARIABLE):
        file = Path(os.path.expanduser(wanted))
        if os.path.isdir(file) or not os.path.exists(file):
            namer = "the caller" if named else f"${VARIABLE}"
            raise ConfigError(
                f"there is no configuration file at {file}, or none that this user may reach, which {namer} "
                "names: mend the path"
            )
        return file
    there: list[Path] = []
    if is_special(NAME):
        log.warning("%s is a pipe or a device, and is not used; name it to use it", os.path.abspath(NAME))
    elif os.path.lexists(NAME):  # a link that leads nowhere cannot be read, and that is said
        there.append(Path(NAME))
    if database is not None and os.path.isfile(beside := Path(database) / NAME):
        there.append(beside)
    for file in there:
        if _is_ours(file):
            log.info("the configuration is that of %s", file)
            return file
        log.warning("%s belongs to another user and is not used; name it to use it", file)
    folder = _folder(env)
    return folder / NAME if folder is not None and os.path.isfile(folder / NAME) else None


def read_file(file: Path, problems: list[str]) -> Iterator[Setting]:
    """Yield what a YAML file holds, each with its line; note what cannot be read."""
    import yaml

    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST:,} bytes")
        # BaseLoader leaves every scalar as text, so the file and the environment share one parser.
        root = yaml.compose(content, Loader=yaml.BaseLoader)
        pairs = [] if root is None else _pairs(root, str(file), problems)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problems.append(f"{file}: cannot be read as YAML ({reason}); using the defaults")
        return
    if root is None:
        return
    if pairs is None:
        if _value(root) != "":
            problems.append(f"{file}: must hold sections of keys, not {show(_value(root))}")
        return
    for line, name, node in pairs:
        place = f"{file}:{line}: {name}"
        if not name or name not in (SECTIONS | sections().keys()):
            yield Setting(place, ROOT, name, _value(node))
        elif (inner := _pairs(node, f"{file}:{line}: {name}", problems)) is not None:
            for inner_line, key, value in inner:
                yield Setting(f"{file}:{inner_line}: {name}.{key}", name, key, _value(value))
        elif _value(node) != "":
            problems.append(f"{place}: must be a section of keys, not {show(_value(node))}")


def _pairs(node: yaml.Node, place: str, problems: list[str]) -> list[tuple[int, str, yaml.Node]] | None:
    """Return line, key and value of a mapping, None of anything else; of equal keys the last counts."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return None
    found: dict[str, tuple[int, str, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"the key in line {key.start_mark.line + 1} is no text")
        line = key.start_mark.line + 1
        if key.value in found:
            before = found[key.value][0]
            problems.append(f"{place}: {key.value} stands in line {before} and in {line}; using the latter")
        found[key.value] = line, key.value, value
    return list(found.values())


def _value(node: yaml.Node) -> object:
    """Return a text, which is empty for a plain ``null``, a section of texts, or a list of texts.

    What is nested deeper is not followed: through aliases a few lines of YAML can grow to gigabytes.
    """
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return _text(node)
    if isinstance(node, yaml.SequenceNode):
        return [_text(each) for each in node.value if isinstance(each, yaml.ScalarNode)]
    return {
        str(key.value): _text(value) if isinstance(value, yaml.ScalarNode) else []
        for key, value in node.value
        if isinstance(key, yaml.ScalarNode)
    }


def _text(node: yaml.ScalarNode) -> str:
    is_null = node.style is None and node.value in _NULLS
    return "" if is_null else str(node.value)


def _folder(env: Mapping[str, str]) -> Path | None:
    """Return the user's configuration folder, as the XDG base directory specification and others have it."""
    given = env.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(given):  # another is to be ignored, the specification says
        return Path(given) / "aios_db"
    home = os.path.expanduser(env.get("HOME") or "~")
    if home == "~":  # a user without a home, as in containers
        return None
    if sys.platform == "win32":
        return Path(env.get("APPDATA") or home) / "aios_db"
    return Path(home, "Library/Application Support" if sys.platform == "darwin" else ".config") / "aios_db"


def _is_ours(file: Path) -> bool:
    """Whether a file, and a link that leads to it, belong to this user or to the system's."""
    if not hasattr(os, "geteuid"):
        return True
    owners = {file.lstat().st_uid, file.stat().st_uid if file.exists() else os.geteuid()}
    return owners <= {os.geteuid(), 0}
