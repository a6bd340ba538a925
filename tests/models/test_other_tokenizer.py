"""The same weights with another tokenizer are refused before a vector is compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import aios_db
from aios_db.config import Config
from aios_db.engine.catalog.fingerprint import tokenizer_fingerprint
from aios_db.models.tokenizers import FILE
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import ModelNotFoundError, ValidationError

KEY = "Ada keeps the spare key under the blue pot."
TOKENIZER = Path("models", "mine", "tokenizer", "tokenizer.json")


def connect(home: Path, name: str = "mine") -> aios_db.Connection:
    config = Config(engine=EngineConfig(text_model=name, models_dir=str(home / "models")))
    return aios_db.connect(home / "a.aios", config=config)


def replace_tokenizer(home: Path) -> None:
    """Exchange two words, so that texts get other ids."""
    path = home / TOKENIZER
    said = json.loads(path.read_text("utf-8"))
    words = said["model"]["vocab"]
    words["key"], words["pot"] = words["pot"], words["key"]
    path.write_text(json.dumps(said), "utf-8")


@pytest.fixture
def home(tmp_path: Path, minilm_dir: Path) -> Path:
    shutil.copytree(minilm_dir, tmp_path / "models" / "mine", ignore=shutil.ignore_patterns("backends"))
    with connect(tmp_path) as con:
        con.remember(KEY)
    return tmp_path


def test_it_is_refused_by_reading_and_writing(home):
    replace_tokenizer(home)
    with connect(home) as con:
        for use in (lambda: con.recall("key"), lambda: con.remember("another")):
            with pytest.raises(ModelNotFoundError, match="mine holds them with another tokenizer"):
                use()
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(1,)]
        with pytest.raises(ValidationError, match="another tokenizer than made vectors"):
            con.store.versions.install(home / "models" / "mine")


def test_the_right_one_elsewhere_is_found(home):
    shutil.copytree(home / "models" / "mine", home / "models" / "right")
    replace_tokenizer(home)
    with connect(home) as con:
        assert con.recall("where is the key?")[0].text == KEY


def test_how_the_file_is_written_does_not_count(home):
    path = home / TOKENIZER
    before = tokenizer_fingerprint(path)
    said = json.loads(path.read_text("utf-8"))
    said["truncation"], said["padding"] = None, None
    path.write_text(json.dumps(said, indent=4, sort_keys=True), "utf-8")
    assert tokenizer_fingerprint(path) == before
    with connect(home) as con:
        assert con.recall("where is the key?")[0].text == KEY


def test_a_database_from_before_notes_it_when_it_is_used(home):
    (home / "a.aios" / FILE).unlink()
    with connect(home) as con:
        assert con.recall("where is the key?")[0].text == KEY
    replace_tokenizer(home)
    with connect(home) as con, pytest.raises(ModelNotFoundError, match="another tokenizer"):
        con.recall("key")


def test_under_another_name_it_is_another_version(home):
    shutil.copytree(home / "models" / "mine", home / "models" / "other")
    replace_tokenizer(home)
    (home / "models" / "mine").rename(home / "models" / "changed")
    (home / "models" / "other").rename(home / "models" / "mine")
    with connect(home) as con:
        version = con.store.versions.install(home / "models" / "changed")
        assert version.version.startswith("changed@")
        assert len(json.loads((home / "a.aios" / FILE).read_text())) == 2
        assert con.recall("where is the key?")[0].text == KEY
