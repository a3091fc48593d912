"""Exchanges made up from the providers' documented answers, for what no recording shows.

Each is written as a recording of one request, and replayed like the recorded ones.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from conformance.exchanges import Exchange, Request

COLUMNS = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "reasoning",
    "audio",
    "total",
    "tool_use_prompt",
    "cache_write_5m",
    "cache_write_1h",
    "billed_iterations",
    "server_tool_use",
    "service_tier",
    "cost_reported_usd",
    "lc_input_tokens",
    "lc_output_tokens",
    "lc_total_tokens",
)


def lines(events: Sequence[dict[str, Any]]) -> bytes:
    """Server-sent events without names (OpenAI, Google)."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def done(events: Sequence[dict[str, Any]]) -> bytes:
    """The same with OpenAI's last line."""
    return lines(events) + b"data: [DONE]\n\n"


def named(events: Sequence[dict[str, Any]]) -> bytes:
    """Server-sent events that are named as their type (Anthropic, Cohere, Responses)."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def rows(events: Sequence[dict[str, Any]]) -> bytes:
    """A line of JSON each (Ollama)."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def frames(events: Sequence[dict[str, Any]]) -> bytes:
    """Amazon's event stream, each event a chunk of bytes."""
    told = b""
    for event in events:
        payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode()
        headers = b""
        for name, value in (
            (":message-type", "event"),
            (":event-type", "chunk"),
            (":content-type", "application/json"),
        ):
            headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
        told += message + struct.pack(">I", zlib.crc32(message))
    return told


TYPES = {
    lines: "text/event-stream",
    done: "text/event-stream",
    named: "text/event-stream",
    rows: "application/x-ndjson",
    frames: "application/vnd.amazon.eventstream",
}


@dataclass(frozen=True)
class Made:
    """One request and its answer. `says`: the row's cells; lc_* follow from `whole`, (input, output, total)."""

    name: str
    driver: str
    provider: str
    api: str
    uri: str
    model: str
    answers: list[dict[str, Any]]
    whole: tuple[int, int, int] | None
    says: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    stream: Callable[[Sequence[dict[str, Any]]], bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def exchange(self, folder: Path) -> Exchange:
        """Write it as a recording."""
        content = json.dumps(self.answers[0]).encode() if self.stream is None else self.stream(self.answers)
        kind = "application/json" if self.stream is None else TYPES[self.stream]
        headers = {name: [value] for name, value in {"content-type": kind, **self.headers}.items()}
        path = folder / f"{self.name}.yaml"
        interaction = {
            "request": {"method": "POST", "uri": self.uri, "body": None, "headers": {}},
            "response": {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": content}},
        }
        path.write_text(yaml.dump({"interactions": [interaction], "version": 1}))
        row = {name: str(value) for name, value in self.says.items()}
        if self.whole:
            row |= dict(
                zip(("lc_input_tokens", "lc_output_tokens", "lc_total_tokens"), map(str, self.whole), strict=True)
            )
        assert row.keys() <= set(COLUMNS), f"no such column: {row.keys() - set(COLUMNS)}"
        row = dict.fromkeys(COLUMNS, "") | row
        row |= {"provider": self.provider, "api": self.api, "driver": self.driver, "http_status": "200"}
        row["streaming"] = "no" if self.stream is None else "yes"
        return Exchange(self.name, path, (Request(row, self.uri, self.body, self.model, tuple(self.answers)),))


def chat(usage: Any, model: str = "gpt-4o-2024-08-06", **more: Any) -> dict[str, Any]:
    """An answer of the chat interface of OpenAI's form."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Ramen."}, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": model,
        "choices": [choice],
        "usage": usage,
        **more,
    }


def chat_stream(usages: Sequence[Any], model: str = "gpt-4o-2024-08-06", choices: int = 1, **more: Any) -> list[Any]:
    """The same as a stream; the last usage comes alone, those before it with a chunk each."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": model, **more}
    events: list[Any] = []
    for place, usage in enumerate([None, *usages[:-1]] if len(usages) < 2 else usages[:-1]):
        for index in range(choices):
            delta = {"role": "assistant", "content": "Ra" if place == 0 else "men."}
            events.append({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
            if usage:
                events[-1]["usage"] = usage
    for index in range(choices):
        events.append({**head, "choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]})
        if len(usages) > 1 and usages[-2]:
            events[-1]["usage"] = usages[-2]
    return [*events, {**head, "choices": [], "usage": usages[-1]}]


def claude(usage: Any, content: Any = None, model: str = "claude-sonnet-4-5-20250929") -> dict[str, Any]:
    """An answer of Anthropic's."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content or [{"type": "text", "text": "Ramen."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def claude_stream(
    first: Any, last: Any, blocks: Sequence[Any] = (), model: str = "claude-sonnet-4-5-20250929"
) -> list[Any]:
    """The same as a stream: what its message_start says of usage, and its message_delta."""
    message = claude(first, model=model) | {"content": [], "stop_reason": None}
    events: list[Any] = [{"type": "message_start", "message": message}]
    for index, block in enumerate([*blocks, {"type": "text", "text": ""}]):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if block["type"] == "text":
            delta = {"type": "text_delta", "text": "Ramen."}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": end, "usage": last}, {"type": "message_stop"}]


def respond(usage: Any, output: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    """An answer of the Responses interface."""
    text = {"type": "output_text", "text": "Ramen.", "annotations": []}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": "completed",
        "model": "gpt-5-2025-08-07",
        "output": [*output, said],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
        **more,
    }


def respond_stream(answer: dict[str, Any]) -> list[Any]:
    """The same as a stream."""
    begun = answer | {"status": "in_progress", "output": [], "usage": None}
    events: list[Any] = [{"type": "response.created", "sequence_number": 0, "response": begun}]
    for index, item in enumerate(answer["output"]):
        at = {"output_index": index, "sequence_number": len(events)}
        opened = item | ({"content": []} if item["type"] == "message" else {})
        events.append({"type": "response.output_item.added", "item": opened, **at})
        if item["type"] == "message":
            inside = {"item_id": item["id"], "content_index": 0, **at}
            events.append({"type": "response.output_text.delta", "delta": "Ramen.", "logprobs": [], **inside})
        events.append({"type": "response.output_item.done", "item": item, **at})
    return [*events, {"type": "response.completed", "sequence_number": len(events), "response": answer}]


def gemini(usage: Any, **candidate: Any) -> dict[str, Any]:
    """An answer of Gemini's."""
    content = {"role": "model", "parts": [{"text": "Ramen."}]}
    return {
        "candidates": [{"index": 0, "content": content, **candidate}],
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
        "usageMetadata": usage,
    }


def usage(whole: int, output: int, inside: Any = None, outside: Any = None, **more: Any) -> dict[str, Any]:
    """Usage in OpenAI's chat form."""
    told: dict[str, Any] = {"prompt_tokens": whole, "completion_tokens": output, "total_tokens": whole + output, **more}
    if inside:
        told["prompt_tokens_details"] = inside
    if outside:
        told["completion_tokens_details"] = outside
    return told


ASKED_USAGE = {"stream_options": {"include_usage": True}}
