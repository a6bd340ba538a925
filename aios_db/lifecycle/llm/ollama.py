"""Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md, with answers bound to a JSON Schema."""

from __future__ import annotations

from aios_db.lifecycle.llm.http import lines, loaded
from aios_db.lifecycle.llm.protocol import Answer, Busy, Request, Unusable
from aios_db.schema.config import LlmConfig

DEFAULT_URL = "http://127.0.0.1:11434"


class Ollama:
    """Asks a server of Ollama's.

    Parameters
    ----------
    config
        ``model`` is the name of an installed one.
    """

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self.endpoint = f"{(config.base_url or DEFAULT_URL).rstrip('/')}/api/chat"
        self.model = f"ollama:{config.model}"

    def complete(self, request: Request, max_tokens: int) -> Answer:
        """Return the answer; as `Provider.complete`."""
        body = {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.user},
            ],
            "format": request.schema,
            "stream": self._config.stream,
            "options": {"temperature": 0, "num_predict": max_tokens},
        }
        text, last = "", {}
        for line in lines(self.endpoint, body, {}, self._config.timeout_s):
            if not line.strip():
                continue
            last = loaded(line)
            if not isinstance(last, dict) or "error" in last:
                raise Unusable("the server answered with an error")
            text += str((last.get("message") or {}).get("content") or "")
        if not last.get("done"):
            raise Busy("the answer broke off")
        return Answer(text, int(last.get("prompt_eval_count") or 0), int(last.get("eval_count") or 0))

    def close(self) -> None:
        """Nothing is held."""
