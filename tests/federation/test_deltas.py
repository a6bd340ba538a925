"""Differences between versions: exact ones, sparse ones with error feedback, and bytes that are neither."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from federation_helpers import card, changed
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aios_db.federation import lossless, sparse
from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.delta import Delta, apply_delta, exact_delta, moved, sparse_delta, vector
from aios_db.federation.feedback import Feedback
from aios_db.federation.rice import best_width, decode_positions, encode_positions
from aios_db.federation.sparse import BITS, Sparsity
from aios_db.schema.errors import DataError, NotSupportedError, ProgrammingError

DTYPES = st.sampled_from(["float16", "float32", "float64"])


@given(st.data(), DTYPES)
def test_an_exact_difference_gives_every_bit_back(data: st.DataObject, dtype: str) -> None:
    """NaN, infinities, both zeros and the smallest numbers included."""
    size = data.draw(st.integers(1, 40))
    bits = {"float16": np.uint16, "float32": np.uint32, "float64": np.uint64}[dtype]
    old, new = (data.draw(hnp.arrays(bits, size)).view(dtype) for _ in range(2))
    back = lossless.changed(old, lossless.difference(old, new))
    assert back.dtype == new.dtype and back.tobytes() == new.tobytes()


@given(DTYPES, st.integers(0, 1000), st.sampled_from([0.0, 1e-6, 1e-2, 10.0]))
def test_an_exact_delta_leads_to_the_very_version(dtype: str, seed: int, size: float) -> None:
    base = card(dtype=dtype)
    new = changed(base, seed, size)
    delta = exact_delta(base, new)
    assert apply_delta(delta, base).sha256 == new.sha256 == delta.result
    assert delta.base == base.sha256


def test_cards_of_mixed_types_have_exact_deltas() -> None:
    first, second = card(dtype="float16", modules=1).modules, card(modules=2).modules
    base = LoraCard("mixed", 4, 8.0, {**second, **first})
    new = changed(base)
    assert apply_delta(exact_delta(base, new), base).sha256 == new.sha256


def test_a_small_move_is_cheaper_than_the_card() -> None:
    base = card(modules=30)
    assert len(exact_delta(base, changed(base, size=1e-4)).body) < 0.7 * base.nbytes
    one = vector(base) * 0
    one[5] = 1.0
    assert len(exact_delta(base, moved(base, one)).body) < 0.02 * base.nbytes


@given(
    st.integers(1, 9000), st.floats(0.001, 1.0), st.sampled_from(BITS), st.integers(0, 99),
    st.sampled_from([1e-38, 1e-6, 1.0, 1e30]),
)  # fmt: skip
def test_the_sender_knows_what_the_receiver_gets(
    size: int, density: float, bits: int, seed: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    change = (random.standard_t(2, size) * scale).astype(np.float32)
    change[random.random(size) < 0.3] = 0
    body, sent = sparse.encode(change, Sparsity(density, bits))
    assert np.array_equal(sparse.decode(body, size), sent) and np.isfinite(sent).all()
    kept = np.count_nonzero(sent)
    assert kept <= np.count_nonzero(change)
    assert kept <= sum(max(1, round(density * min(4096, size - at))) for at in range(0, size, 4096))
    assert (np.sign(sent) * np.sign(change) >= 0).all()


def test_what_is_kept_is_the_largest_and_near_it() -> None:
    change = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    errors = {}
    for bits in BITS:
        _, sent = sparse.encode(change, Sparsity(0.05, bits))
        kept = sent != 0
        assert np.abs(change[kept]).min() > 1.8  # of a normal distribution 5 % are beyond 1.96
        errors[bits] = np.linalg.norm(change[kept] - sent[kept]) / np.linalg.norm(change[kept])
    assert errors[8] < 0.003 < errors[4] < 0.05 < errors[2] < 0.1 < errors[1] < 0.2


def test_a_sparse_delta_is_a_small_part_of_the_card() -> None:
    base = card(modules=200)
    change = np.random.default_rng(0).normal(0, 1e-3, base.parameters).astype(np.float32)
    delta, result, sent = sparse_delta(base, change, Sparsity(0.03, 2))
    assert apply_delta(delta, base).sha256 == result.sha256 == delta.result
    assert len(delta.body) * 100 < base.nbytes
    assert np.allclose(vector(result) - vector(base), sent, atol=1e-6)


@given(hnp.arrays(np.bool_, st.integers(1, 3000)), st.integers(0, 12))
def test_positions_survive_their_code(chosen: np.ndarray, width: int) -> None:
    positions = np.flatnonzero(chosen)
    bits = encode_positions(positions, width)
    found, used = decode_positions(np.append(bits, 1), len(positions), width, len(chosen))
    assert np.array_equal(found, positions) and used == len(bits)


def test_positions_take_little_more_than_their_entropy() -> None:
    size, share = 1_000_000, 0.03
    chosen = np.flatnonzero(np.random.default_rng(0).random(size) < share)
    entropy = -size * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert len(encode_positions(chosen, best_width(len(chosen), size))) < 1.04 * entropy


@given(st.binary(max_size=300), st.integers(1, 5000))
def test_random_bytes_are_refused_or_a_change(content: bytes, size: int) -> None:
    try:
        change = sparse.decode(content, size)
    except DataError:
        return
    assert change.shape == (size,) and np.isfinite(change).all()


@given(st.data(), st.sampled_from(["lossless", "sparse"]))
def test_a_damaged_delta_is_refused(data: st.DataObject, kind: str) -> None:
    base = card()
    change = np.random.default_rng(0).normal(size=base.parameters).astype(np.float32)
    good = (
        exact_delta(base, changed(base)) if kind == "lossless" else sparse_delta(base, change, Sparsity())[0]
    )
    body = bytearray(good.body)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    for damaged in (
        bytes(body),
        bytes(body[:place]),
        bytes(body) + b"\0",
        data.draw(st.binary(max_size=200)),
    ):
        try:
            result = apply_delta(Delta(kind, good.base, good.result, damaged), base)
        except DataError:
            continue
        assert result.sha256 == good.result  # a bit that nobody reads


@pytest.mark.parametrize("kind", ["lossless", "sparse"])
def test_sizes_that_a_delta_claims_are_not_allocated(kind: str) -> None:
    base = card()
    bomb = b"\1" + (0xFFFFFFFF).to_bytes(4, "little") + b"\x28\xb5\x2f\xfd" + bytes(50)
    header = b"\0" + b"\xff\xff\xff\xff" * 2 + b"\x1e\x08" + bytes(100)
    tracemalloc.start()
    for body in (bomb, header):
        with pytest.raises(DataError):
            apply_delta(Delta(kind, base.sha256, "0" * 64, body), base)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_deltas_of_other_versions_are_refused() -> None:
    base = card()
    delta = exact_delta(base, changed(base))
    with pytest.raises(DataError, match="not of skill@"):
        apply_delta(delta, changed(base, 7))
    with pytest.raises(DataError, match="leads to"):
        apply_delta(Delta(delta.kind, delta.base, "f" * 64, delta.body), base)
    with pytest.raises(NotSupportedError, match="rank"):
        exact_delta(base, card(rank=2))
    huge = np.full(base.parameters, 3e38, np.float32)
    with pytest.raises(DataError, match="NaN or infinity"):
        moved(moved(base, huge), huge)


@pytest.mark.parametrize(
    "sparsity", [Sparsity(0.01, 1), Sparsity(0.03, 2), Sparsity(0.1, 4), Sparsity(0.1, 8)]
)
def test_what_is_owed_stays_bounded_and_is_sent_in_the_end(sparsity: Sparsity) -> None:
    base = card(modules=40)
    random, feedback, sizes = np.random.default_rng(0), Feedback(decay=1.0), []
    wanted = vector(base)
    receiver = base
    for _ in range(60):
        change = random.normal(0, 1e-3, base.parameters).astype(np.float32)
        wanted += change
        _, receiver, feedback.residual = feedback.send(receiver, change, sparsity)
        sizes.append(float(np.linalg.norm(feedback.residual)) / float(np.linalg.norm(change)))
    # top-k with feedback: the debt is at most (1 - density) / density changes (Stich et al. 2018, lemma 3)
    assert max(sizes) < 2 * (1 - sparsity.density) / sparsity.density
    for _ in range(round(6 / sparsity.density)):
        _, receiver, feedback.residual = feedback.send(receiver, wanted * 0, sparsity)
    assert np.linalg.norm(vector(receiver) - wanted) < 0.02 * np.sqrt(60) * 1e-3 * np.sqrt(base.parameters)


def test_a_decayed_debt_is_smaller() -> None:
    base = card(modules=40)
    change = np.random.default_rng(0).normal(0, 1e-3, base.parameters).astype(np.float32)
    debts = []
    for decay in (1.0, 0.5):
        feedback = Feedback(decay)
        for _ in range(20):
            feedback.residual = feedback.send(base, change, Sparsity(0.01, 2))[2]
        debts.append(float(np.linalg.norm(feedback.residual)))
    assert debts[1] < 0.3 * debts[0]


def test_settings_that_make_no_sense_are_refused() -> None:
    for density, bits in ((0.0, 2), (1.5, 2), (float("nan"), 2), (0.1, 3)):
        with pytest.raises(ProgrammingError):
            Sparsity(density, bits)


def test_an_empty_change_is_sent() -> None:
    base = LoraCard("z", 1, 1.0, {"m": Factors(np.ones((1, 5), np.float32), np.zeros((3, 1), np.float32))})
    delta, result, sent = sparse_delta(base, np.zeros(8, np.float32), Sparsity())
    assert result.sha256 == base.sha256 == apply_delta(delta, base).sha256 and not sent.any()
