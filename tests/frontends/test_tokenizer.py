from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.frontends.tokenizer import TextTokenizer, window_starts
from aios_db.schema.config import CpuConfig
from aios_db.schema.errors import WeightsError

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def tokenizer(minilm_dir: Path) -> TextTokenizer:
    return TextTokenizer(minilm_dir / "tokenizer" / "tokenizer.json")


@pytest.fixture(scope="module")
def engine(minilm_dir: Path) -> ArrowEngine:
    return ArrowEngine(minilm_dir, cpu=CpuConfig(backend="standard", precision="fp32"))


@given(st.integers(0, 2000), st.integers(4, 300), st.integers(0, 40))
def test_windows_leave_no_token_out(length: int, room: int, overlap: int) -> None:
    overlap = min(overlap, room // 4)
    starts = window_starts(length, room, overlap)
    covered = np.zeros(length, dtype=bool)
    for start in starts:
        covered[start : start + room] = True
    assert covered.all()
    assert starts == sorted(set(starts))
    assert all(after - before <= room - overlap for before, after in pairwise(starts))
    assert len(starts) == 1 or starts[-1] + room == length


def test_a_text_within_the_limit_is_one_window(tokenizer: TextTokenizer) -> None:
    (windows,) = tokenizer.windows(["a cat"], 256, 32)
    assert windows == [[CLS, 1037, 4937, SEP]]
    assert tokenizer.windows([""], 256, 32) == [[[CLS, SEP]]]


def test_every_window_is_framed_and_full(tokenizer: TextTokenizer) -> None:
    (windows,) = tokenizer.windows(["cat " * 1000], 256, 32)
    assert len(windows) == 5
    assert {len(window) for window in windows} == {256}
    assert all((window[0], window[-1]) == (CLS, SEP) for window in windows)


def test_the_end_of_a_long_text_counts(engine: ArrowEngine) -> None:
    filler = "The committee met and talked about the budget for a long time. " * 30
    subject = "A volcano erupted on the island and lava reached the harbour."
    plain, with_end, query = engine.encode([filler, filler + subject * 20, subject])
    assert with_end @ query > plain @ query + 0.1


def test_a_long_text_is_the_mean_of_its_windows(engine: ArrowEngine, tokenizer: TextTokenizer) -> None:
    text = " ".join(f"Sentence number {i} of a long report about rivers." for i in range(60))
    (windows,) = tokenizer.windows([text], engine.max_tokens, 32)
    assert len(windows) > 2
    pieces = engine.encode([text, "Sentence number 1 of a long report about rivers."])
    assert np.linalg.norm(pieces[0]) == pytest.approx(1, abs=1e-6)
    assert pieces[0] @ pieces[1] > 0.6


def test_a_megabyte_of_text(engine: ArrowEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    def run(batches: list) -> list:
        shapes.extend(len(ids) for ids, _ in batches)
        return [np.ones((len(ids), engine.dimension), np.float32) for ids, _ in batches]

    monkeypatch.setattr(engine, "_run", run)
    (vector,) = engine.encode(["word " * 200_000])
    assert sum(shapes) > 850
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": 3}')
    with pytest.raises(WeightsError, match=r"tokenizer\.json is no readable tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json")
