"""A loopback server whose answers a test writes: JSON, a refusal, or the frames of a stream, one by one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, dict[str, Any]], "dict[str, Any] | int | Iterable[str | None]"]
"""(path, request) -> a body, the status of a refusal, or frames; the frame None cuts the line."""
HEADERS = "x-headers"
"""A body's own headers stand under this key."""


def sse(*pieces: Any) -> Iterator[str]:
    """Frames of an event stream, as OpenAI sends them, with its end."""
    for piece in pieces:
        yield f"data: {json.dumps(piece)}\n\n"
    yield "data: [DONE]\n\n"


def chunk(delta: dict[str, Any], reason: str | None = None, usage: Any = None) -> dict[str, Any]:
    """One chunk of OpenAI's chat protocol."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "gpt-4o-mini"}
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {**head, "choices": choices, "usage": usage}


@contextmanager
def scripted_server(answer: Answer) -> Iterator[str]:
    """Serve on a free loopback port; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told = answer(self.path, json.loads(body))
            if isinstance(told, int):
                self._send(told, {"error": {"message": "Too many cooks", "type": "requests", "code": "limit"}})
            elif isinstance(told, dict):
                self._send(200, told)
            else:
                self._stream(told)

        def _send(self, status: int, body: dict[str, Any]) -> None:
            headers = body.pop(HEADERS, {})
            data = json.dumps(body).encode()
            self.send_response(status)
            self._hang_up()
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, frames: Iterable[str | None]) -> None:
            self.send_response(200)
            self._hang_up()
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for frame in frames:
                if frame is None:
                    return
                data = frame.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def _hang_up(self) -> None:
            # Clients that nobody closes leave no open connection behind.
            self.send_header("Connection", "close")
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
