"""Errors come back from other processes as they were raised there."""

from __future__ import annotations

import pickle

from aios_db.schema.errors import MissingExtraError


def test_a_missing_extra_goes_from_process_to_process() -> None:
    error = MissingExtraError("flwr", "flower", "federation with Flower")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingExtraError
    assert str(again) == str(error)
    assert "pip install 'aios_db[flower]'" in str(again)
