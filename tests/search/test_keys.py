"""A key is found by itself and by nothing else, one at a time and in bulk."""

from __future__ import annotations

import hashlib
import uuid

import numpy as np
import pyarrow as pa
import pytest

from aios_db.search.keys import KeyTable, digests_of

MANY = 400


def uuids(count):
    return [str(uuid.UUID(int=(i + 1) * 0x0123456789ABCDEF << 60)) for i in range(count)]


def hashes(count):
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]


def others(count):
    return [f"key {i}" for i in range(count)]


def odd(count):
    """UUIDs and keys of the same length that are none."""
    kinds = [str.upper, lambda key: key.replace("-", "+"), lambda key: "g" + key[1:], str]
    return [kinds[i % 4](key) for i, key in enumerate(uuids(count))]


def surrogates(count):
    return ["\udc80" + key for key in others(count)]


@pytest.mark.parametrize("make", [uuids, hashes, others, odd, surrogates])
def test_a_key_has_one_digest_whether_it_comes_alone_or_with_many(make):
    keys = make(MANY)
    alone = [digests_of([key])[0] for key in keys]
    np.testing.assert_array_equal(digests_of(keys), alone)
    assert len(set(alone)) == MANY
    if make is not surrogates:
        column = pa.array(["x", *keys])[1:]
        np.testing.assert_array_equal(digests_of(column), alone)


def test_the_digest_of_a_uuid_is_its_bytes():
    key = "00112233-4455-6677-8899-aabbccddeeff"
    assert digests_of([key])[0] == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert digests_of([key] * MANY)[-1] == digests_of([key])[0]


@pytest.mark.parametrize("make", [uuids, others])
def test_later_additions_win_in_memory_and_packed(make):
    keys = make(MANY)
    table = KeyTable()
    table.add(keys, range(MANY))
    packed = KeyTable(*table.packed())
    assert packed.find(keys).tolist() == list(range(MANY))
    packed.add(keys[:3], [1000, 1001, 1002])
    packed.add(["new"], [7])
    again = KeyTable(*packed.packed())
    for each in (packed, packed.copy(), again):
        assert each.find([*keys[:4], "new", "absent"]).tolist() == [1000, 1001, 1002, 3, 7, -1]
    digests, rows = packed.packed()
    assert len(rows) == MANY + 1
    assert (digests[:-1] < digests[1:]).all()
    assert KeyTable().find(["absent"]).tolist() == [-1]
