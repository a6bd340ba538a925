"""Where CLIP is installed, pictures are found in its own space until one is fitted; the database says so."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from joint_world import COLOURS, pairs, picture, register, tone
from tiny_clip import SIZE, WORDS, make_clip, save

import aios_db
from aios_db.cli.app import cli
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.frontends.image import load_pixels
from aios_db.joint import clip
from aios_db.joint.encoders import Encoders
from aios_db.joint.reembedding import JointReembedding, _taken
from aios_db.schema.errors import ProgrammingError
from aios_db.store.rows import normalise

Connect = Callable[..., aios_db.Connection]


def taught(directory: Path, seed: int) -> Path:
    """Train a tiny CLIP by InfoNCE for some seconds, so that colours and their words fall together."""
    from tokenizers import Tokenizer

    model: Any = make_clip(directory, seed)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_padding(length=8)
    texts = [["{} thing", "a {} picture", "{}", "the photo of something {}"][seed % 4] for seed in range(4)]
    pixels = [
        torch.from_numpy(np.stack([load_pixels(picture(name, seed), SIZE) for name in COLOURS]))
        for seed in range(100, 104)
    ]
    model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    aims = torch.arange(len(COLOURS))
    for step in range(120):
        told = [texts[step % 4].format(name) for name in COLOURS]
        ids = torch.tensor([each.ids for each in tokenizer.encode_batch(told)])
        words = model.text_projection(model.text_model(ids).pooler_output)
        seen = model.visual_projection(model.vision_model(pixels[step % 4]).pooler_output)
        words, seen = (torch.nn.functional.normalize(each) for each in (words, seen))
        cosines = 10 * words @ seen.T
        loss = torch.nn.functional.cross_entropy(cosines, aims) + torch.nn.functional.cross_entropy(
            cosines.T, aims
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5
    save(model, directory)
    return directory


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two such models, of different seeds."""
    path = tmp_path_factory.mktemp("clip")
    return [taught(path / str(seed), seed) for seed in range(2)]


