"""The fusion MLP is used where it is better than the closed form on held-out pairs, and not elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from joint_world import pairs, picture, tone

import aios_db
from aios_db.engine.fusion.files import load_space, save_space
from aios_db.engine.fusion.fitting import Fitted, fit
from aios_db.engine.fusion.joint_space import JointSpace
from aios_db.engine.fusion.pairs import Pairs, Rows

ENCODERS = {"text": "t@1", "image": "i@1", "audio": "a@1"}
COUNT, FITTED = 500, 400


def secretive(seed: int = 0) -> Pairs:
    """Pictures and sounds that say more of each other than the texts say of either."""
    random = np.random.default_rng(seed)
    told, untold, besides = (random.normal(size=(COUNT, width)) for width in (3, 12, 12))

    def seen(width: int, *parts: np.ndarray) -> Rows:
        whole = np.hstack(parts)
        features = whole @ random.normal(size=(whole.shape[1], width))
        return Rows(features.astype(np.float32), np.arange(COUNT))

    rows = {
        "text": seen(24, told, 0.3 * besides),
        "image": seen(30, told, untold),
        "audio": seen(40, told, untold),
    }
    return Pairs(rows, np.arange(COUNT), np.arange(COUNT))


def of_classes(seed: int = 0) -> Pairs:
    """Things of which the text says everything that the others do."""
    random = np.random.default_rng(seed)
    said = random.normal(size=(96, 6))
    rows = {
        name: Rows((said @ random.normal(size=(6, 12))).astype(np.float32), np.arange(96))
        for name in ("text", "image", "audio")
    }
    return Pairs(rows, np.arange(96), np.arange(96))


@pytest.fixture(scope="module")
def moved() -> Fitted:
    fitted = np.arange(COUNT) < FITTED
    return fit(secretive().of(fitted), ENCODERS, mlp=True)


def reciprocal(space: JointSpace, asks: str, finds: str) -> float:
    """Return the mean reciprocal rank of the hundred things that were not fitted."""
    rows = secretive().rows
    bits = {"text": 1, "image": 2, "audio": 4}[finds]
    vectors = space.embed([{finds: each} for each in rows[finds].features[FITTED:]])
    stored = np.hstack([vectors, space.hubness(vectors, [bits] * len(vectors))])
    asked = np.stack([space.question({asks: each})[bits] for each in rows[asks].features[FITTED:]])
    scores = asked @ stored.T
    return float((1 / (1 + (scores > scores.diagonal()[:, None]).sum(1))).mean())


def test_what_texts_do_not_say_is_learned_and_generalises(moved: Fitted) -> None:
    assert moved.trial is not None and moved.trial.is_used
    closed = replace(
        moved.space,
        projections={name: replace(each, perceptron=None) for name, each in moved.space.projections.items()},
    )
    assert moved.trial.mlp["image -> audio"] > moved.trial.closed_form["image -> audio"] + 0.05
    assert reciprocal(moved.space, "image", "audio") > reciprocal(closed, "image", "audio") + 0.05
    assert reciprocal(moved.space, "text", "image") > 0.9 * reciprocal(closed, "text", "image")


def test_it_is_seeded_and_vectors_have_length_1(moved: Fitted) -> None:
    again = fit(secretive().of(np.arange(COUNT) < FITTED), ENCODERS, mlp=True)
    things = [{"image": each} for each in secretive().rows["image"].features[:5]]
    np.testing.assert_allclose(again.space.embed(things), moved.space.embed(things), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(moved.space.embed(things), axis=1), 1, atol=1e-6)


def test_it_is_kept_in_parquet(moved: Fitted, tmp_path: Path) -> None:
    save_space(moved.space, tmp_path / "joint", "joint", {})
    space, _ = load_space(tmp_path / "joint")
    things = [{"text": each} for each in secretive().rows["text"].features[:5]]
    np.testing.assert_allclose(space.embed(things), moved.space.embed(things), atol=1e-5)
    assert all(each.perceptron is not None for each in space.projections.values())


def test_it_is_not_used_where_the_closed_form_is_no_worse() -> None:
    found = fit(of_classes(), ENCODERS, mlp=True)
    assert found.trial is not None and not found.trial.is_used
    assert all(each.perceptron is None for each in found.space.projections.values())
    closed = fit(of_classes(), ENCODERS)
    assert closed.trial is None
    things = [{"image": each} for each in of_classes().rows["image"].features]
    np.testing.assert_array_equal(found.space.embed(things), closed.space.embed(things))


def test_end_to_end_with_the_mlp(world: Callable[..., aios_db.Connection]) -> None:
    with world() as con:
        memories = [con.remember(image=picture(colour, 50)) for colour in ("red", "blue")]
        report = con.fit_fusion(pairs(), mlp=True)
        assert report.trial is not None
        assert ("is used" if report.trial.is_used else "is not used") in str(report)
        told = con.execute("SELECT report FROM validation_reports WHERE version = ?", [report.version])
        assert json.loads(told.fetchall()[0][0])["mlp"]["is_used"] == report.trial.is_used
    with world() as con:
        found = [con.recall(audio=tone(colour, 60), k=1)[0].memory_id for colour in ("red", "blue")]
        assert found == memories


def test_end_to_end_by_the_command(
    world: Callable[..., aios_db.Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aios_db.cli.app import cli

    with world():
        pass
    rows = [{key: value for key, value in each.items() if key != "audio"} for each in pairs()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("AIOS_ENGINE__IMAGE_MODEL", "joint_world:QUARTERS")
    paths = {"--pairs": "pairs.parquet", "--db": "agent.aios"}
    given = [each for option, name in paths.items() for each in (option, str(tmp_path / name))]
    ran = CliRunner().invoke(cli, ["fusion", "fit", "--mlp", *given], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "the fusion MLP is" in ran.output
