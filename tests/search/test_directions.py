"""The score of a vector search is the cosine, whatever the scale of the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.config import Config
from aios_db.schema.config import StorageConfig
from aios_db.schema.directions import directions

pytestmark = pytest.mark.sql

SCALES = st.floats(-30, 30).map(lambda power: 10.0**power)
VECTORS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).standard_normal(8))


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("directions") / "a.aios"
    with aios_db.connect(path, config=Config(storage=StorageConfig(dimension=384))) as connection:
        yield connection


def cosine(a, b):
    return float(a @ b) / math.sqrt(float(a @ a)) / math.sqrt(float(b @ b))


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(first=VECTORS, second=VECTORS, scale=SCALES, other=SCALES)
def test_the_score_is_the_cosine_at_every_scale(con, first, second, scale, other):
    wide = [np.concatenate([each, np.zeros(376)]) for each in (first, second)]
    name = con.remember([{"text": f"{first}", "text_embedding": (wide[0] * scale).tolist()}])[0]
    score = con.execute(
        "SELECT score FROM vector_search(?, 9999) WHERE memory_id = ?", [(wide[1] * other).tolist(), name]
    ).fetchone()
    assert score[0] == pytest.approx(cosine(*wide), abs=1e-6)


@settings(deadline=None)
@given(vector=VECTORS, power=st.integers(-300, 300), dtype=st.sampled_from([np.float64, np.float32]))
def test_directions_have_unit_length(vector, power, dtype):
    with np.errstate(over="ignore", under="ignore"):
        scaled = (vector * 10.0**power).astype(dtype)
    unit, has_direction = directions(scaled[np.newaxis])
    if has_direction[0]:
        assert cosine(unit[0].astype(float), vector) == pytest.approx(1, abs=1e-6)
    else:
        assert dtype is np.float32
        assert abs(power) > 36


@pytest.mark.parametrize(
    "values", [[1e18] * 384, [100.0] + [0.0] * 383, [1e300] * 384, [1e-300] * 384, [7] + [0] * 383]
)
def test_a_large_vector_is_stored_with_its_direction(con, values):
    name = con.remember([{"text": f"v {values[0]}", "text_embedding": values}])[0]
    (stored,) = con.execute("SELECT text_embedding FROM memories WHERE memory_id = ?", [name]).fetchone()
    assert np.linalg.norm(stored) == pytest.approx(1, abs=1e-6)
    search = f"SELECT max(score) FROM vector_search({values}, 9999)"
    assert con.execute(search).fetchone()[0] == pytest.approx(1, abs=1e-6)


BAD = {
    "zeros": ([0.0] * 384, "zeros"),
    "NaN": ([math.nan] * 384, "NaN"),
    "infinity": ([math.inf] + [1.0] * 383, "infinity"),
    "NULL": ([None] + [1.0] * 383, "NULL"),
    "subnormal": ([5e-324] * 384, "subnormal"),
    "short": ([1.0] * 3, "3 numbers"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_has_no_direction_is_refused(con, kind):
    values, says = BAD[kind]
    count = con.execute("SELECT count(*) FROM memories").fetchone()
    with pytest.raises(aios_db.DataError, match=says):
        con.remember([{"text": "none", "text_embedding": values}])
    assert con.execute("SELECT count(*) FROM memories").fetchone() == count
    for search in ("vector_search(?::DOUBLE[], 3)", "keyword_search('v', 3, vector := ?::DOUBLE[])"):
        with pytest.raises(aios_db.DataError, match=says):
            con.execute(f"SELECT * FROM {search}", [values]).fetchall()


@pytest.mark.parametrize(
    "type_", ["FLOAT[]", "DOUBLE[]", "INTEGER[]", "DECIMAL(9, 2)[]", "FLOAT[384]", "UTINYINT[]"]
)
def test_any_list_of_numbers_is_a_vector(con, type_):
    con.remember([{"text": "first axis", "text_embedding": [3] + [0] * 383}])
    search = f"SELECT score FROM vector_search({[2] + [0] * 383}::{type_}, 1)"
    assert con.execute(search).fetchone()[0] == pytest.approx(1, abs=1e-6)