@pytest.fixture
def connect(minilm_dir: Path, clips: list[Path], tmp_path: Path) -> Connect:
    """Open the database with the first CLIP installed."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "minilm").symlink_to(minilm_dir)
    convert_huggingface(clips[0], models / "clip-vit-base-patch32")

    def opened(engine: dict[str, str] | None = None, **options: Any) -> aios_db.Connection:
        config = {
            "engine": {"models_dir": str(models)} | (engine or {}),
            "device": {"target": "cpu"},
            "cpu": {"backend": "standard"},
        }
        return aios_db.connect(tmp_path / "agent.aios", config=config, **options)

    return opened


def rows_of(content: bytes) -> pa.Table:
    return normalise(pa.table({"image": [content]}), 384)


def spaces(con: aios_db.Connection) -> dict[str, str]:
    return dict(con.execute("SELECT modality, space FROM joint_space()").fetchall())


def test_words_and_pictures_find_pictures_that_have_no_words(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with connect() as con, caplog.at_level(logging.WARNING, "aios_db.joint"):
        bread = con.remember("A recipe for walnut bread")
        assert spaces(con) == {"text": "text", "image": "text", "audio": "text"}
        notes = [note for (note,) in con.execute("SELECT note FROM joint_space()").fetchall()]
        assert ["CLIP is installed" in note for note in notes] == [True, True, False]
        ids = {name: con.remember(image=picture(name, 1), title=None) for name in COLOURS}
        assert "pictures are found in CLIP's own, clip-" in caplog.text
        for name, memory in ids.items():
            found = con.recall(f"{name} thing", modality="image", k=1)
            assert found[0].memory_id == memory and found[0].joint_score > 1
        assert con.recall("walnut bread recipe", k=1)[0].memory_id == bread
    with connect() as con:
        sql = "SELECT memory_id FROM recall(image := ?, k := 1)"
        for name, memory in ids.items():
            assert con.execute(sql, [picture(name, 2)]).fetchone() == (memory,)
        row = con.execute(
            "SELECT joint_weight_version, len(joint_embedding) FROM memories WHERE memory_id = ?",
            [ids["red"]],
        ).fetchone()
        version = spaces(con)["image"]
        assert row == (version, 24) and version.startswith("clip-")
        assert con.execute(
            "SELECT count(*) FROM memories WHERE joint_weight_version IS NOT NULL"
        ).fetchone() == (len(ids),)  # texts have their own vectors alone
        near = "SELECT list_cosine_similarity(embed_joint(?), embed_joint(NULL, image := ?))"
        same = con.execute(near, ["pink", picture("pink", 3)]).fetchone()
        other = con.execute(near, ["pink", picture("green", 3)]).fetchone()
        assert same is not None and other is not None and same[0] > other[0] + 0.3
        con.update(ids["red"], image=picture("blue", 9))
        assert con.recall("red thing", modality="image", k=1)[0].memory_id != ids["red"]
        con.update(ids["blue"], text="Nothing to see", image=None)
        assert con.recall("blue thing", modality="image", k=1)[0].memory_id == ids["red"]
        rows = con.execute("SELECT version, space FROM weight_versions WHERE is_active").fetchall()
        assert (version, "joint") in rows
        status = con.execute("SELECT modality, space, usable, note FROM joint_space()").fetchall()
        assert [row[:3] for row in status] == [
            ("text", version, True), ("image", version, True), ("audio", "text", False)
        ]  # fmt: skip
        assert "CLIP's own space" in status[0][3] and "CLIP's own space" in status[1][3]
        assert "fewer than 8 pictures" in status[0][3]
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    asked = ["fusion", "status", "--json", "--db", str(tmp_path / "agent.aios")]
    told = json.loads(CliRunner().invoke(cli, asked, catch_exceptions=False).output)
    assert [row["space"] for row in told] == [version, version, "text"]
    doctor = CliRunner().invoke(cli, ["doctor", "--db", str(tmp_path / "agent.aios")])
    assert f"{version} of text, image, CLIP's own, as none was fitted" in doctor.output
    assert "found by their words only" not in doctor.output  # they have none
    models = json.loads(CliRunner().invoke(cli, ["models", "list", "--json"], catch_exceptions=False).output)
    found = {each["name"]: each["dimension"] for each in models}
    assert found["clip-vit-base-patch32"] == found["clip-vit-base-patch32-text"] == 24


def test_few_texts_among_many_pictures_are_no_better_answers_for_that(connect: Connect) -> None:
    with connect() as con:
        for text in ("My dog is called Rex", "The rent is due on Friday"):
            con.remember(text, image=picture("pink", 50))
        con.remember([{"image": picture(name, seed)} for name in COLOURS for seed in range(8)])
        for name in COLOURS.keys() - {"pink"}:
            best = con.recall(f"{name} thing", k=1)[0]
            assert not best.text and best.vector_score == 0 and best.joint_score > 1
            stored = con.get(best.memory_id)
            assert stored is not None and stored.media in {picture(name, seed) for seed in range(8)}, name
        assert con.recall("what is my dog's name?", k=1)[0].text == "My dog is called Rex"


def test_clip_that_is_not_there_is_not_looked_for_with_each_picture(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip, "_LOOK_AGAIN_S", 60.0)
    looked: list[int] = []
    found = Encoders.installed_clip
    monkeypatch.setattr(Encoders, "installed_clip", lambda self: looked.append(1) or found(self))
    with connect(engine={"image_model": "absent"}) as con:
        for seed in range(5):
            con.store.joint.complete(rows_of(picture("red", seed)), np.ones(1, np.bool_))
        assert len(looked) == 1


def test_pictures_are_embedded_once_by_threads_that_renew_the_space(
    connect: Connect, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect() as con:
        con.remember([{"image": picture(name, seed)} for name in COLOURS for seed in range(3)])
    convert_huggingface(clips[1], tmp_path / "models/other")
    made: list[int] = []
    read = Encoders.read

    def slowly(self: Encoders, features: Any, items: Any) -> Any:
        made.append(len(items))
        time.sleep(0.3)
        return read(self, features, items)

    monkeypatch.setattr(Encoders, "read", slowly)
    with connect(engine={"image_model": "other"}) as con:
        threads = [threading.Thread(target=con.optimize) for _ in range(3)]
        for each in threads:
            each.start()
        con.store.maintain()
        for each in threads:
            each.join()
        assert sum(made) == 3 * len(COLOURS)
        assert len(con.execute("SELECT DISTINCT joint_weight_version FROM memories").fetchall()) == 1


def test_what_two_processes_made_beside_is_exchanged_once(
    connect: Connect, clips: list[Path], tmp_path: Path
) -> None:
    with connect() as con:
        con.remember([{"image": picture(name, 1)} for name in COLOURS])
    convert_huggingface(clips[1], tmp_path / "models/other")
    with connect(engine={"image_model": "other"}) as con:
        fresh = con.store.joint.clip.fresh()
        assert fresh is not None
        works = [
            JointReembedding(con.store.database, con.store.replace_vectors, fresh, again=True) for _ in "12"
        ]
        memories = con.store.memories
        todo = [work._missing(memories) for work in works]
        for work, rows in zip(works, todo, strict=True):
            work._embed(_taken(memories, rows))
        con.optimize()
        made_by = con.execute("SELECT DISTINCT joint_weight_version FROM memories").fetchall()
        assert made_by == [(fresh.version,)]


def test_a_fitted_space_replaces_it_and_another_clip_renews_it(
    connect: Connect, clips: list[Path], tmp_path: Path
) -> None:
    with connect(engine={"image_model": "absent"}) as con:
        ids = {name: con.remember(image=picture(name, 1)) for name in COLOURS}
        with pytest.raises(ProgrammingError, match="no joint space was fitted"):
            con.recall(image=picture("red", 2))
        assert spaces(con)["image"] == "text"
    with connect() as con:  # CLIP was installed since
        assert con.execute("SELECT count(*) FROM memories WHERE joint_embedding IS NULL").fetchone() == (8,)
        con.optimize()
        first = spaces(con)["image"]
        assert con.recall("yellow thing", k=1)[0].memory_id == ids["yellow"]
    convert_huggingface(clips[1], tmp_path / "models/other")
    with connect(engine={"image_model": "other"}) as con:
        with pytest.raises(ProgrammingError, match=r"is that of clip-vit-base-patch32@.*: aios optimize"):
            con.recall(image=picture("red", 2))
        con.optimize()
        second = spaces(con)["image"]
        assert second.startswith("clip-") and second != first
        made_by = con.execute("SELECT DISTINCT joint_weight_version FROM memories").fetchall()
        assert made_by == [(second,)]
        for name, memory in ids.items():
            assert con.recall(image=picture(name, 2), k=1)[0].memory_id == memory
        versions = con.execute(
            "SELECT version, is_active FROM weight_versions WHERE space = 'joint'"
        ).fetchall()
        assert sorted(versions) == sorted([(first, False), (second, True)])
    with connect() as con:
        register(con)
        fitted = con.fit_fusion(pairs()).version
        assert set(spaces(con).values()) == {fitted}
        con.optimize()
        con.remember("The pink one", image=picture("pink", 7))
        assert set(spaces(con).values()) == {fitted}
        assert con.recall(audio=tone("green", 4), k=1)[0].memory_id == ids["green"]


def test_a_sound_is_left_out_and_sides_of_two_models_are_refused(
    connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect() as con, caplog.at_level(logging.WARNING, "aios_db.joint"):
        memory = con.remember(image=picture("red", 1))
        con.remember(image=picture("blue", 1))
        assert con.recall("red", audio=tone("red"), modality="image", k=1)[0].memory_id == memory
        assert "text is the pivot" in caplog.text and "the sound that was given does not" in caplog.text
        with pytest.raises(ProgrammingError, match="knows no audio, only text, image"):
            con.recall(audio=tone("red"))
    with connect(read_only=True) as con:
        assert con.recall("red thing", modality="image", k=1)[0].memory_id == memory
    wide = make_clip(tmp_path / "hf", 3)
    assert len(WORDS) + 3 == wide.config.text_config.vocab_size
    config = json.loads((tmp_path / "hf/config.json").read_text()) | {"model_type": "clip_text_model"}
    wide.text_projection = torch.nn.Linear(32, 16, bias=False)
    save(wide, tmp_path / "hf")
    (tmp_path / "hf/config.json").write_text(json.dumps(config | {"projection_dim": 16}))
    convert_huggingface(tmp_path / "hf", tmp_path / "models/narrow")
    other = aios_db.connect(
        tmp_path / "other.aios",
        config={
            "engine": {"models_dir": str(tmp_path / "models"), "image_text_model": "narrow"},
            "device": {"target": "cpu"},
            "cpu": {"backend": "standard"},
        },
    )
    with other as con, caplog.at_level(logging.WARNING, "aios_db.joint"):
        con.remember("A red thing", image=picture("red", 1))
        assert spaces(con)["image"] == "text"
        assert "they are not of one CLIP model" in caplog.text


@pytest.mark.parametrize("older", [False, True])
def test_a_lost_space_of_clip_is_made_anew(connect: Connect, tmp_path: Path, older: bool) -> None:
    with connect() as con:
        ids = {name: con.remember(image=picture(name, 1), title=None) for name in COLOURS}
    [space] = (tmp_path / "models").glob("clip-????????")
    if older:  # of features as another aios_db made them
        described = json.loads((space / "metadata.json").read_text())
        described["config"]["features"] = 1
        (space / "metadata.json").write_text(json.dumps(described))
    else:
        (space / "weights.parquet").unlink()
    with connect() as con:
        con.optimize()
        for name, memory in ids.items():
            assert con.recall(image=picture(name, 2), modality="image", k=1)[0].memory_id == memory
