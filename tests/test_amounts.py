"""How many of something there are, in words."""

from __future__ import annotations

import pytest

from aios_db.schema.amounts import amount, plural


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("memory", "memories"),
        ("key", "keys"),
        ("index", "indexes"),
        ("batch", "batches"),
        ("bad record", "bad records"),
    ],
)
def test_the_plural_is_formed_by_rule(noun: str, several: str) -> None:
    assert plural(noun) == several
    assert amount(1, noun) == f"1 {noun}"
    assert [amount(count, noun) for count in (0, 2)] == [f"0 {several}", f"2 {several}"]
