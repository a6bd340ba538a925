"""What sentence-transformers keeps beside a text encoder: modules.json, read as an allow-list.

What is not understood is refused by name: a model without one of its modules makes other vectors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_db.schema.errors import NotSupportedError, WeightsError

log = logging.getLogger("aios_db.engine.convert")

# By the last part of their types, whose packages have changed. The engine's vectors are always of length 1.
MODULES = ("Transformer", "Pooling", "Normalize")
MODES = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}


def pooling(directory: Path) -> str:
    """Return how a sentence-transformers directory pools: ``mean``, also where nothing is said, or ``cls``.

    Raises
    ------
    NotSupportedError
        It pools in another way, has a module beside those of `MODULES`, or puts a prompt before each text.
    WeightsError
        One of its files is no JSON of the kind.
    """
    _check_prompts(directory)
    path = directory / "1_Pooling"
    if (directory / "modules.json").is_file():
        pools = [
            directory / str(each.get("path")) for each in _modules(directory) if _kind(each) == "Pooling"
        ]
        if len(pools) != 1:
            raise NotSupportedError(f"{directory}: modules.json names {len(pools)} Pooling modules, not one")
        path = pools[0]
    modes = _modes(read_json(path / "config.json"))
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or len(modes) > 1:
        raise NotSupportedError(f"{directory}: pooling {', '.join(modes)} is not one of mean, cls")
    return MODES[modes[0]] if modes else "mean"


def only_module(directory: Path) -> Path:
    """Return the folder that holds the model of a sentence-transformers directory without one at its top.

    The directory itself is returned where it has a config.json, or none of its modules has, or several.
    """
    if (directory / "config.json").is_file() or not (directory / "modules.json").is_file():
        return directory
    modules = _read(directory / "modules.json")
    named = (
        [str(each.get("path")) for each in modules if isinstance(each, dict)]
        if isinstance(modules, list)
        else []
    )
    holding = [
        name for name in named if Path(name).name == name and (directory / name / "config.json").is_file()
    ]
    return directory / holding[0] if len(holding) == 1 else directory


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; nothing where there is no file."""
    content = _read(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def _modules(directory: Path) -> list[Mapping[str, Any]]:
    path = directory / "modules.json"
    modules = _read(path)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise WeightsError(f"{path} is no list of modules")
    for module in modules:
        if _kind(module) not in MODULES:
            raise NotSupportedError(
                f"{directory}: modules.json has a {_kind(module) or 'nameless'} module, "
                f"{module.get('path')!r}, which the engine does not run; it knows {', '.join(MODULES)}"
            )
    return modules


def _kind(module: Mapping[str, Any]) -> str:
    return str(module.get("type") or "").rpartition(".")[2]


def _modes(config: Mapping[str, Any]) -> list[str]:
    """Return the modes in a Pooling module's configuration; since version 5.4 they are named in one key."""
    named = config.get("pooling_mode")
    if named is not None:
        return [str(mode) for mode in (named if isinstance(named, list) else [named])]
    prefix = "pooling_mode_"
    return [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on]


def _check_prompts(directory: Path) -> None:
    config = read_json(directory / "config_sentence_transformers.json")
    prompts = {name: text for name, text in (config.get("prompts") or {}).items() if text}
    default = config.get("default_prompt_name")
    if default in prompts:
        raise NotSupportedError(
            f"{directory}: the prompt {default!r} ({prompts[default]!r}) goes before each text by default, "
            "which the engine does not do"
        )
    if prompts:
        log.warning("%s: its prompts are not put before texts: %s", directory, ", ".join(sorted(prompts)))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
