"""llama2.c checkpoints: the weights against its own arithmetic, the tokenizer against its own algorithm."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.convert.llama2c import convert_llama2c
from aios_db.engine.generation.language_model import LanguageModel
from aios_db.engine.weights.lazy import LazyModel
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.errors import ModelNotFoundError, WeightsError

HIDDEN, INNER, LAYERS, HEADS, KEYS, POSITIONS = 16, 24, 2, 4, 2, 32
LETTERS = " abcdefghijklmnopqrstuvwxyz"
MERGES = ["th", " t", "he", " the", "ca", "at", "cat", "mé", "in"]
PIECES = [
    *((b"<unk>", 0.0), (b"\n<s>\n", 0.0), (b"\n</s>\n", 0.0)),
    *((f"<0x{byte:02X}>".encode(), 0.0) for byte in range(256)),
    *((piece.encode(), -float(rank)) for rank, piece in enumerate(MERGES)),
    *((letter.encode(), -float(len(MERGES) + rank)) for rank, letter in enumerate(LETTERS + "é")),
]


def write_checkpoint(path: Path, *, tied: bool = True) -> list[np.ndarray]:
    """Write random weights; return them in file order."""
    rng = np.random.default_rng(0)
    head, vocabulary = HIDDEN // HEADS, len(PIECES)
    shapes = [
        (vocabulary, HIDDEN), (LAYERS, HIDDEN), (LAYERS, HIDDEN, HIDDEN), (LAYERS, KEYS * head, HIDDEN),
        (LAYERS, KEYS * head, HIDDEN), (LAYERS, HIDDEN, HIDDEN), (LAYERS, HIDDEN), (LAYERS, INNER, HIDDEN),
        (LAYERS, HIDDEN, INNER), (LAYERS, INNER, HIDDEN), (HIDDEN,), (2, POSITIONS, head // 2),
    ]  # fmt: skip
    if not tied:
        shapes.append((vocabulary, HIDDEN))
    arrays = [rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes]
    header = struct.pack(
        "<7i", HIDDEN, INNER, LAYERS, HEADS, KEYS, vocabulary if tied else -vocabulary, POSITIONS
    )
    path.write_bytes(header + b"".join(array.tobytes() for array in arrays))
    return arrays


def write_tokenizer(path: Path) -> Path:
    body = b"".join(struct.pack("<fi", score, len(piece)) + piece for piece, score in PIECES)
    path.write_bytes(struct.pack("<i", max(len(piece) for piece, _ in PIECES)) + body)
    return path


def llama2c_forward(arrays: list[np.ndarray], tokens: list[int], *, tied: bool) -> np.ndarray:
    """Follow run.c: a token at a time, interleaved rotary pairs; return the logits after the last."""
    embed, norm1, wq, wk, wv, wo, norm2, w1, w2, w3, final, *_ = (
        array.astype(np.float64) for array in arrays
    )
    head = HIDDEN // HEADS

    def rms(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean() + 1e-5) * weight

    def rotate(x: np.ndarray, position: int) -> np.ndarray:
        out = x.copy()
        for i in range(0, x.size, 2):
            angle = position / 10000.0 ** ((i % head) / head)
            out[i] = x[i] * np.cos(angle) - x[i + 1] * np.sin(angle)
            out[i + 1] = x[i] * np.sin(angle) + x[i + 1] * np.cos(angle)
        return out

    keys: list[list[np.ndarray]] = [[] for _ in range(LAYERS)]
    values: list[list[np.ndarray]] = [[] for _ in range(LAYERS)]
    for position, token in enumerate(tokens):
        x = embed[token]
        for layer in range(LAYERS):
            normed = rms(x, norm1[layer])
            query = rotate(wq[layer] @ normed, position)
            keys[layer].append(rotate(wk[layer] @ normed, position))
            values[layer].append(wv[layer] @ normed)
            out = np.zeros(HIDDEN)
            for h in range(HEADS):
                mine = slice(h * head, (h + 1) * head)
                shared = slice(h * KEYS // HEADS * head, (h * KEYS // HEADS + 1) * head)
                scores = np.array([query[mine] @ key[shared] for key in keys[layer]]) / np.sqrt(head)
                weights = np.exp(scores - scores.max())
                out[mine] = weights / weights.sum() @ np.array([value[shared] for value in values[layer]])
            x = x + wo[layer] @ out
            normed = rms(x, norm2[layer])
            gate = w1[layer] @ normed
            x = x + w2[layer] @ (gate / (1 + np.exp(-gate)) * (w3[layer] @ normed))
        x = rms(x, final)
    return (embed if tied else arrays[-1]) @ x


def llama2c_encode(text: str, pieces: list[tuple[bytes, float]]) -> list[int]:
    """Follow run.c's encode: characters (or bytes), then the best-scored merge until there is none."""
    ids = {piece: index for index, (piece, _) in enumerate(pieces)}
    tokens = [1, ids[b" "]] if text else [1]
    for character in text:
        encoded = character.encode()
        tokens += [ids[encoded]] if encoded in ids else [byte + 3 for byte in encoded]
    while True:
        best = max(
            (
                (pieces[ids[union]][1], -i, ids[union])
                for i in range(len(tokens) - 1)
                if (union := pieces[tokens[i]][0] + pieces[tokens[i + 1]][0]) in ids
            ),
            default=None,
        )
        if best is None:
            return tokens
        tokens[-best[1] : -best[1] + 2] = [best[2]]


