"""Read llama2.c's tokenizer: one int32, then of each piece a float32 score, an int32 length and the bytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from aios_db.schema.errors import ModelNotFoundError, WeightsError

BOS = 1

_SPECIAL = ("<unk>", "<s>", "</s>")
_FIRST_PLAIN = len(_SPECIAL) + 256
"""After the special pieces come the 256 bytes, <0x00> to <0xFF>."""

_BLANKS_AS_LINES = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}
_START = {"SpecialToken": {"id": "<s>", "type_id": 0}}
_BEGINNING_WITH_BOS = {
    "type": "TemplateProcessing",
    "single": [_START, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [_START, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}},
}
_BYTES_AND_BLANKS = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}


def read_tokenizer(path: Path, size: int) -> str:
    """Return the content of a tokenizer.json for the ``size`` pieces in ``path``.

    Raises
    ------
    ModelNotFoundError
        There is no such file.
    WeightsError
        The file is not of the format, or too short.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelNotFoundError(f"no llama2.c tokenizer at {path}") from None
    pieces, offset = [], 4
    for index in range(size):
        try:
            score, length = struct.unpack_from("<fi", content, offset)
            (piece,) = struct.unpack_from(f"{length}s", content, offset + 8)
        except struct.error as error:
            message = f"{path} ends in piece {index} of {size}, or is no llama2.c tokenizer"
            raise WeightsError(message) from error
        pieces.append((piece, score))
        offset += 8 + length
    return _tokenizer_json(pieces)


def _tokenizer_json(pieces: list[tuple[bytes, float]]) -> str:
    """Return the vocabulary as byte-pair encoding with SentencePiece's blanks and byte fall-back."""
    names = [
        _SPECIAL[index] if index < len(_SPECIAL) else piece.decode("utf-8", "replace").replace(" ", "▁")
        for index, (piece, _) in enumerate(pieces)
    ]
    added = [
        {"id": index, "content": name, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for index, name in enumerate(_SPECIAL)
    ]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": _BLANKS_AS_LINES,
            "pre_tokenizer": None,
            "post_processor": _BEGINNING_WITH_BOS,
            "decoder": _BYTES_AND_BLANKS,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "ignore_merges": False,
                "vocab": {name: index for index, name in enumerate(names)},
                "merges": _merges(names, [score for _, score in pieces]),
            },
        },
        ensure_ascii=False,
    )


def _merges(names: list[str], scores: list[float]) -> list[list[str]]:
    """Return the pairs of pieces to join, the first first.

    llama2.c always joins the neighbours whose union has the best score; ordering every possible pair by the
    score of its union makes the same choice out of a list of merges.
    """
    known = set(names)
    ranked = [
        (-scores[index], index, name[:cut], name[cut:])
        for index, name in enumerate(names)
        if index >= _FIRST_PLAIN
        for cut in range(1, len(name))
        if name[:cut] in known and name[cut:] in known
    ]
    return [[left, right] for _, _, left, right in sorted(ranked)]
