"""Texts for distillation: batches of like length, half of them whole calibration texts, half pieces of these.

Pieces are cut anywhere, of four tokens and more: calibration texts tend to be longer than what models are
asked, and the shorter a text, the less the errors of its tokens cancel. For encoders, some pieces are made of
two texts and some tokens of a piece give way to any others, so that a few thousand texts are not learned by
heart and rare words and subjects are met: the original answers to whatever it is given.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Sequence
from pathlib import Path

from aios_db.engine.frontends.tokenizer import TextTokenizer
from aios_db.engine.quantization.subject import MAX_TOKENS, Batch, make_batch
from aios_db.schema.errors import DataError

_VARIANTS = 4
_REPLACED = 0.1  # of the tokens of a piece
_JOINED = 0.3  # of the pieces, made of two
_SHORTEST, _LONGEST = 4, 64  # tokens of a piece, without the frame


class TrainingTexts(Sequence[Batch]):
    """Batches of about ``tokens`` tokens, several times as many as hold ``texts``; made when asked for.

    Raises
    ------
    DataError
        There is no text.
    """

    def __init__(
        self, tokenizer: Path, texts: Sequence[str], *, causal: bool, tokens: int, seed: int
    ) -> None:
        self._causal, self._tokens, self._seed = causal, tokens, seed
        text_tokenizer = TextTokenizer(tokenizer)
        windows = [ids for parts in text_tokenizer.windows(texts, MAX_TOKENS, 0) for ids in parts]
        if not windows:
            raise DataError("quantization needs calibration texts: there are none")
        self._before, self._after = text_tokenizer.frame
        end = -len(self._after) or None
        self._bodies = sorted((ids[len(self._before) : end] for ids in windows), key=len)
        self._length = max(2, _VARIANTS * sum(map(len, windows)) // tokens)
        self._vocabulary = text_tokenizer.vocabulary

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Batch:  # type: ignore[override]
        """Return batch ``number``."""
        rng = random.Random(self._seed * 1_000_003 + number)
        bodies = self._whole(rng) if number % 2 else self._pieces(rng)
        return make_batch([[*self._before, *body, *self._after] for body in bodies], causal=self._causal)

    def _whole(self, rng: random.Random) -> list[list[int]]:
        # Neighbours by length of a text drawn by chance.
        middle, near = rng.randrange(len(self._bodies)), max(32, len(self._bodies) // 16)
        around = self._bodies[max(0, middle - near) : middle + near]
        return rng.choices(around, k=self._count(len(self._bodies[middle])))

    def _pieces(self, rng: random.Random) -> list[list[int]]:
        longest = min(_LONGEST, len(self._bodies[-1]))
        length = round(math.exp(rng.uniform(math.log(min(_SHORTEST, longest)), math.log(longest))))
        return [self._piece(length, rng) for _ in range(self._count(length))]

    def _piece(self, length: int, rng: random.Random) -> list[int]:
        if self._causal:
            return self._cut(length, rng)
        border = rng.randint(0, length) if rng.random() < _JOINED else length
        return [
            self._varied(token, rng) for part in (border, length - border) for token in self._cut(part, rng)
        ]

    def _cut(self, length: int, rng: random.Random) -> list[int]:
        first = bisect.bisect_left(self._bodies, length, key=len)
        body = self._bodies[rng.randrange(first, len(self._bodies))]
        start = rng.randint(0, len(body) - length)
        return body[start : start + length]

    def _varied(self, token: int, rng: random.Random) -> int:
        return rng.choice(self._vocabulary) if rng.random() < _REPLACED else token

    def _count(self, length: int) -> int:
        return max(1, self._tokens // (length + len(self._before) + len(self._after)))
