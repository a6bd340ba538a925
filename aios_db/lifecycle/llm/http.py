"""Posting JSON and reading what comes back, whole or line by line, with limits of time and size."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from aios_db.lifecycle.llm.protocol import Busy, Unusable
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.secrets import without_credentials

_MOST_BYTES = 4_000_000
_TOO_MANY, _TIMED_OUT, _SERVER = 429, 408, 500


def lines(url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout_s: float) -> Iterator[str]:
    """Post a JSON object and yield the lines of the answer.

    Parameters
    ----------
    timeout_s
        For the whole answer.

    Raises
    ------
    Busy
        A status of 408, 429 or 500 and above, a time-out, no connection, or one that is cut off.
    Unusable
        Another status, or an answer without end.
    """
    deadline = time.monotonic() + timeout_s
    connection = _connection(url, timeout_s)
    parts = urlsplit(url)
    try:
        connection.request(
            "POST", parts.path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )
        response = connection.getresponse()
        if response.status != http.client.OK:
            _refuse(response)
        read = 0
        while line := response.readline(_MOST_BYTES):
            read += len(line)
            if read > _MOST_BYTES:
                raise Unusable(f"the answer has more than {_MOST_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            yield line.decode("utf-8", "replace")
    except TimeoutError as error:
        raise Busy(f"no whole answer within {timeout_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        host, why = parts.netloc.rpartition("@")[2], error or type(error).__name__
        raise Busy(f"{host} cannot be reached, or broke off: {why}") from error
    finally:
        connection.close()


def loaded(text: str) -> Any:
    """Return JSON of a server's, or say that it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Busy(f"the answer is no whole JSON: {error}") from error


def _connection(url: str, timeout_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProgrammingError(
            f"llm.base_url leads to {without_credentials(url)!r}; give an address with http:// or https://"
        )
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=timeout_s)


def _refuse(response: http.client.HTTPResponse) -> None:
    status = response.status
    message = f"status {status} {response.reason}"
    if status in (_TOO_MANY, _TIMED_OUT) or status >= _SERVER:
        raise Busy(message, seconds(response.getheader("Retry-After")))
    raise Unusable(message)


def seconds(header: str | None) -> float | None:
    """Return what ``Retry-After`` says, if it is a number of seconds."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
