"""The models of a backup that somebody else made are installed in their own directory, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aios_db.backup.manifest import Model
from aios_db.backup.models import install
from aios_db.backup.objects import Entry, Objects
from aios_db.engine.weights.layer import LayerInfo
from aios_db.engine.weights.stored import StoredTensor
from aios_db.engine.weights.writer import write_weights
from aios_db.schema.errors import DataError


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("minilm@0123456789ab", "../evil"),
        ("minilm@0123456789ab", "/etc/evil"),
        ("minilm@0123456789ab", "a/../../evil"),
        ("minilm@0123456789ab", "..\\evil"),
        ("minilm@0123456789ab", "c:evil"),
        ("../../x@0123456789ab", "weights"),
        ("/x@0123456789ab", "weights"),
        ("..@0123456789ab", "weights"),
        ("x", "weights"),
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, version: str, path: str) -> None:
    (tmp_path / "target").mkdir()
    entry = Entry(path=path, size=1, sha256="a" * 64)
    with pytest.raises(DataError, match="outside"):
        install(Model(version, "a", True, (entry,)), Objects(tmp_path / "target"), tmp_path / "models")
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("there", ["others", "damaged", "none"])
def test_other_weights_than_those_of_the_version_are_refused(tmp_path: Path, there: str) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "metadata.json").write_text('{"architecture": "BertModel"}')
    if there != "none":
        layer = LayerInfo("layer", (4,), "torch.float32", 4)
        write_weights(made / "weights.parquet", [StoredTensor(layer, np.ones(4, np.float32))])
    if there == "damaged":
        (made / "weights.parquet").write_bytes((made / "weights.parquet").read_bytes()[:-9])
    objects = Objects(tmp_path / "target")
    entries = tuple(
        objects.add(each.name, [each.read_bytes()])[0] for each in sorted(made.iterdir()) if each.is_file()
    )
    model = Model(f"tiny@{'a' * 12}", "a" * 64, True, entries)
    with pytest.raises(DataError, match=r"not those of tiny@a|no weights of tiny@a"):
        install(model, objects, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
