"""PEFT's adapter directories: `adapter_config.json` and `adapter_model.safetensors`, without needing peft."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aios_db.engine.weights.building import building
from aios_db.federation.card import Array, Factors, LoraCard
from aios_db.schema.advice import with_advice
from aios_db.schema.errors import DataError, NotSupportedError, OperationalError, WeightsError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_READ = frozenset({
    # what a card is made of
    "peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules",
    "task_type", "base_model_name_or_path",
    # which layers have factors, which those tell themselves, and what matters while they are trained
    "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "eva_config",
    "inference_mode", "auto_mapping", "revision", "peft_version", "runtime_config", "ensure_weight_tying",
    "megatron_core", "qalora_group_size",
})  # fmt: skip
"""Settings that are read, or change nothing of what the factors do; any other has to be off."""
_PLAIN = (
    ("bias", "none"),
    # Beginnings that leave the model's own weights as they are; pissa, olora, loftq, corda … do not.
    *(("init_lora_weights", start) for start in (True, "gaussian", "orthogonal", "eva")),
)
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(\.(?!weight$)[^.]+)?\.weight$")


def read_peft(path: str | Path, name: str | None = None) -> LoraCard:
    """Read an adapter directory as a card called ``name``, by default like the directory.

    bfloat16 factors become float32, which loses nothing.

    Raises
    ------
    OperationalError
        A file is missing.
    NotSupportedError
        The adapter is more than LoRA on linear layers: DoRA, trained biases, whole modules, embeddings,
        repeated layers, beginnings that change the model's own weights (PiSSA, OLoRA), unknown settings.
    WeightsError
        A file is damaged or contradicts the other.
    """
    directory = Path(path)
    config = _read_config(directory / CONFIG)
    pairs: dict[str, dict[str, Array]] = {}
    for key, array in _read_arrays(directory / WEIGHTS).items():
        match = _FACTOR.match(key)
        if match is None or array.ndim != 2:
            raise NotSupportedError(
                f"{directory / WEIGHTS} holds {key!r}: only LoRA on linear layers is a card"
            )
        pairs.setdefault(match["module"].removeprefix(_PREFIX), {})[match["side"]] = array
    try:
        halves = [module for module, pair in pairs.items() if len(pair) != 2]
        if halves:
            raise DataError(f"module {halves[0]!r} has only one factor")
        modules = {module: Factors(pair["A"], pair["B"]) for module, pair in pairs.items()}
        targets = config.get("target_modules") or ()
        alphas = _by_pattern(config.get("alpha_pattern") or {}, modules)
        return LoraCard(
            name=name or directory.resolve().name,
            rank=_rank(int(config.get("r", 8)), modules),
            alpha=float(config.get("lora_alpha", 8)),
            modules=modules,
            target_modules=(targets,) if isinstance(targets, str) else tuple(sorted(map(str, targets))),
            metadata={
                **({"alpha_pattern": json.dumps(alphas)} if alphas else {}),
                **({"use_rslora": "true"} if config.get("use_rslora") else {}),
                **{
                    key: str(config[key])
                    for key in ("base_model_name_or_path", "task_type")
                    if config.get(key)
                },
            },
        )
    except (DataError, ValueError, TypeError) as error:
        raise WeightsError(f"{directory}: {error}") from error


def write_peft(card: LoraCard, path: str | Path, *, base_model: str | None = None) -> Path:
    """Write a card as the new adapter directory ``path``, whole or not at all; return the path.

    Raises
    ------
    OperationalError
        ``path`` exists and is not empty, or cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    directory = Path(path)
    ranks = {module: each.rank for module, each in card.modules.items() if each.rank != card.rank}
    config = {
        "peft_type": "LORA",
        "task_type": card.metadata.get("task_type", "FEATURE_EXTRACTION"),
        "base_model_name_or_path": base_model or card.metadata.get("base_model_name_or_path"),
        "r": card.rank,
        "lora_alpha": card.alpha,
        "target_modules": sorted(card.modules),
        "rank_pattern": ranks,
        "alpha_pattern": json.loads(card.metadata.get("alpha_pattern") or "{}"),
        "use_rslora": card.metadata.get("use_rslora") == "true",
        "use_dora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    tensors = {}
    for module, factors in card.modules.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = np.ascontiguousarray(factors.a)
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = np.ascontiguousarray(factors.b)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OperationalError(f"{directory} exists: choose another directory or remove it first")
    try:
        with building(directory) as build:
            save_file(tensors, build / WEIGHTS, metadata={"format": "pt"})
            (build / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
            os.replace(build, directory)
    except (OSError, SafetensorError) as error:
        raise OperationalError(f"cannot write {directory}: {with_advice(error)}") from error
    return directory


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is no JSON object")
    if config.get("peft_type") != "LORA":
        raise NotSupportedError(f"{path}: peft_type {config.get('peft_type')!r} is not LORA")
    for key, value in config.items():
        if key not in _READ and value and (key, value) not in _PLAIN:
            raise NotSupportedError(
                f"{path}: {key} of {json.dumps(value)[:80]} is not supported by cards, or not known here: "
                "it may change what the factors do"
            )
    return config


def _read_arrays(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError, safe_open

    arrays = {}
    try:
        with safe_open(path, framework="pt") as file:  # NumPy knows no bfloat16
            for key in file.keys():  # noqa: SIM118 - it is no mapping
                tensor = file.get_tensor(key)
                arrays[key] = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    except FileNotFoundError as error:
        raise OperationalError(f"cannot read {path}: {error}") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    return arrays


def _rank(rank: int, modules: Mapping[str, Factors]) -> int:
    """Return ``r``, or the largest rank that there is where the pattern of ranks leaves none with it."""
    ranks = {each.rank for each in modules.values()}
    return rank if rank in ranks else max(ranks, default=rank)


def _by_pattern(pattern: Mapping[str, Any], modules: Mapping[str, Factors]) -> dict[str, float]:
    """Return the alpha of each module that a pattern names, as PEFT matches them: by the end of the name."""
    found = {}
    for module in sorted(modules):
        for key, value in pattern.items():
            if re.match(rf"(.*\.)?({key})$", module):
                found[module] = float(value)
                break
    return found
