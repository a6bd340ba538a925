"""Any endpoint that speaks OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from aios_db.lifecycle.llm.http import lines, loaded
from aios_db.lifecycle.llm.protocol import Answer, Busy, Request, Unusable
from aios_db.schema.config import LlmConfig

DEFAULT_URL = "https://api.openai.com/v1"
_KEY = "OPENAI_API_KEY"


class OpenAi:
    """Asks an endpoint; that of llama.cpp, vLLM or LM Studio is their ``…/v1``."""

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self.endpoint = f"{(config.base_url or DEFAULT_URL).rstrip('/')}/chat/completions"
        self.model = f"openai:{config.model}"

    def complete(self, request: Request, max_tokens: int) -> Answer:
        """Return the answer; as `Provider.complete`."""
        key = os.environ.get(self._config.api_key_variable or _KEY)
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.user},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "principle", "schema": request.schema, "strict": True},
            },
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": self._config.stream,
        }
        if self._config.stream:
            body["stream_options"] = {"include_usage": True}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answered = lines(self.endpoint, body, headers, self._config.timeout_s)
        return _streamed(answered) if self._config.stream else _whole("".join(answered))

    def close(self) -> None:
        """Nothing is held."""


def _whole(text: str) -> Answer:
    found = loaded(text)
    try:
        said = found["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise Unusable("the answer has no choices") from error
    return Answer(str(said), *_usage(found))


def _streamed(answered: Iterator[str]) -> Answer:
    text, usage, ended = "", (0, 0), False
    for line in answered:
        data = line.strip().removeprefix("data:").strip()
        if not line.startswith("data:") or not data:
            continue
        if data == "[DONE]":
            ended = True
            continue
        found = loaded(data)
        try:
            for choice in found.get("choices") or ():
                text += str((choice.get("delta") or {}).get("content") or "")
            usage = _usage(found) if found.get("usage") else usage
        except (AttributeError, TypeError) as error:
            raise Unusable("the answer has no choices") from error
    if not ended:
        raise Busy("the answer broke off")
    return Answer(text, *usage)


def _usage(found: Any) -> tuple[int, int]:
    usage = found.get("usage") or {}
    return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
