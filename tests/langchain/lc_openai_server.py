"""A loopback server that speaks the OpenAI chat protocol, for recording this project's own cassettes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {
    "prompt_tokens": 58,
    "completion_tokens": 17,
    "total_tokens": 75,
    "prompt_tokens_details": {"cached_tokens": 32, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 9, "audio_tokens": 0},
}
MODEL = "gpt-4o-mini-2024-07-18"


def message(request: dict[str, Any]) -> dict[str, Any]:
    """A tool call first where tools are offered, then the answer."""
    if request.get("tools") and not any(item["role"] == "tool" for item in request["messages"]):
        function = {"name": request["tools"][0]["function"]["name"], "arguments": '{"dish": "ramen"}'}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_ramen", "type": "function", "function": function}],
        }
    return {"role": "assistant", "content": "Boil the noodles, then season."}


def whole(request: dict[str, Any]) -> dict[str, Any]:
    said = message(request)
    reason = "tool_calls" if "tool_calls" in said else "stop"
    return {
        "id": "chatcmpl-chopsky",
        "object": "chat.completion",
        "created": 1790000000,
        "model": MODEL,
        "service_tier": "default",
        "choices": [{"index": 0, "message": said, "finish_reason": reason, "logprobs": None}],
        "usage": USAGE,
    }


def pieces(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    said = message(request)
    head = {
        "id": "chatcmpl-chopsky",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": MODEL,
        "service_tier": "default",
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": None}

    yield chunk({"role": "assistant", "content": ""})
    for word in (said["content"] or "").split(" "):
        yield chunk({"content": word + " "})
    for index, call in enumerate(said.get("tool_calls", ())):
        yield chunk({"tool_calls": [{**call, "index": index}]})
    yield chunk({}, "tool_calls" if "tool_calls" in said else "stop")
    if request.get("stream_options", {}).get("include_usage"):
        yield {**head, "choices": [], "usage": USAGE}


class Handler(BaseHTTPRequestHandler):
    """Answers /v1/chat/completions; the model `refuse` is answered with 429."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request["model"] == "refuse":
            self._send(
                429,
                "application/json",
                json.dumps({"error": {"message": "Too many cooks", "type": "requests", "code": "rate_limit_exceeded"}}),
            )
        elif request.get("stream"):
            lines = [f"data: {json.dumps(piece)}\n\n" for piece in pieces(request)]
            self._send(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))
        else:
            self._send(200, "application/json", json.dumps(whole(request)))

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def openai_server() -> Iterator[str]:
    """Serve on a free loopback port; gives the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
