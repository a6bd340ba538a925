"""Claude, by the official SDK: https://docs.anthropic.com/en/api/messages, with a tool that it must use."""

from __future__ import annotations

import json
import os
from typing import Any

from aios_db.lifecycle.llm.http import seconds
from aios_db.lifecycle.llm.protocol import Answer, Busy, Request, Unusable
from aios_db.schema.config import LlmConfig
from aios_db.schema.errors import OperationalError

_TOOL = "answer"


class Claude:
    """Asks Anthropic's API.

    Raises
    ------
    OperationalError
        The SDK is not installed.
    """

    def __init__(self, config: LlmConfig) -> None:
        try:
            import anthropic
        except ModuleNotFoundError as error:
            raise OperationalError(
                "llm.provider is claude, and anthropic is not installed: pip install 'aios_db[claude]'"
            ) from error
        self._config, self._sdk = config, anthropic
        variable = config.api_key_variable or "ANTHROPIC_API_KEY"
        self._client = anthropic.Anthropic(
            api_key=os.environ.get(variable) or "",
            base_url=config.base_url or None,
            timeout=config.timeout_s,
            max_retries=0,  # `Client` retries
        )
        self.endpoint = f"{str(self._client.base_url).rstrip('/')}/v1/messages"
        self.model = f"claude:{config.model}"

    def complete(self, request: Request, max_tokens: int) -> Answer:
        """Return the answer; as `Provider.complete`."""
        asked: dict[str, Any] = {
            "model": self._config.model,
            "max_tokens": max_tokens,
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
            "tools": [{"name": _TOOL, "description": "Gives the answer.", "input_schema": request.schema}],
            "tool_choice": {"type": "tool", "name": _TOOL},
        }
        sdk = self._sdk
        try:
            message = self._message(asked)
        except (sdk.APITimeoutError, sdk.APIConnectionError) as error:
            raise Busy(f"{type(error).__name__}: {error}") from error
        except sdk.APIStatusError as error:
            said = f"status {error.status_code}"
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise Busy(said, seconds(error.response.headers.get("retry-after"))) from error
            raise Unusable(said) from error
        except (sdk.AnthropicError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Busy(f"the answer cannot be read: {type(error).__name__}") from error
        if message.stop_reason == "max_tokens":
            raise Unusable("the answer is longer than llm.max_tokens")
        given = [each.input for each in message.content if each.type == "tool_use"]
        if not given:
            raise Unusable("the answer does not use the tool")
        return Answer(json.dumps(given[0]), message.usage.input_tokens, message.usage.output_tokens)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _message(self, asked: dict[str, Any]) -> Any:
        if not self._config.stream:
            return self._client.messages.create(**asked)
        with self._client.messages.stream(**asked) as stream:
            return stream.get_final_message()
