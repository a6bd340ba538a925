"""A database finds the weights of its vectors by their digest, wherever they lie now, and takes no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import aios_db
from aios_db.cli.app import main
from aios_db.config import Config
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import ModelNotFoundError

KEY = "Ada keeps the spare key under the blue pot."


def config(models: Path, name: str = "minilm") -> Config:
    return Config(engine=EngineConfig(text_model=name, models_dir=str(models)))


@pytest.fixture
def home(tmp_path: Path, minilm_dir: Path) -> Path:
    """A place with a database and the models it was made with."""
    place = tmp_path / "home"
    shutil.copytree(minilm_dir, place / "models" / "mine")
    with aios_db.connect(place / "a.aios", config=config(place / "models", "mine")) as con:
        con.remember(KEY)
    return place


def _move(home: Path) -> tuple[Path, str]:
    return home.rename(home.with_name("other")) / "models", "mine"


def _rename_models_dir(home: Path) -> tuple[Path, str]:
    return (home / "models").rename(home / "weights"), "mine"


def _rename_model(home: Path) -> tuple[Path, str]:
    (home / "models" / "mine").rename(home / "models" / "theirs")
    return home / "models", "theirs"


def _configure_what_is_not_there(home: Path) -> tuple[Path, str]:
    (home / "models" / "mine").rename(home / "models" / "theirs")
    return home / "models", "none"


@pytest.mark.parametrize("change", [_move, _rename_models_dir, _rename_model, _configure_what_is_not_there])
def test_weights_are_found_where_they_are_now(home: Path, change: Callable[[Path], tuple[Path, str]]) -> None:
    models, name = change(home)
    place = home if home.exists() else home.with_name("other")
    with aios_db.connect(place / "a.aios", config=config(models, name)) as con:
        [found] = con.recall("where is the key?")
        asked = "vector_search(embed('where is the key?'), 1)"
        [(near,)] = con.execute(f"SELECT score FROM {asked}").fetchall()
        con.remember("Another memory.")
        made_by = con.execute("SELECT DISTINCT text_weight_version FROM memories").fetchall()
    assert found.text == KEY and near > 0.3
    assert len(made_by) == 1  # under whatever name they lie, they are the same weights


def test_other_weights_in_their_place_are_refused(
    home: Path,
    rounded: Callable[..., Path],
    minilm_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both by the library, before any vector is compared, and by `aios doctor`, whose status is 1."""
    settings = tmp_path / "aios.yaml"
    settings.write_text(json.dumps({"engine": {"text_model": "mine", "models_dir": str(home / "models")}}))
    doctor = ["--config", str(settings), "--db", str(home / "a.aios"), "doctor", "--json"]
    assert main(doctor) == 0
    recall = {each["check"]: each for each in json.loads(capsys.readouterr().out)}["recall"]
    assert recall["status"] == "ok" and "mine@" in recall["detail"]

    shutil.rmtree(home / "models" / "mine")
    rounded(minilm_dir, home / "models" / "mine", "fp16")
    with aios_db.connect(home / "a.aios", config=config(home / "models", "mine")) as con:
        for act in (lambda: con.recall("where is the key?"), lambda: con.remember("more")):
            with pytest.raises(ModelNotFoundError, match=r"mine@.*holds other weights.*aios models activate"):
                act()
    assert main(doctor) == 1
    recall = {each["check"]: each for each in json.loads(capsys.readouterr().out)}["recall"]
    assert recall["status"] == "problem" and "aios models activate" in recall["detail"]


def test_weights_that_are_damaged_are_not_said_to_be_elsewhere(home: Path) -> None:
    damaged = home / "models" / "mine" / "weights.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    wrong = r"mine cannot be read: .*weights\.parquet.*aios models activate"
    settings = config(home / "models", "mine")
    with (
        aios_db.connect(home / "a.aios", config=settings) as con,
        pytest.raises(ModelNotFoundError, match=wrong),
    ):
        con.recall("where is the key?")
