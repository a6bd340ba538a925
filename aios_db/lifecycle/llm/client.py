"""Asking a provider within budgets, again when it is busy, and with a record of what was sent."""

from __future__ import annotations

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

from aios_db.lifecycle.llm.protocol import Answer, Busy, Provider, Request, Unusable
from aios_db.lifecycle.llm.sent import SentRequests
from aios_db.schema.config import LlmConfig
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.secrets import without_credentials

logger = logging.getLogger("aios_db.lifecycle")

_MINUTE_S = 60.0
_LONGEST_WAIT_S = 60.0
_CHARACTERS = 3  # of a token, at least: to know beforehand what a request may cost


@dataclass
class Usage:
    """What was used so far."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Client:
    """Asks one provider; what fails is an `Unusable`.

    Parameters
    ----------
    provider
        Answers.
    config
        Time-outs, retries and budgets.
    sent
        Where each request is noted.
    sleep
        Waits.
    """

    def __init__(
        self,
        provider: Provider,
        config: LlmConfig,
        sent: SentRequests,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._provider, self._config, self._sleep = provider, config, sleep
        self._sent: deque[float] = deque()
        self._sent_requests = sent
        self.usage = Usage()

    @property
    def model(self) -> str:
        """``provider:model``."""
        return self._provider.model

    def ask(self, request: Request) -> Any:
        """Return the JSON object that a model answers with.

        Raises
        ------
        Unusable
            It failed as often as is tried, would cost more than is allowed, or answered with something else.
        """
        expected = (len(request.system) + len(request.user)) // _CHARACTERS + self._config.max_tokens
        used = self.usage.input_tokens + self.usage.output_tokens
        if used + expected > self._config.tokens_per_run:
            raise Unusable(
                f"the budget of {self._config.tokens_per_run:,} tokens (llm.tokens_per_run) is used up"
            )
        answer = self._tried(request)
        self.usage.input_tokens += max(answer.input_tokens, 0) or len(request.user) // _CHARACTERS
        self.usage.output_tokens += max(answer.output_tokens, 0) or len(answer.text) // _CHARACTERS
        try:
            found = json.loads(answer.text)
        except (ValueError, RecursionError) as error:
            raise Unusable("the answer is no whole JSON object") from error
        if not isinstance(found, dict):
            raise Unusable("the answer is no JSON object")
        if missing := [each for each in request.schema.get("required", ()) if each not in found]:
            raise Unusable(f"the answer is not of the schema: it has no {missing[0]!r}")
        return found

    def close(self) -> None:
        """Close the provider."""
        self._provider.close()

    def _tried(self, request: Request) -> Answer:
        for attempt in range(self._config.retries + 1):
            self._keep_rate()
            self.usage.requests += 1
            try:
                answer = self._provider.complete(request, self._config.max_tokens)
            except Busy as error:
                self._note(request, str(error))
                if attempt == self._config.retries:
                    raise Unusable(f"{error}, {attempt + 1} times") from error
                self._wait(attempt, error.retry_after_s)
            except Unusable as error:
                self._note(request, str(error))
                raise
            except ProgrammingError:  # the configuration's
                raise
            except Exception as error:  # of a provider's library: whatever it is, the memories can be quoted
                said = f"{self.model} failed: {type(error).__name__}"
                self._note(request, said)
                raise Unusable(said) from error
            else:
                self._note(request, "answered", answer)
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, attempt: int, retry_after_s: float | None) -> None:
        """Wait longer each time, with some chance in it, so that many do not come back at once."""
        longest = self._config.backoff_s * 2**attempt
        wait = longest * (0.5 + random.random() / 2) if retry_after_s is None else retry_after_s
        self._sleep(min(wait, _LONGEST_WAIT_S))

    def _keep_rate(self) -> None:
        now = time.monotonic()
        while self._sent and now - self._sent[0] >= _MINUTE_S:
            self._sent.popleft()
        if len(self._sent) >= self._config.requests_per_minute:
            self._sleep(_MINUTE_S - (now - self._sent[0]))
        self._sent.append(time.monotonic())

    def _note(self, request: Request, ended: str, answer: Answer | None = None) -> None:
        about = {
            "at": datetime.now(timezone.utc).isoformat(),
            "endpoint": without_credentials(self._provider.endpoint),
            "model": self.model,
            "memory_ids": request.memory_ids,
            "characters": len(request.user),
            "ended": ended,
            "input_tokens": answer.input_tokens if answer else None,
            "output_tokens": answer.output_tokens if answer else None,
        }
        try:
            self._sent_requests.note(about)
        except OSError as error:
            raise Unusable(f"what is sent cannot be recorded: {error}") from error


def client_of(config: LlmConfig, directory: Path) -> Client | None:
    """Return what asks the model that is configured; None where none is.

    Raises
    ------
    ProgrammingError
        A provider is named, and no model of it; or nobody knows the provider.
    OperationalError
        Its package is not installed.
    """
    if config.provider == "none":
        return None
    if not config.model:
        raise ProgrammingError(f"llm.provider is {config.provider}, and llm.model names no model of it")
    return Client(_provider(config), config, SentRequests(directory))


PROVIDERS = {
    "claude": "aios_db.lifecycle.llm.claude:Claude",
    "ollama": "aios_db.lifecycle.llm.ollama:Ollama",
    "openai": "aios_db.lifecycle.llm.openai:OpenAi",
}
"""What is made of a configuration, as "module:name", which is imported when it is used."""


def _provider(config: LlmConfig) -> Provider:
    if config.provider not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise ProgrammingError(f"llm.provider {config.provider!r} is unknown; there are {known} and none")
    module, name = PROVIDERS[config.provider].split(":")
    provider: Provider = getattr(import_module(module), name)(config)
    return provider
