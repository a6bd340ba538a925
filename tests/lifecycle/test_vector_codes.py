"""Codes of vectors: how near what is decoded is, and that a code of a code is itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.schema.config import VectorPrecision
from aios_db.schema.directions import directions
from aios_db.schema.errors import DataError
from aios_db.schema.vector_codes import code_bytes, decode, encode, precision_of

CODED: list[VectorPrecision] = ["float16", "int8", "bits"]
LEAST_COSINE = {"float16": 0.999999, "int8": 0.9998, "bits": 0.7}


@pytest.mark.parametrize("precision", CODED)
@given(seed=st.integers(0, 2**32 - 1), dimension=st.sampled_from([8, 12, 384]))
def test_what_is_decoded_is_near_and_stays(precision: VectorPrecision, seed: int, dimension: int) -> None:
    vectors, _ = directions(np.random.default_rng(seed).standard_normal((5, dimension)))
    codes = encode(vectors, precision)
    assert [len(each) for each in codes.to_pylist()] == 5 * [code_bytes(precision, dimension)]
    decoded = decode(codes, dimension)
    lengths = np.linalg.norm(decoded, axis=1)
    assert np.allclose(lengths, np.sqrt(np.pi / 2) if precision == "bits" else 1, atol=1e-5)
    if dimension == 384:
        products = (decoded * vectors).sum(axis=1)
        assert (products / lengths).min() > LEAST_COSINE[precision]
        assert abs(products.mean() - 1) < 0.05
    if precision != "float16":
        assert encode(decoded, precision).equals(codes)
    assert precision_of(code_bytes(precision, dimension), dimension) == precision


def test_no_code_and_an_empty_one_are_no_vector() -> None:
    vectors, _ = directions(np.ones((1, 16)))
    none = encode(vectors, "none")
    assert none.to_pylist() == [b""]
    assert not decode(pa.concat_arrays([none, pa.nulls(1, pa.binary())]), 16).any()


def test_a_code_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="a vector's code has 7 bytes; none of 384 numbers has"):
        decode(pa.array([bytes(7)], pa.binary()), 384)
