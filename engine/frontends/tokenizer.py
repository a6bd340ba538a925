"""Text to token ids: the model's own tokenizer, and windows over texts longer than the model takes."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aios_db.schema.errors import DataError, WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("aios_db.engine.tokenizer")


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json`` file, which neither truncates nor pads.

    Raises
    ------
    WeightsError
        The file is no tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises plain Exception
        raise WeightsError(f"{path} is no readable tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class TextTokenizer:
    """A ``tokenizer.json`` file, without truncation and padding; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Load ``path``.

        Raises
        ------
        WeightsError
            The file is no tokenizer.
        """
        self._tokenizer = read_tokenizer(path)
        framed = self._tokenizer.encode("", add_special_tokens=True).ids
        # What the model expects around a text: [CLS] … [SEP] for BERT.
        self._before, self._after = framed[:1], framed[1:]

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after each text."""
        return list(self._before), list(self._after)

    @property
    def vocabulary(self) -> list[int]:
        """The ids of all tokens but special ones, in order: added ones, and the like of [CLS] and <s>."""
        special = set(self._tokenizer.get_added_tokens_decoder())
        tokens = self._tokenizer.get_vocab(with_added_tokens=False)
        return sorted(
            number
            for token, number in tokens.items()
            if number not in special and not re.fullmatch(r"\[.+\]|<.+>", token)
        )

    def windows(self, texts: Sequence[str], max_tokens: int, overlap: int) -> list[list[list[int]]]:
        """Return each text's windows of token ids, special tokens included.

        A text of at most ``max_tokens`` is one window; a longer one is cut into windows of ``max_tokens``
        of which neighbours share ``overlap`` tokens, so that no token is left out. The last is as full as
        the others.

        Raises
        ------
        DataError
            A text is not a string.
        """
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"text {position} is of type {type(text).__name__}, not str")
        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # lone surrogates
        encoded = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        room = max_tokens - len(self._before) - len(self._after)
        return [
            [
                [*self._before, *ids[start : start + room], *self._after]
                for start in window_starts(len(ids), room, overlap)
            ]
            for ids in (encoding.ids for encoding in encoded)
        ]


def window_starts(length: int, room: int, overlap: int) -> list[int]:
    """Return where windows of ``room`` tokens begin that cover ``length`` tokens."""
    if length <= room:
        return [0]
    step = room - overlap
    return [*range(0, length - room, step), length - room]
