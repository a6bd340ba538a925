"""Models in SQL: the views, `model_weights`, `dequantize`, and the query that the page on models shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import aios_db
from aios_db.engine.validation.validator import validate_version
from aios_db.engine.weights.int2 import pack_int2
from aios_db.models.activation import activate
from aios_db.schema.config import Config, EngineConfig, ValidationConfig
from aios_db.schema.errors import DataError, ModelNotFoundError, WeightsError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def int8(minilm_dir: Path, rounded: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = rounded(minilm_dir, tmp_path_factory.mktemp("models") / "minilm-int8", "int8")
    validate_version(minilm_dir, path, config=ValidationConfig(max_texts=64))
    return path


@pytest.fixture
def con(tmp_path: Path, minilm_dir: Path) -> Iterator[aios_db.Connection]:
    config = Config(engine=EngineConfig(models_dir=str(minilm_dir.parent)))
    with aios_db.connect(tmp_path / "agent.aios", config=config) as connection:
        yield connection


def test_the_views_follow_an_activation(con: aios_db.Connection, int8: Path) -> None:
    assert con.execute("SELECT count(*) FROM weight_versions").fetchone() == (0,)
    con.remember("Ada keeps the key under the pot.")
    activate(con.store, int8)
    rows = con.execute("SELECT name, quant_type, is_active FROM weight_versions ORDER BY name").fetchall()
    assert rows == [("minilm", "fp32", False), ("minilm-int8", "int8", True)]
    joined = con.execute(
        "SELECT r.passed, r.cosine_mean > 0.99, m.text FROM weight_versions w "
        "JOIN validation_reports r USING (report_id) JOIN memories m ON m.text_weight_version = w.version"
    ).fetchall()
    assert joined == [(True, True, "Ada keeps the key under the pot.")]
    (answer,) = con.recall("where is the key?", k=1)
    assert answer.text == "Ada keeps the key under the pot."
    assert con.execute("SELECT count(*) FROM schema_migrations").fetchone() == (0,)


def test_model_weights_lists_the_tensors(con: aios_db.Connection, int8: Path) -> None:
    found = con.execute(
        "SELECT count(*), sum(list_product(shape)), any_value(quant_type) FROM model_weights('minilm')"
    ).fetchone()
    assert found == (103, 22713216, None)
    kinds = con.execute(
        "SELECT quant_type, count(*) FROM model_weights(?) GROUP BY ALL ORDER BY ALL", [str(int8)]
    ).fetchall()
    assert kinds == [("fp32", 63), ("int8", 40)]
    with pytest.raises(ModelNotFoundError, match="no model 'nothing'"):
        con.execute("FROM model_weights('nothing')")


def test_dequantize_by_hand(con: aios_db.Connection) -> None:
    packed = pack_int2(np.array([-2, -1, 0, 1, 1], np.int8)).tobytes()
    scales, zeros = np.array([0.5, 2], np.float32).tobytes(), np.array([0, 1], np.float32).tobytes()
    query = "SELECT dequantize(?::BLOB, 'int2', ?::BLOB, ?::BLOB, [5], 3)"
    assert con.execute(query, [packed, scales, zeros]).fetchone() == ([-1.0, -0.5, 0.0, 0.0, 0.0],)
    assert con.execute("SELECT dequantize(NULL, 'int8', NULL, NULL, [1], 0)").fetchone() == (None,)
    floats = np.array([1.5, -2], np.float16).tobytes()
    row = con.execute("SELECT dequantize(?::BLOB, 'fp16', NULL, NULL, [2], NULL)", [floats]).fetchone()
    assert row == ([1.5, -2.0],)


def test_dequantize_by_axis(con: aios_db.Connection) -> None:
    codes = np.array([[1, 2], [3, 4]], np.int8).tobytes()
    scales = np.array([1, 10], np.float32).tobytes()
    query = "SELECT dequantize(?::BLOB, 'int8', ?::BLOB, NULL, [2, 2], 0, quant_axis := ?)"
    assert con.execute(query, [codes, scales, 0]).fetchone() == ([1.0, 2.0, 30.0, 40.0],)
    assert con.execute(query, [codes, scales, 1]).fetchone() == ([1.0, 20.0, 3.0, 40.0],)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ("'\\x00'::BLOB, 'int3', NULL, NULL, [1], 0", WeightsError, "int3"),
        ("'\\x00'::BLOB, 'int8', NULL, NULL, [2], 0", WeightsError, "2 int8 values take 2 bytes, not 1"),
        ("'\\x00'::BLOB, 'int8', NULL, NULL, [1], 0", WeightsError, "needs scales"),
        ("'\\x00'::BLOB, NULL, NULL, NULL, [1], 0", DataError, "quant_type or shape is NULL"),
        ("'\\x00'::BLOB, 'int8', NULL, NULL, NULL, 0", DataError, "quant_type or shape is NULL"),
        ("'\\x00'::BLOB, 'int8', NULL, NULL, [1, NULL], 0", DataError, "a size in shape is NULL"),
    ],
)
def test_dequantize_refuses_what_does_not_fit(
    con: aios_db.Connection, arguments: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        con.execute(f"SELECT dequantize({arguments})")


def test_the_query_of_the_page_shows_each_layers_error(
    con: aios_db.Connection, minilm_dir: Path, int8: Path
) -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    query = query.replace("models/minilm/", f"{minilm_dir}/").replace("models/minilm-int8/", f"{int8}/")
    rows = con.execute(query).fetchall()
    assert len(rows) == 40 and {kind for _, kind, _ in rows} == {"int8"}
    report = validate_version(minilm_dir, int8, config=ValidationConfig(max_texts=2))
    measured = {layer.name: layer.relative_error for layer in report.layers}
    for name, _, error in rows:
        # DuckDB adds up in float32
        assert 0 < error < 0.01 and error == pytest.approx(measured[name], rel=0.01)
