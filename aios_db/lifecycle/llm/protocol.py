"""What a language model is asked, what it answers, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """One question, whose answer is a JSON object of a schema."""

    system: str
    user: str
    schema: Mapping[str, Any]
    """JSON Schema of the answer."""
    memory_ids: tuple[str, ...]
    """What of the database is in it, for the record."""


@dataclass(frozen=True)
class Answer:
    """What a model said: the text of a JSON object, and what it cost."""

    text: str
    input_tokens: int
    output_tokens: int


class Unusable(Exception):
    """Nothing came that can be used; the message says why, and has no memory's text in it."""


class Busy(Exception):
    """It may work a moment later: too many requests, a failing server, a time-out, a lost connection.

    Parameters
    ----------
    message
        What happened.
    retry_after_s
        When the server says to try again.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """A service that answers."""

    @property
    def model(self) -> str:
        """``provider:model``."""
        ...

    @property
    def endpoint(self) -> str:
        """Where requests go."""
        ...

    def complete(self, request: Request, max_tokens: int) -> Answer:
        """Return the answer to a request.

        Raises
        ------
        Busy
            It may work a moment later.
        Unusable
            It will not.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
