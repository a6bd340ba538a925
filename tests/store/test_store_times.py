"""`remember` and the selectors read the times that the importers read."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

import aios_db
from aios_db.schema.errors import DataError
from aios_db.times import parse_time

SPELLINGS = [
    "Sat, 20 May 2023 22:15:00 +0200", "1711852200", "1711852200123", "2023/05/20", "20230520T221500Z",
    "2024-03-31T02:30:00 Europe/Berlin", "2016-12-31T23:59:60Z", "2023-05-20T24:00:00Z", "20 May 2023",
    "2023-05-20T22:15:00+02:00[Europe/Berlin]", "20.05.2023, 22:15", "2023",
]  # fmt: skip
WRONG = ["nonsense", "2023-13-45", "2023-05-20 25:00", "10:00", "", "2023-05-20 Europe/Atlantis", "x" * 500]


@pytest.mark.parametrize("value", SPELLINGS)
def test_remember_and_forget_take_what_importers_take(tmp_path, value):
    with aios_db.connect(tmp_path / "a.aios") as con:
        memory_id = con.remember("The key is under the pot.", occurred_at=value)
        assert con.get(memory_id).occurred_at == parse_time(value)
        con.update({"memory_id": memory_id, "occurred_at": value})
        assert con.get(memory_id).occurred_at == parse_time(value)
        assert con.forget(before=value) == 0


def test_numbers_are_seconds_and_beyond_the_years_finer_units(tmp_path):
    expected = datetime(2024, 3, 31, 2, 30, tzinfo=timezone.utc)
    with aios_db.connect(tmp_path / "a.aios") as con:
        for unit in (1, 10**3, 10**6, 10**9):
            memory_id = con.remember(f"unit {unit}", occurred_at=1_711_852_200 * unit)
            assert con.get(memory_id).occurred_at == expected
        memory_id = con.remember("at the start", occurred_at=0)
        assert con.get(memory_id).occurred_at.year == 1970


@pytest.mark.parametrize("value", WRONG)
def test_what_is_no_time_is_refused_under_the_name_it_was_given(tmp_path, value):
    with aios_db.connect(tmp_path / "a.aios") as con:
        with pytest.raises(DataError, match=r"^row 0: occurred_at is .* not a time") as caught:
            con.remember("x", occurred_at=value)
        assert len(str(caught.value)) < 160
        for verb in (con.forget, con.erase):
            with pytest.raises(DataError, match=rf"^{verb.__name__}: before is .* not a time"):
                verb(before=value)
        with pytest.raises(DataError, match=r"^recall: since is .* not a time"):
            con.recall("x", since=value)
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)
