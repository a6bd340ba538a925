"""`LanguageModel`: a causal language model directory that continues and scores texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aios_db.engine.open_model import open_model
from aios_db.engine.sampling import Sampler
from aios_db.engine.weights.memory import MemoryReport
from aios_db.schema.config import EngineConfig
from aios_db.schema.errors import DataError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from aios_db.engine.architectures.qwen2 import Qwen2ForCausalLM

_ENGINE = EngineConfig()  # frozen

MAX_WINDOW = 2048
"""Most tokens scored in one forward pass."""
LOGIT_ROWS = 128
"""Positions whose logits are held at a time: with Qwen2's vocabulary a position takes 600 kB."""
# What ends a text in models whose metadata does not say, as their tokenizers name it.
_END_TOKENS = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>")


class LanguageModel:
    """A causal language model of the Qwen2 or Llama family with its tokenizer.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine
        Section of the configuration.

    Attributes
    ----------
    max_tokens : int
        Longest text, prompt and continuation together.
    version : str
        ``name@`` and 12 hex digits of the SHA-256 of the weights' content.

    Raises
    ------
    ModelNotFoundError
        There is no such model; the message says how to install it.
    NotSupportedError
        The model is no causal language model.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(self, model: str | Path, *, engine: EngineConfig = _ENGINE) -> None:
        from tokenizers import Tokenizer

        self._model = open_model(model, engine, ("Qwen2ForCausalLM", "LlamaForCausalLM"))
        path = self._model.directory.tokenizer
        if path is None:
            raise WeightsError(f"{self._model.directory.path} has no tokenizer.json: texts cannot be read")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises plain Exception
            raise WeightsError(f"{path} is no readable tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._network = cast("Qwen2ForCausalLM", self._model.module)
        self._ends = self._end_tokens()
        self.max_tokens = self._network.config.max_position_embeddings
        self.version = self._model.version

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> str:
        """Return the continuation of ``prompt``, without it.

        It ends before a token that ends texts, after ``max_new_tokens``, or where the model's positions end.

        Parameters
        ----------
        temperature
            0 takes the most probable token each time; otherwise the logits are divided by it and a token is
            drawn.
        top_k, top_p
            Draw from the most probable ``top_k`` tokens only (0: all), and from the fewest whose
            probabilities sum to ``top_p``.
        seed
            Makes a draw repeatable.

        Raises
        ------
        DataError
            The prompt is empty for a model that needs a first token, or leaves no room, or an argument is out
            of range.
        """
        sampler = Sampler(temperature, top_k, top_p, seed)
        prompt_ids = self._ids(prompt)
        ids = [*prompt_ids, *self._continue(prompt_ids, max_new_tokens, sampler)]
        # Decoded with the prompt: alone, the first token would lose the blank before it.
        before = self._tokenizer.decode(prompt_ids, skip_special_tokens=True)
        whole: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return whole[len(before) :]

    def perplexity(self, texts: Sequence[str], *, window: int | None = None) -> float:
        """Return exp of the mean negative log-likelihood of a token, over all tokens of all ``texts``.

        A text longer than ``window`` is scored in windows that overlap by half: a token is scored once, in
        the first window that holds it. The first token of a text has nothing before it and is not scored;
        where the tokenizer begins texts with a token of its own, that is the one.

        Parameters
        ----------
        window
            Tokens in a forward pass; by default 2048 or what the model takes.

        Raises
        ------
        DataError
            No text has a token to score, or the window is under 2.
        """
        size = min(self.max_tokens, window or MAX_WINDOW)
        if size < 2:
            raise DataError(f"a window of {size} tokens scores nothing: it must be 2 or more")
        total, count = 0.0, 0
        for text in texts:
            for tokens, first in _windows(self._encode(text), size):
                total += self._negative_log_likelihood(tokens, first)
                count += len(tokens) - first
        if not count:
            raise DataError("perplexity of no tokens: every text is empty or a single token")
        return math.exp(total / count)

    def memory_report(self) -> MemoryReport:
        """Return where the weights are: mapped, resident or copied, by tensor and in total."""
        return self._model.weights.memory_report()

    def close(self) -> None:
        """Release the weights and close the file."""
        self._model.close()

    def _continue(self, prompt: list[int], max_new_tokens: int, sampler: Sampler) -> Iterator[int]:
        import torch

        from aios_db.engine.architectures.qwen2 import KeyValueCache

        count = min(max_new_tokens, self.max_tokens - len(prompt))
        cache = KeyValueCache(len(prompt) + count)
        new = prompt
        for _ in range(count):
            with torch.inference_mode():
                logits = self._network.next_logits(torch.tensor([new]), cache)[0]
            token = sampler.pick(logits)
            if token in self._ends:
                return
            yield token
            new = [token]

    def _negative_log_likelihood(self, tokens: list[int], first: int) -> float:
        """Return the summed negative log-likelihood of ``tokens[first:]``, each given those before it."""
        import torch
        from torch.nn import functional as F

        ids = torch.tensor([tokens])
        total = 0.0
        with torch.inference_mode():
            hidden = self._network.model(ids[:, :-1])[0]
            for start in range(first - 1, len(hidden), LOGIT_ROWS):
                rows = slice(start, start + LOGIT_ROWS)
                logits: Tensor = self._network.lm_head(hidden[rows])
                total += float(F.cross_entropy(logits.float(), ids[0, 1:][rows], reduction="sum"))
        return total

    def _encode(self, text: str) -> list[int]:
        clean = text.encode("utf-8", "replace").decode()  # lone surrogates
        ids: list[int] = self._tokenizer.encode(clean).ids
        if ids and max(ids) >= self._network.config.vocab_size:
            path = self._model.directory.path
            raise WeightsError(f"{path}: the tokenizer knows tokens that the model does not")
        return ids

    def _ids(self, prompt: str) -> list[int]:
        ids = self._encode(prompt)
        if not ids:
            raise DataError("the prompt is empty, and this model's texts have no first token of their own")
        if len(ids) >= self.max_tokens:
            raise DataError(f"the prompt has {len(ids)} tokens; the model takes {self.max_tokens} in all")
        return ids

    def _end_tokens(self) -> frozenset[int]:
        stored = self._model.config.get("eos_token_ids")
        known = stored if stored else map(self._tokenizer.token_to_id, _END_TOKENS)
        return frozenset(token for token in known if token is not None)


def _windows(tokens: list[int], size: int) -> Iterator[tuple[list[int], int]]:
    """Yield windows of at most ``size`` tokens, and the position in each from which tokens are new."""
    if len(tokens) < 2:
        return
    yield tokens[:size], 1
    scored = min(size, len(tokens))
    while scored < len(tokens):
        end = min(scored + size - size // 2, len(tokens))
        start = max(0, end - size)
        yield tokens[start:end], scored - start
        scored = end
