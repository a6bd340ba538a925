"""modules.json and what belongs to it: understood, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aios_db.engine.convert.sentence import pooling
from aios_db.schema.errors import NotSupportedError, WeightsError


def directory(path: Path, *types: str, pool: Any = None, prompts: Any = None) -> Path:
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name.rpartition('.')[2]}" if i else "", "type": name}
        for i, name in enumerate(types)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pool or {}))
    (path / "config_sentence_transformers.json").write_text(json.dumps(prompts or {}))
    return path


OLD = "sentence_transformers.models"
NEW = "sentence_transformers.sentence_transformer.modules"


@pytest.mark.parametrize("package", [OLD, NEW])
@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({}, "mean"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["cls"]}, "cls"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
    ],
)
def test_what_is_understood(tmp_path: Path, package: str, pool: Any, expected: str) -> None:
    kinds = [f"{package}.{kind}" for kind in ("Transformer", "Pooling", "Normalize")]
    assert pooling(directory(tmp_path, *kinds, pool=pool)) == expected


@pytest.mark.parametrize("mode", ["max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "max_tokens"])
@pytest.mark.parametrize("spelling", ["named", "flag", "with mean"])
def test_other_poolings_are_refused_by_name(tmp_path: Path, mode: str, spelling: str) -> None:
    pool = {
        "named": {"pooling_mode": mode},
        "flag": {f"pooling_mode_{mode}": True},
        "with mean": {"pooling_mode": ["mean", mode]},
    }[spelling]
    with pytest.raises(NotSupportedError, match=mode):
        pooling(directory(tmp_path, f"{OLD}.Transformer", f"{OLD}.Pooling", pool=pool))


@pytest.mark.parametrize(
    "kind", ["Dense", "LayerNorm", "Router", "Asym", "WordWeights", "CNN", "LSTM", "BoW", "Dropout", "Mine"]
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotSupportedError, match=f"a {kind} module"):
        pooling(directory(tmp_path, f"{OLD}.Transformer", f"{OLD}.Pooling", f"{OLD}.{kind}"))


def test_a_model_without_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="0 Pooling modules"):
        pooling(directory(tmp_path, f"{OLD}.Transformer"))


def test_a_default_prompt_is_refused_and_others_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kinds, prompts = (f"{OLD}.Transformer", f"{OLD}.Pooling"), {"query": "query: ", "document": ""}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    asked = {"prompts": prompts, "default_prompt_name": "query"}
    with pytest.raises(NotSupportedError, match="'query: '"):
        pooling(directory(tmp_path / "a", *kinds, prompts=asked))
    assert pooling(directory(tmp_path / "b", *kinds, prompts={"prompts": prompts})) == "mean"
    assert "not put before texts: query" in caplog.text


@pytest.mark.parametrize("content", ["{", "{}", "[1]"])
def test_a_damaged_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(WeightsError, match=r"modules\.json"):
        pooling(tmp_path)
