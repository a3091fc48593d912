"""Records as a source makes them, for the writer's tests."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid5

import orjson

SPACE = UUID("3f1c1d8e-9f3b-5e6d-8a43-0c8f5f3f2a10")


def span_id(name: str) -> str:
    return str(uuid5(SPACE, name))


def start(name: str, **fields: Any) -> bytes:
    """The start of a root span, its id made of a name."""
    now = time.time_ns()
    record = {
        "v": 1,
        "t": "start",
        "id": span_id(name),
        "run": span_id(name),
        "parent": None,
        "seen": now,
        "source": "langchain",
        "at": now // 1000,
        "kind": "chain",
        "name": name,
        "inputs": {"question": "What is for dinner?"},
    }
    return orjson.dumps(record | fields)


def end(name: str, **fields: Any) -> bytes:
    """The end of that span."""
    now = time.time_ns()
    record = {
        "v": 1,
        "t": "end",
        "id": span_id(name),
        "run": span_id(name),
        "seen": now,
        "source": "langchain",
        "kind": "chain",
        "at": now // 1000,
        "status": "completed",
        "outputs": {"answer": "Soup."},
    }
    return orjson.dumps(record | fields)


def refused(name: str) -> bytes:
    """A record that reads well and that the database refuses: a number that its column cannot hold."""
    return start(name, prompt={"bodies": [], "take": 3_000_000_000})
