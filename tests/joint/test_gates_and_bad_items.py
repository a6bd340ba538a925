"""Encoders and pairs that are no good are refused; an item that is no good stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from joint_world import WORDS, pairs, picture, seen
from PIL import Image

import aios_db
from aios_db.joint.reembedding import JointReembedding
from aios_db.schema.errors import DataError, ProgrammingError, ValidationError

World = Callable[..., aios_db.Connection]


def _fails(pictures: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("encode", "why"),
    [
        (_fails, "fails on samples: ZeroDivisionError"),
        (lambda pictures: np.ones((len(pictures), 12)), "answers the same"),
        (lambda pictures: np.zeros((len(pictures), 12)), "answers the same"),
    ],
)
def test_encoders_that_say_nothing_are_refused(world: World, encode: Any, why: str) -> None:
    with world() as con, pytest.raises(ValidationError, match=why):
        con.register_encoder("useless", "image", 12, encode, size=32)


@pytest.mark.parametrize("scrambled", ["text", "image", "audio"])
def test_one_modality_of_other_things_is_refused(world: World, scrambled: str) -> None:
    rows = pairs()
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = [{**row, scrambled: rows[other][scrambled]} for row, other in zip(rows, order, strict=True)]
    with world() as con:
        before = con.fit_fusion(rows)
        assert [each.modality for each in before.relations if each.value > 0.8] == ["image", "audio"]
        with pytest.raises(ValidationError, match="nothing is installed") as raised:
            con.fit_fusion(mixed, name="mixed")
        told = str(raised.value)
        assert [name in told for name in ("image and text", "audio and text")] == [
            scrambled in ("text", "image"),
            scrambled in ("text", "audio"),
        ]
        assert re.search(r"recall@1 0\.[12]\d\d \[.*\] of 64, by chance 0\.[12]", told)
        spaces = con.execute("SELECT version FROM weight_versions WHERE space = 'joint'").fetchall()
        assert spaces == [(before.version,)]


def test_features_whose_length_is_infinite_are_an_error_of_their_item(world: World) -> None:
    def encode(pictures: Any) -> Any:
        made = seen(pictures)
        made[pictures.mean((1, 2))[:, 0] > 250] = 3e38
        return made

    with world() as con:
        con.register_encoder("bright", "image", 12, encode, size=32, version="1")
        con.fit_fusion(pairs(), cached=False)
        white = BytesIO()
        Image.new("RGB", (40, 40), "white").save(white, "PNG")
        good, bad = con.remember([{"image": picture("red", 50)}, {"image": white.getvalue()}])
        assert [each.joint_embedding is not None for each in con.get([good, bad])] == [True, False]
        with pytest.raises(DataError, match="NaN or infinity"):
            con.recall(image=white.getvalue())


@pytest.mark.parametrize("how", ["nan", "raises"])
def test_an_item_that_an_encoder_fails_on_stands_alone(world: World, how: str) -> None:
    def encode(pictures: Any) -> Any:
        means = pictures.mean((1, 2))
        red = (means[:, 0] > 180) & (means[:, 1] < 60)
        if how == "raises" and red.any():
            raise ValueError("no red")
        return np.where(red[:, None], np.nan, seen(pictures))

    with world() as con:
        con.register_encoder("nored", "image", 12, encode, size=32, version="1")
        report = con.fit_fusion(pairs(), cached=False)
        assert len(report.faults) == 8 and all("the encoder fails on it" in each for each in report.faults)
        ids = con.remember([{"image": picture(colour, 50)} for colour in WORDS])
        made = [each.joint_embedding is not None for each in con.get(ids)]
        assert made == [colour != "red" for colour in WORDS]


def test_pairs_and_seeds_that_make_no_fit(world: World) -> None:
    with world() as con:
        with pytest.raises(ProgrammingError, match="seed is -1"):
            con.fit_fusion(pairs(), seed=-1)
        same = [{"text": "always this", "image": picture(WORDS[n % 8], n)} for n in range(20)]
        with pytest.raises((DataError, ValidationError)):
            con.fit_fusion(same)


def test_what_is_remembered_before_the_exchange_is_in_the_new_space(world: World, monkeypatch) -> None:
    with world() as con, world() as other:
        con.fit_fusion(pairs())
        activated = con.store.versions.set_active

        def late(version: str) -> None:
            import threading

            writer = threading.Thread(
                target=lambda: ids.append(other.remember("meanwhile", image=picture("red", 9)))
            )
            writer.start()
            writer.join(0.3)
            activated(version)
            writers.append(writer)

        ids: list[str] = []
        writers: list[Any] = []
        monkeypatch.setattr(con.store.versions, "set_active", late)
        left = JointReembedding(
            con.store.database, con.store.replace_vectors, con.store.joint.in_use.required()
        )._path.with_name("reembed_joint_left.lance")
        left.mkdir()
        version = con.fit_fusion(pairs(), seed=5, name="second").version
        writers[0].join(20)
        assert con.get(ids[0]).joint_weight_version == version
        assert not left.exists()
