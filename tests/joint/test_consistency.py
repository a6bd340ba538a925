"""What must not change a vector of the joint space, and what a fit must bring together."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_world import RATE, WORDS, pairs, picture, register, tone
from numpy.typing import NDArray

import aios_db

TOLERANCE = 1e-4
PARTS = ("text", "image", "audio")


@pytest.fixture(scope="module")
def fitted(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[aios_db.Connection]:
    place = tmp_path_factory.mktemp("consistent")
    (place / "models").mkdir()
    (place / "models" / "minilm").symlink_to(minilm_dir)
    config = {"engine": {"models_dir": str(place / "models")}, "device": {"target": "cpu"}}
    with aios_db.connect(place / "a.aios", config=config) as con:
        register(con)
        con.fit_fusion(pairs())
        yield con


def compound(colour: str, seed: int, parts: tuple[str, ...]) -> dict[str, Any]:
    made = {"text": f"a {colour} thing", "image": picture(colour, seed), "audio": tone(colour, seed)}
    return {name: made[name] if name in parts else None for name in PARTS}


def embedded(con: aios_db.Connection, things: list[dict[str, Any]]) -> NDArray[np.float32]:
    """Return (n, dimension), by one query for all."""
    columns = [[thing[name] for thing in things] for name in PARTS]
    found = con.execute(
        "SELECT embed_joint(t, image := i, audio := a) FROM "
        "(SELECT unnest(?::VARCHAR[]) AS t, unnest(?::BLOB[]) AS i, unnest(?::BLOB[]) AS a)",
        columns,
    ).fetchall()
    return np.array([row[0] for row in found], np.float32)


compounds = st.lists(
    st.builds(
        compound,
        st.sampled_from(WORDS),
        st.integers(100, 109),
        st.sets(st.sampled_from(PARTS), min_size=1).map(lambda names: tuple(sorted(names))),
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=15)
@given(compounds, st.randoms(use_true_random=False))
def test_neither_order_nor_company_changes_a_vector(
    fitted: aios_db.Connection, things: list[dict[str, Any]], random: Any
) -> None:
    whole = embedded(fitted, things)
    order = random.sample(range(len(things)), len(things))
    np.testing.assert_allclose(embedded(fitted, [things[at] for at in order]), whole[order], atol=TOLERANCE)
    alone = np.concatenate([embedded(fitted, [thing]) for thing in things])
    np.testing.assert_allclose(alone, whole, atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=TOLERANCE)


@settings(max_examples=15)
@given(st.sampled_from(WORDS), st.integers(100, 109), st.floats(0.01, 3))
def test_silence_at_the_end_changes_nothing(
    fitted: aios_db.Connection, colour: str, seed: int, seconds: float
) -> None:
    sound = tone(colour, seed)
    samples, _ = soundfile.read(BytesIO(sound), dtype="float32")
    longer = BytesIO()
    silence = np.zeros(round(seconds * RATE), np.float32)
    soundfile.write(longer, np.concatenate([samples, silence]), RATE, format="WAV", subtype="FLOAT")
    both = [{"text": None, "image": None, "audio": each} for each in (sound, longer.getvalue())]
    first, second = embedded(fitted, both)
    np.testing.assert_allclose(first, second, atol=TOLERANCE)


@settings(max_examples=15)
@given(st.sampled_from(WORDS), st.integers(100, 109), st.sampled_from(PARTS))
def test_an_absent_modality_is_not_there(
    fitted: aios_db.Connection, colour: str, seed: int, absent: str
) -> None:
    others = tuple(name for name in PARTS if name != absent)
    found = embedded(fitted, [compound(colour, seed, others)])[0]
    given = {name: value for name, value in compound(colour, seed, others).items() if value is not None}
    text = "?" if "text" in given else "NULL"
    named = "".join(f", {name} := ?" for name in ("image", "audio") if name in given)
    alone = fitted.execute(f"SELECT embed_joint({text}{named})", list(given.values())).fetchone()[0]
    np.testing.assert_allclose(found, alone, atol=TOLERANCE)


def test_modalities_of_one_thing_are_nearer_than_those_of_others(fitted: aios_db.Connection) -> None:
    vectors = {name: embedded(fitted, [compound(colour, 200, (name,)) for colour in WORDS]) for name in PARTS}
    for first in PARTS:
        for second in PARTS:
            if first != second:
                similar = vectors[first] @ vectors[second].T
                own = np.diag(similar).copy()
                np.fill_diagonal(similar, -np.inf)
                assert (own > similar.max(1)).mean() >= 7 / 8, (first, second)
                assert own.mean() > similar[np.isfinite(similar)].mean() + 0.3
