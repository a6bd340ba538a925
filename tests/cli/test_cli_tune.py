from __future__ import annotations

import pytest

import aios_db


@pytest.mark.parametrize("command", [("warm",), ("models", "tune"), ("models", "tune", "minilm", "--again")])
def test_what_runs_the_model_is_shown(aios, monkeypatch, command):
    monkeypatch.setenv("AIOS_CPU__BACKEND", "standard")
    monkeypatch.setenv("AIOS_CPU__PRECISION", "fp32")
    result = aios(*command, "--json")
    assert result.status == 0, result.err
    assert result.json["arithmetic"] == "cpu standard/fp32"
    assert (result.json["backend"], result.json["precision"]) == ("standard", "fp32")
    assert result.json["version"].startswith("minilm@")


def test_the_doctor_shows_what_was_chosen_under_load(aios, monkeypatch):
    from aios_db.engine.backends import selection
    from aios_db.engine.backends.registry import get_backend

    monkeypatch.setattr(selection, "AUTOMATIC", ("standard",))
    monkeypatch.setattr("aios_db.engine.backends.timing.ROUNDS", 0)  # which is faster is not the question
    two = lambda self, features: ("fp32", "bf16")  # noqa: E731 - whatever this CPU multiplies
    monkeypatch.setattr(type(get_backend("standard")), "precisions", two)
    monkeypatch.setenv("AIOS_CPU__MIN_COSINE", "0.98")  # a choice of its own
    monkeypatch.setattr(selection, "is_busy", lambda: True)
    found = {each["check"]: each for each in aios("doctor", "--json").json}
    assert "aios warm" in found["back end"]["detail"]
    assert aios("models", "tune", "--json").json["provisional"]
    found = {each["check"]: each for each in aios("doctor", "--json").json}
    assert found["back end"]["status"] == "note"
    assert "aios models tune --again" in found["back end"]["detail"]
    monkeypatch.setattr(selection, "is_busy", lambda: False)
    assert not aios("models", "tune", "--again", "--json").json["provisional"]
    found = {each["check"]: each for each in aios("doctor", "--json").json}
    assert found["back end"]["status"] == "ok" and "standard/" in found["back end"]["detail"]


@pytest.mark.sql
@pytest.mark.slow
def test_connect_warm_leaves_nothing_to_wait_for(aios, monkeypatch, tmp_path):
    monkeypatch.setenv("AIOS_CPU__BACKEND", "standard")
    with aios_db.connect(tmp_path / "agent.aios", warm=True) as con:
        encoder = con.store.encoder
        assert encoder._engine is not None and encoder._engine.choice is not None


def test_a_model_that_is_missing_leaves_no_connection_open(tmp_path, monkeypatch):
    monkeypatch.setenv("AIOS_ENGINE__TEXT_MODEL", "nowhere")
    with pytest.raises(aios_db.Error, match="nowhere"):
        aios_db.connect(tmp_path / "agent.aios", warm=True)
