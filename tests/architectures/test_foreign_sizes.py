"""Numbers of a foreign metadata.json are bounded by the tensors: nothing hangs, nothing is built in vain."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aios_db.engine.architectures.bert_sizes import SIZES
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.errors import WeightsError


@pytest.mark.parametrize("value", [2**31, 10**9, 513_000_000, -1, 0, "12", 1.5, None, [1]])
@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_the_tensors_do_not_have_is_refused(
    minilm_dir: Path, tmp_path: Path, key: str, value: Any
) -> None:
    model = tmp_path / "m"
    model.mkdir()
    os.link(minilm_dir / "weights.parquet", model / "weights.parquet")
    (model / "tokenizer").symlink_to(minilm_dir / "tokenizer")
    metadata = json.loads((minilm_dir / "metadata.json").read_text())
    metadata["model_info"][key] = value
    (model / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(WeightsError, match=rf"metadata\.json: {key} is"):
        ArrowEngine(model)
