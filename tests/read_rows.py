"""Builds the payload of chopsky_ingest: runs, spans and messages whose keys are the columns' names."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from chopsky_trace.database.connect import Connection

SPACE = UUID("5f0c1d7e-1111-4111-8111-000000000000")
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def ident(*names: object) -> str:
    """The same uuid for the same names."""
    return str(uuid5(SPACE, "/".join(map(str, names))))


def at(seconds: float) -> str:
    """A time so many seconds after START."""
    return (START + timedelta(seconds=seconds)).isoformat()


def run(name: str, **columns: Any) -> dict[str, Any]:
    """A run's stub."""
    return {"id": ident(name), "started_at": at(0), **columns}


def span(run_name: str, name: str, *, parent: str | None = None, second: float = 0, **columns: Any) -> dict[str, Any]:
    """A completed span; the run's own name names its root."""
    made: dict[str, Any] = {
        "id": ident(run_name) if name == run_name else ident(run_name, name),
        "conversation_run_id": ident(run_name),
        "parent_span_id": None
        if parent is None
        else ident(run_name)
        if parent == run_name
        else ident(run_name, parent),
        "kind": "chain",
        "name": name,
        "source": "langchain",
        "started_at": at(second),
        "start_version": "1",
        "status": "completed",
        "ended_at": at(second + 1),
        "response_time_ms": 1000,
        "end_version": "1",
    }
    return made | columns


def call(run_name: str, name: str, *, parent: str, second: float = 0, **columns: Any) -> dict[str, Any]:
    """A model call with tokens and a cost."""
    numbers = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cost": "0.000123"}
    made = {"kind": "llm", "model": "gpt-4o-mini", "provider": "openai", "usage_source": "reported"}
    return span(run_name, name, parent=parent, second=second, **(made | numbers | columns))


def message(run_name: str, body: str, role: str, second: float, **columns: Any) -> dict[str, Any]:
    """A message row; `body` names its body and, unless given, is its text."""
    made = {
        "id": ident(run_name, "message", body),
        "body_id": ident("body", body),
        "conversation_run_id": ident(run_name),
    }
    return made | {"role": role, "content": body, "position": 0, "version": "1", "created_at": at(second)} | columns


def content(run_name: str, name: str, kind: str, value: Any = None, **columns: Any) -> dict[str, Any]:
    """A text, document or media (bytes; None: not kept) of a run; its id is ident("content", name)."""
    made: dict[str, Any] = {"conversation_run_id": ident(run_name), "id": ident("content", name), "kind": kind}
    made["size_bytes"] = len(value) if isinstance(value, (str, bytes)) else len(json.dumps(value))
    made["data" if kind == "media" else kind] = b64encode(value).decode() if isinstance(value, bytes) else value
    return made | columns


def ingest(connection: Connection, *rows: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    """Store rows the way a writer does."""
    payload = {
        "runs": runs,
        "spans": [row for row in rows if "kind" in row and "size_bytes" not in row],
        "messages": [row for row in rows if "role" in row],
        "contents": [row for row in rows if "size_bytes" in row],
        "prefixes": [row for row in rows if "bodies" in row],
    }
    connection.execute("select public.chopsky_ingest(%s::json)", [json.dumps(payload)])


def agent_turn(
    connection: Connection, name: str = "turn", *, second: float = 0, question: str = "What is in a ragù?", **scope: Any
) -> str:
    """A turn of an agent: a root, two model calls, a tool that fails at first; returns the run's id."""
    first, second_call = ident(name, "plan"), ident(name, "answer")
    asked, planned, told, answered = (ident("body", f"{name} {part}") for part in ("ask", "plan", "tool", "answer"))
    arguments = {"name": "lookup", "args": {"dish": "ragù"}, "id": "c1"}
    rows = [
        span(name, name, kind="agent", second=second, ended_at=at(second + 5), response_time_ms=5000),
        call(name, "plan", parent=name, second=second + 1, prompt_bodies=[ident("body", f"{name} system"), asked],
             output_bodies=[planned], time_to_first_token_ms=210, cache_read_tokens=40),
        span(name, "lookup", parent=name, kind="tool", second=second + 2, status="failed",
             error="ValueError: no such dish"),
        span(name, "lookup again", parent=name, kind="tool", second=second + 3, metadata={"retry_attempt": 2}),
        call(name, "answer", parent=name, second=second + 4, prompt_extends=first, prompt_take=3, prompt_bodies=[told],
             output_bodies=[answered], input_tokens=160, total_tokens=180, cost="0.0002"),
        message(name, f"{name} system", "system", second, content="You are a cook.", is_internal=True),
        message(name, f"{name} ask", "user", second + 0.1, content=question),
        message(name, f"{name} plan", "assistant", second + 2, content=None, tool_calls=[arguments], is_internal=True,
                span_id=first, token_count=20, token_count_source="reported", cost="0.000123"),
        message(name, f"{name} tool", "tool", second + 3, content="meat, tomato", tool_call_id="c1", is_internal=True),
        message(name, f"{name} answer", "assistant", second + 5, content="Meat and [red]tomato[/red].",
                span_id=second_call,
                model="gpt-4o-mini", provider="openai", token_count=20, token_count_source="reported", cost="0.0002",
                response_time_ms=1000),
    ]  # fmt: skip
    ingest(connection, *rows, runs=[run(name, started_at=at(second), **scope)])
    return ident(name)
