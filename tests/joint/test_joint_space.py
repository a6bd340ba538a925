"""A joint space through the public interface: fitted, asked after reopening, with another encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from joint_world import WORDS, pairs, picture, seen, tone

import aios_db
from aios_db.schema.errors import DataError, ProgrammingError, ReadOnlyError, ValidationError

World = Callable[..., aios_db.Connection]


def remember_things(con: aios_db.Connection) -> None:
    for colour in WORDS:
        con.remember(image=picture(colour, 100), external_id=f"image {colour}")
        con.remember(audio=tone(colour, 100), external_id=f"audio {colour}")
        con.remember(f"a {colour} thing", kind="document", external_id=f"text {colour}")


def first(con: aios_db.Connection, sql: str, *given: object) -> str:
    return con.execute(f"SELECT external_id FROM recall({sql})", list(given)).fetchone()[0]


def test_each_modality_finds_the_others_after_reopening(world: World) -> None:
    with world() as con:
        remember_things(con)
        report = con.fit_fusion(pairs())
        assert report.memories == 24 and not report.faults
        assert report.version.startswith("joint-")
        spoken = next(
            each for each in report.recalls if (each.asks, each.finds, each.k) == ("audio", "image", 1)
        )
        assert spoken.value > 0.9 > spoken.chance
        assert spoken.queries == 64 and spoken.chance == pytest.approx(1 / spoken.candidates)
        told = str(report)
        shown = (
            f"recall@1 {spoken.value:.3f} [{spoken.low:.3f}, {spoken.high:.3f}] of 64 among 5, chance 0.200"
        )
        assert f"audio -> image: {shown}" in told
        assert "image and text find each other: recall@1" in told
    with world() as con:
        for colour in WORDS:
            assert first(con, "audio := ?, modality := 'image', k := 1", tone(colour, 7)) == f"image {colour}"
            assert (
                first(con, "image := ?, modality := 'audio', k := 1", picture(colour, 7)) == f"audio {colour}"
            )
            assert (
                first(con, "image := ?, modality := 'text', k := 1", picture(colour, 7)) == f"text {colour}"
            )
            assert first(con, "audio := ?, modality := 'text', k := 1", tone(colour, 7)) == f"text {colour}"
            assert first(con, "?, modality := 'image', k := 1", f"something {colour}") == f"image {colour}"
        found = con.recall(image=picture("red", 9), audio=tone("red", 9), k=3)
        assert {each.external_id for each in found} == {"image red", "audio red", "text red"}
        assert all(each.joint_score > 0 for each in found)


def test_what_is_remembered_after_the_fit_is_found(world: World) -> None:
    with world() as con:
        con.fit_fusion(pairs())
        remember_things(con)
        assert con.recall(audio=tone("blue", 3), modality="image", k=1)[0].external_id == "image blue"
        vectors = con.execute("SELECT joint_embedding, joint_weight_version FROM memories").fetchall()
        assert len(vectors) == 24 and len({version for _, version in vectors}) == 1
        np.testing.assert_allclose([np.linalg.norm(vector) for vector, _ in vectors], 1, atol=1e-5)
        changed = con.get(external_id="image blue")
        assert changed is not None
        con.update(changed.memory_id, media=picture("pink", 5))
        assert con.recall(audio=tone("pink", 3), modality="image", k=2)[1].external_id == "image blue"
        con.forget(changed.memory_id)
        ids = {each.external_id for each in con.recall(audio=tone("blue", 3), modality="image", k=9)}
        assert ids == {f"image {colour}" for colour in WORDS} - {"image blue"}


def test_another_version_of_an_encoder_asks_for_another_fit(world: World) -> None:
    with world() as con:
        remember_things(con)
        old = con.fit_fusion(pairs())
        con.register_encoder(
            "quarters", "image", 12, lambda pictures: seen(pictures)[:, ::-1], size=32, version="2"
        )
        with pytest.raises(ProgrammingError, match=r"was fitted with quarters@\w+, and quarters@\w+ makes"):
            con.recall(image=picture("red", 3))
        assert con.recall(audio=tone("red", 3), modality="image", k=1)[0].external_id == "image red"
        new = con.fit_fusion(pairs())
        assert new.version != old.version
        for colour in ("red", "black"):
            assert (
                con.recall(audio=tone(colour, 3), modality="image", k=1)[0].external_id == f"image {colour}"
            )
            assert (
                con.recall(image=picture(colour, 3), modality="audio", k=1)[0].external_id
                == f"audio {colour}"
            )
        active = con.execute(
            "SELECT version FROM weight_versions WHERE space = 'joint' AND is_active"
        ).fetchall()
        assert active == [(new.version,)]


def test_functions_in_sql(world: World) -> None:
    with world() as con:
        assert con.execute(
            "SELECT len(embed_quarters(?)), len(embed_bands(?))", [picture("red"), tone("red")]
        ).fetchall() == [(12, 24)]
        with pytest.raises(ProgrammingError, match="no joint space was fitted"):
            con.execute("SELECT embed_joint('red')")
        con.fit_fusion(pairs())
        parts = [picture("red", 4), tone("red", 4), picture("white", 4)]
        same, other, whole = con.execute(
            "SELECT list_cosine_similarity(embed_joint('a red thing'), embed_joint(NULL, image := $1)), "
            "list_cosine_similarity(embed_joint('a red thing'), embed_joint(NULL, image := $3)), "
            "embed_joint('a red thing', $1, $2)",
            parts,
        ).fetchone()
        assert same > other + 0.3
        assert np.linalg.norm(whole) == pytest.approx(1, abs=1e-5)
        assert con.execute("SELECT embed_joint(NULL)").fetchone() == (None,)
        rows = con.execute("SELECT name, space FROM weight_versions WHERE schema_version = 'plugged'")
        assert sorted(rows.fetchall()) == [("bands", "audio"), ("quarters", "image")]


def test_bad_items_leave_the_rest_alone(world: World, tmp_path, caplog) -> None:
    (tmp_path / "words.jpg").write_text("no picture")
    bad = [
        b"",
        picture("red")[:60],
        b"hello",
        str(tmp_path / "words.jpg"),
        str(tmp_path / "absent.png"),
        "https://a.example/b.png",
    ]
    with world() as con:
        rows = [*pairs(), *({"text": "a broken thing", "image": each} for each in bad)]
        report = con.fit_fusion(rows)
        assert len(report.faults) == len(bad) and all("image of item" in each for each in report.faults)
        files = [picture("red"), b"hello", picture("blue")]
        made = con.execute(
            "SELECT embed_quarters(f) FROM (VALUES (?::BLOB), (?), (?)) t(f)", files
        ).fetchall()
        assert [row[0] is None for row in made] == [False, True, False]
        assert "cannot be read" in caplog.text
        with pytest.raises(DataError, match="cannot be decoded"):
            con.execute("SELECT embed_quarters(?::BLOB)", [b"hello"])
        ids = con.remember([{"media": b"hello", "media_type": "image/jpeg"}, {"image": picture("red", 5)}])
        assert [each.joint_embedding is None for each in con.get(ids)] == [True, False]
        assert con.recall(audio=tone("red"), k=1)[0].memory_id == ids[1]
        with pytest.raises(DataError, match=r"empty|cannot be decoded"):
            con.recall(audio=b"")


def test_pairs_of_a_parquet_file_in_the_shell(world: World, tmp_path, monkeypatch, capsys) -> None:
    from aios_db.cli.app import main

    rows = pairs()
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.png").write_bytes(row["image"])
        row["image"] = f"{number}.png"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    (tmp_path / "encoders.py").write_text(
        "import aios_db\nfrom joint_world import heard, seen\n"
        "pictures = aios_db.MediaEncoder('quarters', 'image', 12, seen, size=32)\n"
        "def sounds():\n    return aios_db.MediaEncoder('bands', 'audio', 24, heard)\n"
    )
    (tmp_path / "aios.yaml").write_text(
        f"engine:\n  models_dir: {tmp_path / 'models'}\n  image_model: 'encoders:pictures'\n"
        "  audio_model: 'encoders:sounds'\ndevice:\n  target: cpu\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["--config", str(tmp_path / "aios.yaml"), "--db", str(tmp_path / "shell.aios")]
    assert main([*arguments, "fusion", "fit", "--pairs", str(tmp_path / "pairs.parquet")]) == 0
    told = capsys.readouterr().out
    assert "audio -> image: recall@1" in told and "64 items" in told
    assert main([*arguments, "remember", "Look", "--image", str(tmp_path / "3.png")]) == 0
    (tmp_path / "question.wav").write_bytes(tone(WORDS[3], 50))
    capsys.readouterr()
    assert main([*arguments, "recall", "--audio", str(tmp_path / "question.wav"), "--json"]) == 0
    assert '"text": "Look"' in capsys.readouterr().out


def test_pairs_that_do_not_belong_together_are_refused(world: World) -> None:
    rows = pairs()
    random = np.random.default_rng(0)
    for row, other in zip(rows, random.permutation(len(rows)), strict=True):
        row["image"] = picture(WORDS[other % len(WORDS)], int(other) + 1000)
    strangers = [{"text": f"{n} {random.integers(1e9)}", "image": row["image"]} for n, row in enumerate(rows)]
    with world() as con:
        with pytest.raises(DataError, match="too few pairs"):
            con.fit_fusion(rows[:3])
        with pytest.raises(ProgrammingError, match="no column 'picture'"):
            con.fit_fusion([{"text": "a", "picture": b""}])
        with pytest.raises(ValidationError, match="nothing is installed"):
            con.fit_fusion(strangers)
        assert con.execute("SELECT count(*) FROM weight_versions WHERE space = 'joint'").fetchone() == (0,)


def test_an_encoder_that_fails_its_gate_is_refused(world: World) -> None:
    with world() as con:
        for encode, message in (
            (lambda batch: np.zeros((len(batch), 7)), r"returned shape \(7,\)"),
            (lambda batch: np.zeros((len(batch) + 1, 12)), "returned 4 rows for 3 items"),
            (lambda batch: np.full((len(batch), 12), np.nan), "NaN"),
            (lambda batch: seen(batch) - seen(batch).mean(0), "otherwise for an item alone"),
        ):
            with pytest.raises(ValidationError, match=message):
                con.register_encoder("odd", "image", 12, encode, size=32)
        for name, modality in (("Odd", "image"), ("odd", "smell")):
            with pytest.raises(ProgrammingError):
                con.register_encoder(name, modality, 12, seen)
        with pytest.raises(ProgrammingError, match="embed_joint is a function already"):
            con.register_encoder("joint", "image", 12, seen, size=32)


def test_a_scope_and_a_closed_connection_see_their_own(world: World, tmp_path) -> None:
    (tmp_path / "red.png").write_bytes(picture("red", 3))
    with world() as con:
        con.fit_fusion(pairs())
        con.remember(image=picture("red", 1), external_id="ada's", user_id="ada")
        con.remember(image=picture("red", 2), external_id="bo's", user_id="bo")
    with world(user_id="ada") as con:
        assert [each.external_id for each in con.recall(audio=tone("red"))] == ["ada's"]
    with world(read_only=True) as con:
        assert len(con.recall(image=picture("red", 3))) == 2
        with pytest.raises(aios_db.DataError, match="outside of what SQL may read"):
            con.recall(image=tmp_path / "red.png")
        with pytest.raises(ReadOnlyError, match="no space can be fitted"):
            con.fit_fusion(pairs())


def test_a_space_that_is_fitted_again_later_is_asked(world: World) -> None:
    with world() as con:
        remember_things(con)
        con.fit_fusion(pairs())
        con.optimize()
    with world() as con:
        con.fit_fusion(pairs(6))
        for colour in ("red", "blue"):
            found = first(con, "'', image := ?, modality := 'image', k := 1", picture(colour, 7))
            assert found == f"image {colour}"