@torch.inference_mode()
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_llama2c(tied: bool, tmp_path: Path) -> None:
    arrays = write_checkpoint(tmp_path / "model.bin", tied=tied)
    path = convert_llama2c(tmp_path / "model.bin", write_tokenizer(tmp_path / "tok.bin"), tmp_path / "model")
    directory = ModelDirectory.open(path)
    model = LazyModel(build_model("LlamaForCausalLM", directory.config), WeightFile(directory.weights)).model
    tokens = [1, 270, 263, 259, 280, 5, 270]
    expected = llama2c_forward(arrays, tokens, tied=tied)
    np.testing.assert_allclose(model(torch.tensor([tokens]))[0, -1].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("text", ["the cat in the hat", "", " cat", "tháť mé\n", "ththe cacat", "日本"])
def test_tokens_equal_llama2c(text: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.bin")
    path = convert_llama2c(tmp_path / "model.bin", write_tokenizer(tmp_path / "tok.bin"), tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer/tokenizer.json"))
    tokens = tokenizer.encode(text).ids
    assert tokens == llama2c_encode(text, PIECES)
    assert tokenizer.decode(tokens) == text


def test_real_stories_tokenizer(evaluation: Callable[[str], Path], tmp_path: Path) -> None:
    source = evaluation("models/stories260K")
    path = convert_llama2c(source / "stories260K.bin", source / "tok512.bin", tmp_path / "stories")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer/tokenizer.json"))
    content, offset, pieces = (source / "tok512.bin").read_bytes(), 4, []
    while offset < len(content):
        score, length = struct.unpack_from("<fi", content, offset)
        pieces.append((content[offset + 8 : offset + 8 + length], score))
        offset += 8 + length
    text = 'Once upon a time, there was a little girl. She said: "Look, 7 naïve birds!"\nThe end.'
    assert tokenizer.encode(text).ids == llama2c_encode(text, pieces)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:10], "it has 10 bytes"),
        (lambda data: data[:-4], "bytes, but its header"),
        (lambda data: struct.pack("<i", -1) + data[4:], "its header says"),
        (lambda data: data[:12] + struct.pack("<i", 3) + data[16:], "its header says"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "model.bin")
    (tmp_path / "bad.bin").write_bytes(damage((tmp_path / "model.bin").read_bytes()))
    with pytest.raises(WeightsError, match=message):
        convert_llama2c(tmp_path / "bad.bin", write_tokenizer(tmp_path / "tok.bin"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_short_tokenizer_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.bin")
    write_tokenizer(tmp_path / "tok.bin").write_bytes((tmp_path / "tok.bin").read_bytes()[:100])
    with pytest.raises(WeightsError, match="ends in piece"):
        convert_llama2c(tmp_path / "model.bin", tmp_path / "tok.bin", tmp_path / "model")


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"model\.bin"):
        convert_llama2c(tmp_path / "model.bin", tmp_path / "tok.bin", tmp_path / "model")
    write_checkpoint(tmp_path / "model.bin")
    with pytest.raises(ModelNotFoundError, match=r"tok\.bin"):
        convert_llama2c(tmp_path / "model.bin", tmp_path / "tok.bin", tmp_path / "model")


def test_the_command_converts_a_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "tiny.bin")
    tokenizer = write_tokenizer(tmp_path / "tok.bin")
    command = [sys.executable, "-m", "aios_db.cli", "models", "convert"]
    environment = {**os.environ, "AIOS_ENGINE__MODELS_DIR": str(tmp_path / "models")}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
        )

    alone = run(tmp_path / "tiny.bin")
    assert alone.returncode == 1
    assert "--tokenizer" in alone.stderr
    of_none = run(tmp_path, "--tokenizer", tokenizer)
    assert of_none.returncode == 1
    assert "is no file" in of_none.stderr
    assert run(tmp_path / "tiny.bin", "--tokenizer", tokenizer).stdout.strip() == str(
        tmp_path / "models/tiny"
    )
    model = LanguageModel(tmp_path / "models" / "tiny")
    assert np.isfinite(model.perplexity(["the cat in the hat"]))
