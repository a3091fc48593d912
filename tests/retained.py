"""Runs to be removed, and what is left."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from read_rows import at, call, content, ident, ingest, message, run, span

from chopsky_trace.database import check as checks
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import Reader


def turn(connection: Connection, name: str, second: float = 0, **scope: Any) -> UUID:
    """A run with a call, a text, and a picture that its question shows."""
    asked, answered = f"{name} asks", f"{name} hears"
    picture = {"$media": ident("content", "picture")}
    ingest(
        connection,
        span(name, name, second=second, inputs={"question": {"$message": ident("body", asked)}},
             outputs=[{"$text": ident("content", f"{name} text")}]),
        call(name, "call", parent=name, second=second + 0.1, prompt_bodies=[ident("body", asked)],
             output_bodies=[ident("body", answered)]),
        message(name, asked, "user", second, parts=[picture]),
        message(name, answered, "assistant", second + 1, span_id=ident(name, "call"), token_count=20, cost="0.000123"),
        content(name, f"{name} text", "text", "A long text."),
        content(name, "picture", "media", b"bytes", media_type="image/png"),
        runs=[run(name, started_at=at(second), **scope)],
    )  # fmt: skip
    return UUID(ident(name))


def left(connection: Connection) -> set[UUID]:
    return {row[0] for row in connection.execute("select id from conversation_runs")}


def findings(connection: Connection) -> list[checks.Finding]:
    return [one for batch in checks.check(Reader(connection), patience_s=100_000) for one in batch.findings]
