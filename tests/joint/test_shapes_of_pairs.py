"""Pairs in the shapes that files and frames give them: each is fitted, or its refusal says why."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from joint_world import pairs, picture, tone

import aios_db
from aios_db.cli.app import cli
from aios_db.joint.pairs import LONGEST, items_of
from aios_db.schema.errors import DataError, Error, ProgrammingError

World = Callable[..., aios_db.Connection]
Rows = list[dict[str, Any]]


def _with(name: str, value: Any) -> Rows:
    return [{**each, name: value} for each in pairs(1)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no pairs"),
        (pa.table({"text": pa.nulls(0, pa.string()), "image": pa.nulls(0)}), "there are no pairs"),
        (_with("text", 3), "row 0: text is 3; give a text, or a list of texts"),
        (_with("text", float("nan")), "row 0: text is nan"),
        (_with("text", {"en": "a thing"}), "row 0: text is {'en'"),
        (_with("text", b"a thing"), "row 0: text is b'a thing'"),
        (_with("group", [1, 2]), r"row 0: group is \[1, 2\]; give a text or a number"),
        (pa.table([["a"], ["b"], ["c"]], names=["text", "image", "image"]), "the column 'image' twice"),
        (_with("image", {"url": "boat.jpg"}), "row 0: image is a dict; give the bytes"),
    ],
)  # fmt: skip
def test_rows_that_are_none_say_what_to_give(rows: Any, message: str) -> None:
    with pytest.raises((DataError, ProgrammingError), match=message):
        items_of(rows)


def test_a_null_among_texts_is_left_out() -> None:
    given = pa.table({"text": [["a boat", None], [None], None], "image": ["a.png", "b.png", "c.png"]})
    assert [each.texts for each in items_of(given)] == [["a boat"], [], []]


def test_columns_of_a_data_set_have_bytes_or_a_path() -> None:
    content = picture("red")
    given = [
        {"text": "a", "image": {"bytes": content, "path": "a.png"}, "audio": {"path": "a.wav"}},
        {"text": "b", "image": {"bytes": None, "path": "b.png"}, "audio": {"bytes": None, "path": None}},
    ]
    found = items_of(pa.Table.from_pylist(given))
    assert [(each.image, each.audio) for each in found] == [(content, "a.wav"), ("b.png", None)]


def test_a_text_is_fitted_as_far_as_a_question_is_embedded(world: World) -> None:
    text = "a boat " * 100_000
    (item,) = items_of([{"text": text, "image": b"picture"}])
    with world() as con:
        asked = con.execute("SELECT embeddable($text)", {"text": text}).fetchone()
    assert item.texts == [text[:LONGEST]] == list(asked or ())


def test_pairs_that_cannot_be_read_make_no_database(tmp_path: Path) -> None:
    pq.write_table(pa.table({"word": ["a boat"], "image": ["a.png"]}), tmp_path / "column.parquet")
    pq.write_table(pa.table({"text": [3], "image": ["a.png"]}), tmp_path / "number.parquet")
    (tmp_path / "text.parquet").write_text("a boat")
    for file in ("column", "number", "text"):
        given = ["--pairs", str(tmp_path / f"{file}.parquet"), "--db", str(tmp_path / "agent.aios")]
        assert CliRunner().invoke(cli, ["fusion", "fit", *given]).exit_code != 0
        assert not (tmp_path / "agent.aios").exists(), file


def test_names_of_folders_are_no_columns(tmp_path: Path) -> None:
    folder = tmp_path / "split=train"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a boat"], "image": ["a.png"]}), folder / "pairs.parquet")
    assert [each.image for each in items_of(folder / "pairs.parquet")] == [str(folder / "a.png")]


@pytest.mark.parametrize(
    "group", [lambda place: "one", lambda place: place < 4, lambda place: place // 60, lambda place: None]
)
def test_groups_of_any_size_are_fitted_or_refused(world: World, group: Callable[[int], Hashable]) -> None:
    rows = [{**each, "group": group(place)} for place, each in enumerate(pairs())]
    with world() as con:
        try:
            assert con.fit_fusion(rows).recalls
        except Error as error:
            assert "group" in str(error) or "do not fit together" in str(error)


def test_recordings_of_one_group_beside_pictures_of_many(world: World) -> None:
    rows = [{**each, "group": place % 4, "audio": None} for place, each in enumerate(pairs())]
    rows += [
        {"text": [f"red, number {n}"], "audio": tone("red", n), "image": None, "group": "one"}
        for n in range(16)
    ]
    with world() as con, pytest.raises(DataError, match="of too few groups"):
        con.fit_fusion(rows)


def test_pictures_and_recordings_of_groups_of_their_own(world: World) -> None:
    rows = [
        {**each, "group": place % 4, "image" if place % 4 < 2 else "audio": None}
        for place, each in enumerate(pairs())
    ]
    with world() as con, pytest.raises(DataError, match="image and audio are tried with text"):
        con.fit_fusion(rows)


def test_a_mapping_is_a_picture_wherever_one_is_taken(world: World) -> None:
    content = picture("red")
    with world() as con:
        memory = con.remember("A red thing", image={"bytes": content, "path": "red.png"})
        stored = con.get(memory)
        assert stored is not None and stored.media == content and stored.media_type == "image/png"
        assert np.array_equal(stored.modalities, ["text", "image"])


@pytest.mark.parametrize("unread", [b"", b"no picture", "nowhere.png", "https://example.com/boat.png"])
def test_a_modality_that_can_be_read_of_too_few_is_refused(world: World, unread: bytes | str) -> None:
    rows = pairs()
    few = [{**each, "image": each["image"] if place < 7 else unread} for place, each in enumerate(rows)]
    with world() as con:
        before = con.fit_fusion(rows)
        with pytest.raises(DataError, match=r"with image, 7 can be read.*\. The first is image of item 7: "):
            con.fit_fusion(few)
        assert con.recall(image=picture("red", 50)) == []
        spaces = con.execute("SELECT version FROM weight_versions WHERE space = 'joint'").fetchall()
        assert spaces == [(before.version,)]


def test_the_shell_says_what_is_left_out_by_its_exit_status(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aios_db.cli import main

    world().close()
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("AIOS_ENGINE__IMAGE_MODEL", "joint_world:QUARTERS")
    rows = [{"text": each["text"], "image": each["image"]} for each in pairs()]
    for unread, status in ((0, 0), (12, 3)):
        some = [
            {**each, "image": None if place < unread else each["image"]} for place, each in enumerate(rows)
        ]
        some += [{"text": ["a thing"], "image": b"no picture %d" % each} for each in range(unread)]
        pq.write_table(pa.Table.from_pylist(some), tmp_path / "pairs.parquet")
        arguments = ["--db", str(tmp_path / "agent.aios"), "fusion", "fit", "--pairs"]
        assert main([*arguments, str(tmp_path / "pairs.parquet")]) == status
        told = capsys.readouterr().out.splitlines()
        assert sum(each.startswith("left out: ") for each in told) == min(unread, 11)
        assert not any("recall@10" in each and "chance 1.000" in each for each in told)
    assert told[-1] == "left out: 2 more, of 12; see faults"
