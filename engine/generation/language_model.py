"""`LanguageModel`: a causal language model directory that continues and scores texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aios_db.engine.architectures.kinds import LANGUAGE
from aios_db.engine.backends.devices import Device
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.backends.vram import VramReport
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.catalog.open_model import open_model
from aios_db.engine.frontends.tokenizer import read_tokenizer
from aios_db.engine.generation.causal import Reading, Running, continuation, read, windows
from aios_db.engine.generation.causal_session import CausalSession
from aios_db.engine.generation.sampling import Sampler
from aios_db.engine.weights.memory import MemoryReport
from aios_db.schema.config import DEFAULTS, CpuConfig, DeviceConfig, EngineConfig, ValidationConfig
from aios_db.schema.errors import DataError, WeightsError

if TYPE_CHECKING:
    from aios_db.engine.architectures.qwen2 import Qwen2ForCausalLM

MAX_WINDOW = 2048
"""Most tokens scored in one forward pass."""
# What ends a text in models whose metadata does not say, as their tokenizers name it.
_END_TOKENS = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>")


class LanguageModel:
    """A causal language model of the Qwen2 or Llama family with its tokenizer.

    Parameters
    ----------
    model
        A path to a model directory, or the name of one in ``engine.models_dir``.
    engine, cpu, device, validation
        Sections of the configuration. On a CPU it runs on the standard back end, on ``cpu.threads`` threads,
        in fp32, in bf16 where ``cpu.precision`` says so, or from a quantized file's integers.

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
    ValidationError
        The model is quantized and has no validation report that lets it be used.
    WeightsError
        A file of the model cannot be read; the message names the file and the layer.
    """

    def __init__(
        self,
        model: str | Path | Candidate,
        *,
        engine: EngineConfig = DEFAULTS.engine,
        cpu: CpuConfig = DEFAULTS.cpu,
        device: DeviceConfig = DEFAULTS.device,
        validation: ValidationConfig = DEFAULTS.validation,
    ) -> None:
        self._model = open_model(
            model,
            engine,
            LANGUAGE,
            cpu=cpu,
            device=device,
            validation=validation,
        )
        path = self._model.directory.tokenizer
        if path is None:
            raise WeightsError(f"{self._model.directory.path} has no tokenizer.json: texts cannot be read")
        self._tokenizer = read_tokenizer(path)
        sizes = cast("Qwen2ForCausalLM", self._model.module).config
        self.max_tokens, self._vocabulary = sizes.max_position_embeddings, sizes.vocab_size
        self._session = CausalSession(self._model, cpu, device, self._sample)
        self._ends = self._end_tokens()
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
        Sampler(temperature, top_k, top_p, seed)  # refuses before anything runs
        prompt_ids = self._ids(prompt)
        count = min(max_new_tokens, self.max_tokens - len(prompt_ids))

        def continued(running: Running) -> list[int]:
            sampler = Sampler(temperature, top_k, top_p, seed)
            return list(continuation(running, prompt_ids, count, sampler, self._ends))

        ids = [*prompt_ids, *self._session.run(continued)]
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
        losses = [self.read(text, size).losses for text in texts]
        count = sum(map(len, losses))
        if not count:
            raise DataError("perplexity of no tokens: every text is empty or a single token")
        return math.exp(math.fsum(float(each.sum(dtype="float64")) for each in losses) / count)

    def read(self, text: str, window: int) -> Reading:
        """Return what the model makes of ``text``, in windows as `perplexity` does."""
        size = min(self.max_tokens, window)
        return Reading.joined(
            [
                self._session.run(lambda running, part=part: read(running, *part))  # type: ignore[misc]
                for part in windows(self._encode(text), size)
            ]
        )

    @property
    def arithmetic(self) -> str:
        """Device, back end and precision of the answers, like ``cpu standard/fp32`` or ``cuda``."""
        target = self.device.target
        return f"{target} standard/{self._session.precision}" if self._session.is_on_cpu else target

    @property
    def device(self) -> Device:
        """Where calls start; the CPU finishes them when it fails."""
        return self._session.device

    def vram(self) -> VramReport:
        """Return the memory of the device that calls start on and what the model takes; see `Encoder`."""
        return self._session.vram()

    def memory_report(self) -> MemoryReport:
        """Return where the weights are: mapped, resident or copied, by tensor and in total."""
        return self._model.weights.memory_report(self._session.device_bytes())

    def close(self) -> None:
        """Release the weights and close the file."""
        self._session.close()
        self._model.close()

    def _sample(self) -> list[int]:
        """Return a passage of the built-in sentences as tokens."""
        return self._encode(sample_sentences()[1][-1])[: self.max_tokens]

    def _encode(self, text: str) -> list[int]:
        clean = text.encode("utf-8", "replace").decode()  # lone surrogates
        ids: list[int] = self._tokenizer.encode(clean).ids
        if ids and max(ids) >= self._vocabulary:
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
