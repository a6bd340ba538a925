"""A server of the standard library that speaks as Ollama, OpenAI and Claude do, and fails on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Say = Callable[[dict[str, Any]], Any]
"""What the model says to a request: an object, or a text that is to be one."""

FAULTS = ("429", "500", "timeout", "truncated", "cut off", "refused", "no stream")


@dataclass
class Script:
    """What the server does next, and what it was asked."""

    say: Say
    faults: list[str] = field(default_factory=list)
    """Of `FAULTS`, each for one request."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(say: Say, *faults: str) -> Iterator[tuple[str, Script]]:
    """Serve on loopback; yield the address and what is done and asked."""
    script = Script(say, list(faults))
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def memories_in(request: dict[str, Any]) -> str:
    """Return the part of a request that holds the memories."""
    return str(next(each["content"] for each in request["messages"] if each["role"] == "user"))


class _Handler(BaseHTTPRequestHandler):
    script: Script

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.script.requests.append(body)
        self.script.headers.append(dict(self.headers))
        fault = self.script.faults.pop(0) if self.script.faults else ""
        if fault == "timeout":
            time.sleep(1.5)
        status = {"429": 429, "500": 500, "refused": 400}.get(fault)
        if status:
            self._send(
                status,
                b'{"error": {"type": "x", "message": "no"}}',
                {"Retry-After": "0"} if status == 429 else {},
            )
            return
        said = self.script.say(body)
        text = said if isinstance(said, str) else json.dumps(said)
        if fault == "truncated":
            text = text[: len(text) // 2]
        kind, content = self._answer({**body, "stream": False} if fault == "no stream" else body, text)
        if fault == "cut off":
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self._send(200, content, {"Content-Type": kind})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: dict[str, Any], text: str) -> tuple[str, bytes]:
        stream = bool(body.get("stream"))
        if self.path.endswith("/api/chat"):
            return "application/x-ndjson", _ollama(text, stream=stream)
        if self.path.endswith("/chat/completions"):
            return (
                ("text/event-stream", _openai_stream(text)) if stream else ("application/json", _openai(text))
            )
        assert self.path.endswith("/v1/messages"), self.path
        return ("text/event-stream", _claude_stream(text)) if stream else ("application/json", _claude(text))


def _pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def _ollama(text: str, *, stream: bool) -> bytes:
    end = {"done": True, "prompt_eval_count": 120, "eval_count": 30}
    if not stream:
        return json.dumps({"message": {"role": "assistant", "content": text}, **end}).encode()
    lines = [{"message": {"content": each}, "done": False} for each in _pieces(text)]
    return b"".join(
        json.dumps(each).encode() + b"\n" for each in [*lines, {"message": {"content": ""}, **end}]
    )


_OPENAI_USAGE = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}


def _openai(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "choices": [choice], "usage": _OPENAI_USAGE}
    ).encode()


def _openai_stream(text: str) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": each}}]} for each in _pieces(text)]
    events.append({"choices": [], "usage": _OPENAI_USAGE})
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events) + b"data: [DONE]\n\n"


def _claude(text: str) -> bytes:
    try:
        given = json.loads(text)
    except ValueError:
        return b'{"id": "1", "type": "message", "content": [{"type": "tool_use", "inp'
    content = [{"type": "tool_use", "id": "t", "name": "answer", "input": given}]
    about = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    usage = {"input_tokens": 120, "output_tokens": 30}
    return json.dumps({**about, "stop_sequence": None, "content": content, "usage": usage}).encode()


def _claude_stream(text: str) -> bytes:
    message = {
        "id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 120, "output_tokens": 1},
    }  # fmt: skip
    block = {"type": "tool_use", "id": "t", "name": "answer", "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": each},
            }
            for each in _pieces(text)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 30},
        },
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)
