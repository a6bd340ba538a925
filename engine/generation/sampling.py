"""Pick the next token from a language model's logits: the best, or a draw (Holtzman et al., 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aios_db.schema.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Sampler:
    """Temperature, top-k and top-p (nucleus) sampling with a generator of its own."""

    def __init__(
        self, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int | None = None
    ) -> None:
        """Check the arguments; ``seed`` None draws differently each time.

        Raises
        ------
        DataError
            ``temperature`` or ``top_k`` is negative, or ``top_p`` is not in (0, 1].
        """
        import torch

        if not temperature >= 0 or top_k < 0 or not 0 < top_p <= 1:
            raise DataError(
                f"temperature {temperature}, top_k {top_k}, top_p {top_p}: the first two cannot be negative, "
                "the last must lie in (0, 1]"
            )
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def pick(self, logits: Tensor) -> int:
        """Return a token id from (vocabulary,) logits."""
        import torch

        if self._temperature == 0:
            return int(logits.argmax())
        count = self._top_k or len(logits)
        best, tokens = logits.float().topk(min(count, len(logits)))
        probabilities = torch.softmax(best / self._temperature, 0)
        # A token stays when those before it have not reached top_p; the first always does.
        before = probabilities.cumsum(0) - probabilities
        probabilities = probabilities.masked_fill(before >= self._top_p, 0.0)
        drawn = torch.multinomial(probabilities.cpu(), 1, generator=self._generator)
        return int(tokens[int(drawn)])
