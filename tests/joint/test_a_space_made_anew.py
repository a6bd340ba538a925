"""A fit is the way out where the weights of a space are damaged, or it is of other features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from joint_world import WORDS, pairs, picture, seen

import aios_db
from aios_db.schema.errors import DataError, ModelNotFoundError, ProgrammingError

World = Callable[..., aios_db.Connection]


def flipped(directory: Path) -> None:
    path = directory / "weights.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def cut(directory: Path) -> None:
    path = directory / "weights.parquet"
    path.write_bytes(path.read_bytes()[:1000])


def undescribed(directory: Path) -> None:
    (directory / "metadata.json").unlink()


def of_an_older_recipe(directory: Path) -> None:
    path = directory / "metadata.json"
    described = json.loads(path.read_text())
    described["config"]["features"] = 1
    path.write_text(json.dumps(described))


def cut_elsewhere(directory: Path) -> None:
    path = directory / "metadata.json"
    described = json.loads(path.read_text())
    described["config"]["starts"]["image"] += 1
    path.write_text(json.dumps(described))


def of_other_encoders_as_earlier_ones_tell(directory: Path) -> None:
    path = directory / "metadata.json"
    described = json.loads(path.read_text())
    described["config"]["encoders"]["image"] = "another@0123456789ab"
    del described["config_sha256"]
    path.write_text(json.dumps(described))


@pytest.mark.parametrize(
    "harm",
    [flipped, cut, undescribed, of_an_older_recipe, cut_elsewhere, of_other_encoders_as_earlier_ones_tell],
)
def test_a_fit_of_the_same_pairs_replaces_what_cannot_be_used(
    world: World, harm: Callable[[Path], None]
) -> None:
    with world() as con:
        first = con.fit_fusion(pairs())
        con.remember([{"image": picture(word, 30), "external_id": word} for word in WORDS])
    harm(Path(first.path))
    with world() as con:
        with pytest.raises(ModelNotFoundError, match="fit the space again"):
            con.recall(image=picture("red", 31))
        assert con.fit_fusion(pairs()).version == first.version
        assert con.recall(image=picture("red", 31), k=1)[0].external_id == "red"
    assert sorted(path.name for path in Path(first.path).parent.iterdir()) == [
        Path(first.path).name,
        "minilm",
    ]


def test_another_version_of_an_encoder_that_makes_the_same_is_fitted_again(world: World) -> None:
    with world() as con:
        first = con.fit_fusion(pairs())
        con.register_encoder("quarters", "image", 12, seen, size=32, version="2")
        with pytest.raises(ProgrammingError, match="fit again"):
            con.recall(image=picture("red", 31))
        assert con.fit_fusion(pairs()).version != first.version
        con.recall(image=picture("red", 31))


def test_a_modality_that_too_few_pairs_have_is_left_out_and_told(world: World) -> None:
    given = [{**each, "audio": each["audio"] if number < 5 else None} for number, each in enumerate(pairs())]
    with world() as con:
        report = con.fit_fusion(given)
        assert report.faults == ("audio, in 5 pairs with a text, of 8 that are needed",)
        assert "left out: audio, in 5 pairs" in str(report)
        with pytest.raises(DataError, match="5 of audio"):
            con.fit_fusion([{**each, "image": None} for each in given])


def test_a_space_that_was_fitted_has_not_the_name_of_clips_own(world: World) -> None:
    with world() as con, pytest.raises(ProgrammingError, match="CLIP's own space"):
        con.fit_fusion(pairs(), name="clip")
