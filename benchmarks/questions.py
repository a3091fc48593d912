"""What people and pages ask of the tables, and a database of any size to ask it of."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, LiteralString, cast

import psycopg

STEP = 50_000
"""Runs made by one statement."""
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing asked; how long it may take, and how many pages of 8 KB it may look at, however much is stored."""

    name: str
    limit_ms: float
    limit_pages: int
    statement: str
    reader: Literal["user", "admin", "service"] = "user"


VOLUME = "select day, sum(messages) from daily_message_volume where day >= current_date - 30 group by day"
PAGE = "select * from conversation_session_totals{} order by last_activity_at desc, id desc limit 20"
"""A user says whose: by row level security alone the rows are the same, but the planner walks through everybody's."""
QUESTIONS = (
    Question(
        "a user's sessions, the latest 20",
        1,
        60,
        "select id, session_id, title, state, last_activity_at from conversation_sessions"
        " where user_id = %(user)s order by last_activity_at desc, id desc limit 20",
    ),
    Question(
        "a session's messages",
        5,
        200,
        "select id, role, content, created_at from conversation_messages where session_id = %(session)s"
        " order by created_at limit 200",
    ),
    Question("a session's latest 10 messages", 5, 200, "select * from get_conversation_history(%(id)s, 10)"),
    Question("a session's cost", 10, 40, "select get_session_cost(%(id)s)"),
    Question("a session's messages by role", 10, 300, "select * from get_session_message_stats(%(id)s)"),
    Question("provider analytics over 30 days", 50, 100, "select * from provider_usage_stats"),
    Question("messages a day over 30 days", 50, 100, VOLUME),
    Question("first page of conversations, with their sums", 20, 400, PAGE.format(" where user_id = %(user)s")),
    Question(
        "a run with its transcript",
        20,
        150,
        "select r.id, r.status, r.total_messages, t.* from conversation_runs r,"
        " lateral conversation_transcript(r.id) t where r.id = %(run)s",
    ),
    # Of the tenant's rows none may be looked at.
    Question("how many runs, by row level security alone", 5, 120, "select count(*) from conversation_runs"),
    Question("the tenant's provider analytics over 30 days", 50, 1000, "select * from provider_usage_stats", "admin"),
    Question("the tenant's messages a day over 30 days", 50, 1000, VOLUME, "admin"),
    Question("first page of the tenant's conversations", 20, 2000, PAGE.format(""), "admin"),
    Question(
        "everybody's provider analytics over 30 days", 50, 20_000, "select * from provider_usage_stats", "service"
    ),
    Question("everybody's messages a day over 30 days", 50, 20_000, VOLUME, "service"),
    Question("first page of everybody's conversations", 20, 400, PAGE.format(""), "service"),
    Question(
        "a month by user, of one user",
        50,
        400,
        "select * from monthly_usage_summary where user_id = %(user)s",
        "service",
    ),
    Question(
        "inserting a message by hand",
        2,
        40,
        "insert into conversation_messages (conversation_run_id, role, content, token_count)"
        " values (%(run)s, 'user', 'One more thing', 4)",
        "service",
    ),
)


def fill(connection: Connection, messages: int, say: Callable[[str], None], *, users: int | None = None) -> None:
    """Make conversations of ten messages a run, five runs a session, ten sessions a user (or so many users)."""
    parts = re.split(r"^-- ([a-z]+) --$", (Path(__file__).parent / "questions.sql").read_text(), flags=re.MULTILINE)
    made = dict(zip(parts[1::2], parts[2::2], strict=True))
    users = users or max(1, messages // 500)
    sizes = {"runs": messages // 10, "sessions": max(1, messages // 50), "users": users}
    sizes["tenants"] = min(100, max(1, users // 5))
    connection.execute("set session_replication_role = replica")
    began = time.monotonic()
    connection.execute(cast("LiteralString", made["sessions"]), sizes)
    for first in range(0, sizes["runs"], STEP):
        part = {**sizes, "first": first, "last": min(first + STEP, sizes["runs"]) - 1}
        for name in ("runs", "messages", "spans", "analytics"):
            connection.execute(cast("LiteralString", made[name]), part)
        say(f"{part['last'] + 1} runs after {time.monotonic() - began:.0f} s")
    connection.execute("set session_replication_role = origin")
    connection.execute("select rebuild_usage()")
    say(f"usage after {time.monotonic() - began:.0f} s")
    connection.execute("vacuum analyze")
    say(f"vacuumed after {time.monotonic() - began:.0f} s")


@contextmanager
def asking(connection: Connection, question: Question, values: dict[str, Any]) -> Iterator[None]:
    """A transaction as the API has it: role and claims; undone at its end."""
    with connection.transaction(force_rollback=True):
        if question.reader != "service":
            about = {"tenant_id": values["tenant"]}
            if question.reader == "admin":
                about["chopsky_role"] = "admin"
            claims = {"sub": values["user"], "role": "authenticated", "app_metadata": about}
            connection.execute(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                [json.dumps(claims)],
            )
        yield


def pick(connection: Connection) -> list[dict[str, Any]]:
    """Users, each with a session and a run of theirs."""
    rows = connection.execute(
        "select s.tenant_id, s.user_id, s.session_id, s.id, r.id"
        " from (select * from conversation_sessions tablesample bernoulli (5) limit 50) s"
        " cross join lateral (select id from conversation_runs where session_key = s.session_key limit 1) r"
    ).fetchall()
    names = ("tenant", "user", "session", "id", "run")
    return [dict(zip(names, row, strict=True)) for row in rows]


@dataclass(frozen=True, slots=True)
class Looked:
    """What the server looked at for an answer."""

    pages: int
    """Of 8 KB, in functions that it called, too."""
    kept: float
    """Rows that scans of tables came upon and went on with."""
    discarded: float
    """Rows that they came upon in vain."""
    whole: list[str]
    """Tables read from end to end."""


def look(connection: Connection, question: Question, values: dict[str, Any]) -> Looked:
    """Ask, and look at the plan."""
    explain = cast("LiteralString", "explain (analyze, buffers, timing off, format json) " + question.statement)
    with asking(connection, question, values):
        # Twice: a function's first call in a session plans it, which reads the catalogue.
        rows = [connection.execute(explain, values).fetchone() for _ in range(2)]
    assert rows[-1] is not None
    top = rows[-1][0][0]["Plan"]
    nodes: list[dict[str, Any]] = [top]
    for node in nodes:
        nodes += node.get("Plans", ())
    # Of a view's two halves the one that is not for this reader is planned, and not run.
    scans = [node for node in nodes if node["Actual Loops"] and "Scan" in node["Node Type"] and "Relation Name" in node]
    return Looked(
        top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        sum(node["Actual Rows"] * node["Actual Loops"] for node in scans),
        sum(
            (node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))
            * node["Actual Loops"]
            for node in scans
        ),
        [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"],
    )
