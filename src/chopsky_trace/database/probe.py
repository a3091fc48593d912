"""Writes a run the way a writer does, reads it back, and takes it away again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from chopsky_trace.database import statements
from chopsky_trace.database.read import explained
from chopsky_trace.errors import SchemaError

CONTENT = "Written by chopsky-trace doctor."


def probe(connection: psycopg.Connection[Any]) -> None:
    """Store a run with a span and a message, read it, remove it.

    All in one transaction, so that nobody else sees it and nothing stays.

    Raises:
        SchemaError: what came back is not what was written, or the schema is missing.
        ConnectError: the role may not, or the connection is gone.
    """
    run_id = uuid4()
    payload = json.dumps(_payload(str(run_id)))
    sql = statements.load("read.sql")
    with explained(), connection.transaction():
        connection.execute(sql["probe_write"], {"payload": payload})
        found = connection.execute(sql["probe_read"], {"id": run_id}).fetchall()
        removed = connection.execute(sql["probe_remove"], {"id": run_id}).fetchall()
    if [tuple(row) for row in found] != [("completed", 1, 3, None, CONTENT)]:
        raise SchemaError("A probe run was written, but is not read back as it was")
    if len(removed) != 1:
        raise SchemaError(f"The probe run {run_id} was not removed")


def rehearse(connection: psycopg.Connection[Any], *, timeout_s: float) -> None:
    """Store a run with a span and a message, and take it all back.

    Args:
        connection: in autocommit mode.
        timeout_s: the longest time for a statement, in seconds.

    Raises:
        psycopg.Error: it was refused; `classify` tells what that means.
    """
    with connection.transaction(force_rollback=True):
        limit = {"timeout_ms": str(round(timeout_s * 1000))}
        connection.execute(statements.load("read.sql")["probe_limit"], limit)
        connection.execute(statements.load("read.sql")["probe_write"], {"payload": json.dumps(_payload(str(uuid4())))})


def _payload(run_id: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    span = {
        "id": run_id,
        "conversation_run_id": run_id,
        "kind": "llm",
        "name": "doctor",
        "source": "doctor",
        "started_at": now,
        "start_version": "1",
        "status": "completed",
        "ended_at": now,
        "response_time_ms": 0,
        "input_tokens": 1,
        "output_tokens": 2,
        "total_tokens": 3,
        "usage_source": "reported",
        "cost_source": "unknown",
        "end_version": "1",
    }
    message = {
        "id": str(uuid4()), "body_id": str(uuid4()), "conversation_run_id": run_id, "role": "user", "content": CONTENT,
        "version": "1", "created_at": now,
    }  # fmt: skip
    return {"runs": [{"id": run_id, "started_at": now}], "spans": [span], "messages": [message]}
