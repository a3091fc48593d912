"""What the OpenTelemetry examples ask: OpenAI where there is a key, else a stand-in for its API on loopback.

The stand-in is no model: it asks for the recipe that the question names, then reads it out. It counts tokens in its own
way, and states them as OpenAI does.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

RECIPES = {
    "hummus": "chickpeas, tahini, lemon and garlic; blend for 10 minutes",
    "tomato soup": "tomatoes, an onion and stock; simmer for 25 minutes",
}
MODEL = "gpt-4o-mini"
Message = dict[str, Any]


def recipe(dish: str) -> str:
    """Look a recipe up.

    Args:
        dish: what is to be cooked.
    """
    return RECIPES.get(dish, "no such recipe")


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "recipe",
            "description": "Look a recipe up",
            "parameters": {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]},
        },
    }
]


@contextmanager
def provider() -> Iterator[tuple[dict[str, str], str]]:
    """Arguments for an OpenAI client, and what it then asks, for people."""
    if os.environ.get("OPENAI_API_KEY"):
        yield {}, f"{MODEL} (OPENAI_API_KEY is set)"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), _StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/v1"
        yield {"base_url": address, "api_key": "none"}, "a stand-in on loopback; set OPENAI_API_KEY for the real one"
    finally:
        server.shutdown()
        server.server_close()


def answer(messages: list[Message]) -> Message:
    """What the stand-in says."""
    last = messages[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"You need {last['content']}."}
    question = str(last["content"]).lower()
    dish = next((name for name in RECIPES if name in question), "hummus")
    call = {"name": "recipe", "arguments": json.dumps({"dish": dish})}
    calls = [{"id": f"call_{uuid4().hex[:12]}", "type": "function", "function": call}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _tokens(value: object) -> int:
    return max(1, len(json.dumps(value)) // 4)


class _StandIn(BaseHTTPRequestHandler):
    """POST /v1/chat/completions, as OpenAI answers it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = answer(asked["messages"])
        given, got = _tokens(asked["messages"]), _tokens(said)
        body = json.dumps(
            {
                "id": f"chatcmpl-{uuid4().hex[:16]}",
                "object": "chat.completion",
                "created": 0,
                "model": f"{MODEL}-2024-07-18",
                "choices": [
                    {"index": 0, "message": said, "finish_reason": "tool_calls" if "tool_calls" in said else "stop"}
                ],
                "usage": {"prompt_tokens": given, "completion_tokens": got, "total_tokens": given + got},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing on the terminal."""
