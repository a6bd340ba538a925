"""Cards on a real text model: beside it, merged into it, trained for it, and seen in SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from federation_helpers import card, changed

import aios_db
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.federation.applying import adapter, merge, merge_validated
from aios_db.federation.card import LoraCard
from aios_db.federation.client import FederationClient
from aios_db.federation.hub import Hub
from aios_db.federation.library import CardLibrary
from aios_db.federation.server import FederationServer
from aios_db.federation.training import Pair, Training, new_card, train_card
from aios_db.models.activation import activate
from aios_db.schema.config import Config, CpuConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import (
    DataError,
    NotSupportedError,
    OperationalError,
    ValidationError,
    WeightsError,
)

TEXTS = ["Ada hid the key under the blue pot.", "It rained in Lisbon.", "The engine needs oil."]
PLAIN = CpuConfig(backend="standard", precision="fp32")
PAIRS = [
    Pair("where is the key?", "Ada hid the key under the blue pot."),
    Pair("what was the weather like?", "It rained in Lisbon."),
    Pair("what does the machine lack?", "The engine needs oil."),
    Pair("who likes cheese?", "Bo eats brie every day."),
]


@pytest.fixture(scope="module")
def trained(minilm_dir: Path) -> LoraCard:
    made = train_card(new_card("skill", minilm_dir, rank=4), minilm_dir, PAIRS, Training(steps=8))
    assert made.losses[-1] < made.losses[0] and made.samples == 4
    return made.card


def test_beside_and_merged_are_the_same_model(trained: LoraCard, minilm_dir: Path, tmp_path: Path) -> None:
    merged = ArrowEngine(merge(trained, minilm_dir, tmp_path / "minilm-skill"), cpu=PLAIN)
    beside = ArrowEngine(minilm_dir, cpu=PLAIN, adapter=adapter(trained, minilm_dir))
    plain = ArrowEngine(minilm_dir, cpu=PLAIN)
    vectors = [engine.encode(TEXTS) for engine in (plain, merged, beside)]
    assert np.allclose(vectors[1], vectors[2], atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert beside.version == f"{plain.version}+{trained.version}" != merged.version
    again = new_card("skill", minilm_dir, rank=4)
    untrained = ArrowEngine(minilm_dir, cpu=PLAIN, adapter=adapter(again, minilm_dir)).encode(TEXTS)
    assert np.allclose(untrained, vectors[0], atol=1e-5)  # B begins with zeros


def test_a_card_runs_beside_integers(
    trained: LoraCard, minilm_dir: Path, tmp_path: Path, rounded: Callable[..., Path]
) -> None:
    int8 = rounded(minilm_dir, tmp_path / "int8", "int8")
    (plain, with_card), beside = (
        [ArrowEngine(Candidate(int8), adapter=each).encode(TEXTS) for each in (None, adapter(trained, int8))],
        ArrowEngine(minilm_dir, cpu=PLAIN, adapter=adapter(trained, minilm_dir)).encode(TEXTS),
    )
    moved, wanted = with_card - plain, beside - ArrowEngine(minilm_dir, cpu=PLAIN).encode(TEXTS)
    cosine = (moved * wanted).sum() / np.linalg.norm(moved) / np.linalg.norm(wanted)
    assert cosine > 0.9
    with pytest.raises(NotSupportedError, match="quantized"):
        merge(trained, int8, tmp_path / "merged")
    with pytest.raises(NotSupportedError, match="quantized"):
        train_card(trained, int8, PAIRS)


def test_cards_of_other_models_are_refused(minilm_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no layer 'encoder\.layer\.0\.query'"):
        adapter(card(), minilm_dir)
    wide = new_card("w", minilm_dir, target_modules=("query",))
    modules = {name.replace("query", "intermediate.dense"): each for name, each in wide.modules.items()}
    strange = LoraCard(
        "w", 8, 8.0, {name.replace("attention.self.", ""): each for name, each in modules.items()}
    )
    with pytest.raises(WeightsError, match="of another model"):
        merge(strange, minilm_dir, tmp_path / "x")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OperationalError, match="exists"):
        merge(wide, minilm_dir, tmp_path)


def test_larger_names_of_modules_are_found(trained: LoraCard, minilm_dir: Path) -> None:
    larger = LoraCard("x", 4, 8.0, {f"bert.{name}": each for name, each in trained.modules.items()})
    assert adapter(larger, minilm_dir).layers.keys() == adapter(trained, minilm_dir).layers.keys()


def test_the_same_arguments_make_the_same_card_everywhere(minilm_dir: Path) -> None:
    made = new_card("skill", minilm_dir, seed=3)
    assert (
        made.sha256
        == new_card("skill", minilm_dir, seed=3).sha256
        != new_card("s", minilm_dir, seed=4).sha256
    )
    assert made.rank == 8 and made.alpha == 16 and len(made.modules) == 36 and made.parameters == 331_776


def test_pairs_that_cannot_be_trained_on_are_refused(minilm_dir: Path) -> None:
    start = new_card("skill", minilm_dir)
    for pairs in (
        PAIRS[:1],
        [*PAIRS, Pair("a", "b", 1.0)],
        [Pair("a", "b", float("nan"))] * 2,
        [("a", 3)] * 2,
    ):
        with pytest.raises(DataError):
            train_card(start, minilm_dir, pairs)  # type: ignore[arg-type]


def test_scores_are_learned_and_a_stays_when_it_is_frozen(minilm_dir: Path) -> None:
    scored = [Pair(each.first, each.second, 1.0) for each in PAIRS]
    scored += [Pair(PAIRS[n].first, PAIRS[n - 1].second, 0.0) for n in range(4)]
    start = new_card("skill", minilm_dir, rank=4)
    made = train_card(start, minilm_dir, scored, Training(steps=6, freeze_a=True, learning_rate=2e-3))
    assert made.losses[-1] < made.losses[0]
    for name, factors in made.card.modules.items():
        assert np.array_equal(factors.a, start.modules[name].a)
        assert factors.b.any()


@pytest.mark.sql
@pytest.mark.slow
def test_an_agent_learns_another_uses_it(trained: LoraCard, minilm_dir: Path, tmp_path: Path) -> None:
    """From end to end: trained, pushed, pulled, merged, gated, activated, and asked in SQL."""
    config = Config(
        engine=EngineConfig(text_model=str(minilm_dir), models_dir=str(minilm_dir.parent)),
        validation=ValidationConfig(max_texts=64, min_cosine=0.5),
    )
    with (
        aios_db.connect(tmp_path / "ada", config=config) as ada,
        aios_db.connect(tmp_path / "bo", config=config) as bo,
    ):
        here, there = CardLibrary(ada.store), CardLibrary(bo.store)
        here.add(new_card("skill", minilm_dir, rank=4), origin="new", base_model="minilm")
        here.add(trained, origin="trained", parent=here.get("skill").sha256, samples=4)
        server = FederationServer(Hub(here))
        try:
            with FederationClient(server.location, there) as client:
                client.pull("skill")
        finally:
            server.shutdown()
        query = "SELECT name, number, origin, rank, samples FROM lora_cards ORDER BY number"
        assert ada.execute(query).fetchall() == [("skill", 1, "new", 4, 0), ("skill", 2, "trained", 4, 4)]
        assert bo.execute(query).fetchall() == [("skill", 1, "pulled", 4, 0)]
        assert bo.execute("SELECT kind, error FROM sync_log").fetchall() == [("full", None)]
        assert bo.execute("SELECT card, side, syncs, errors FROM sync_metrics()").fetchall() == [
            ("skill", "client", 1, 0)
        ]
        modules = bo.execute(
            "SELECT count(*), min(rank), min(inputs), max(norm_b) > 0 FROM card_modules('skill')"
        )
        assert modules.fetchall() == [(36, 4, 384, True)]
        with pytest.raises(aios_db.ProgrammingError, match="no card 'other'"):
            bo.execute("FROM card_modules('other')").fetchall()
        bo.remember(TEXTS)
        pulled = there.get("skill")
        assert pulled.sha256 == trained.sha256
        report = merge_validated(pulled, minilm_dir, tmp_path / "minilm-skill", config=config.validation)
        assert report.passed
        version = activate(bo.store, tmp_path / "minilm-skill")
        assert version.is_active and version.version.startswith("minilm-skill@")
        assert bo.recall("where is the key?", k=1)[0].text == TEXTS[0]


def test_a_card_that_moves_the_model_too_far_is_not_used(minilm_dir: Path, tmp_path: Path) -> None:
    wild = changed(new_card("wild", minilm_dir), size=0.5)
    report = merge_validated(wild, minilm_dir, tmp_path / "wild", config=ValidationConfig(max_texts=64))
    assert not report.passed
    with pytest.raises(ValidationError, match="was refused"):
        ArrowEngine(tmp_path / "wild")
