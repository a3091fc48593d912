"""What people and pages ask of the tables, each as a signed-in user under row level security, at a busy year's size.

python -m benchmarks.reading                       5 million messages in 500,000 runs of 100,000 sessions: 15 GB of disk
python -m benchmarks.reading --messages 100000     smaller
python -m benchmarks.reading --database-url URL    in a database of your own (empty; superuser), of any version
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from benchmarks.server import Server
from chopsky_trace.database import costs
from chopsky_trace.database.migrate import migrate

STEP = 50_000
"""Runs made by one statement."""
TIMES = 200
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing asked, and how long it may take."""

    name: str
    limit_ms: float
    statement: str
    as_user: bool = True


QUESTIONS = (
    Question(
        "a user's sessions, the latest 20",
        1,
        "select id, session_id, title, state, last_activity_at from conversation_sessions"
        " where user_id = %(user)s order by last_activity_at desc, id desc limit 20",
    ),
    Question(
        "a session's messages",
        5,
        "select id, role, content, created_at from conversation_messages where session_id = %(session)s"
        " order by created_at limit 200",
    ),
    Question("a session's latest 10 messages", 5, "select * from get_conversation_history(%(id)s, 10)"),
    Question("a session's cost", 10, "select get_session_cost(%(id)s)"),
    Question("a session's messages by role", 10, "select * from get_session_message_stats(%(id)s)"),
    Question("provider analytics over 30 days", 50, "select * from provider_usage_stats"),
    Question(
        "messages a day over 30 days",
        50,
        "select * from daily_message_volume where day >= current_date - 30",
    ),
    Question(
        "first page of conversations, with their sums",
        20,
        "select * from conversation_session_totals order by last_activity_at desc, id desc limit 20",
    ),
    Question(
        "a run with its transcript",
        20,
        "select r.id, r.status, r.total_messages, t.* from conversation_runs r,"
        " lateral conversation_transcript(r.id) t where r.id = %(run)s",
    ),
    Question("everybody's provider analytics over 30 days", 50, "select * from provider_usage_stats", as_user=False),
    Question(
        "everybody's messages a day over 30 days",
        50,
        "select day, sum(messages) from daily_message_volume where day >= current_date - 30 group by day",
        as_user=False,
    ),
    Question(
        "first page of everybody's conversations",
        20,
        "select * from conversation_session_totals order by last_activity_at desc, id desc limit 20",
        as_user=False,
    ),
    Question(
        "inserting a message by hand",
        2,
        "insert into conversation_messages (conversation_run_id, role, content, token_count)"
        " values (%(run)s, 'user', 'One more thing', 4)",
        as_user=False,
    ),
)


def fill(connection: Connection, messages: int, say: Callable[[str], None]) -> None:
    """Make conversations of ten messages a run, five runs a session, ten sessions a user."""
    parts = re.split(r"^-- ([a-z]+) --$", (Path(__file__).parent / "reading.sql").read_text(), flags=re.MULTILINE)
    made = dict(zip(parts[1::2], parts[2::2], strict=True))
    sizes = {"runs": messages // 10, "sessions": max(1, messages // 50), "users": max(1, messages // 500)}
    connection.execute("set session_replication_role = replica")
    began = time.monotonic()
    connection.execute(cast("LiteralString", made["sessions"]), sizes)
    for first in range(0, sizes["runs"], STEP):
        part = {**sizes, "first": first, "last": min(first + STEP, sizes["runs"]) - 1}
        for name in ("runs", "messages", "spans"):
            connection.execute(cast("LiteralString", made[name]), part)
        say(f"{part['last'] + 1} runs after {time.monotonic() - began:.0f} s")
    connection.execute("set session_replication_role = origin")
    connection.execute("select rebuild_usage()")
    say(f"usage after {time.monotonic() - began:.0f} s")
    connection.execute("vacuum analyze")
    say(f"vacuumed after {time.monotonic() - began:.0f} s")


@contextmanager
def asking(connection: Connection, question: Question, user: str) -> Iterator[None]:
    """A transaction as the API has it: role and claims; undone at its end."""
    with connection.transaction(force_rollback=True):
        if question.as_user:
            tenant = f"tenant-{int(user.split('-')[1]) % 100}"
            claims = {"sub": user, "role": "authenticated", "app_metadata": {"tenant_id": tenant}}
            connection.execute(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                [json.dumps(claims)],
            )
        yield


def measure(connection: Connection, question: Question, picked: list[dict[str, Any]], times: int) -> list[float]:
    """Milliseconds of each asking, round trip included, each about another user."""
    taken: list[float] = []
    for number in range(times):
        values = picked[number % len(picked)]
        with asking(connection, question, values["user"]):
            began = time.perf_counter()
            cursor = connection.execute(cast("LiteralString", question.statement), values)
            if cursor.description is not None:
                cursor.fetchall()
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def pick(connection: Connection) -> list[dict[str, Any]]:
    """Users, each with a session and a run of theirs."""
    rows = connection.execute(
        "select s.user_id, s.session_id, s.id, r.id from (select * from conversation_sessions tablesample bernoulli (5)"
        " limit 50) s cross join lateral (select id from conversation_runs where session_key = s.session_key limit 1) r"
    ).fetchall()
    return [{"user": user, "session": name, "id": session, "run": run} for user, name, session, run in rows]


def plan(connection: Connection, question: Question, values: dict[str, Any]) -> list[str]:
    """Tables that the server reads from end to end for an answer."""
    with asking(connection, question, values["user"]):
        row = connection.execute(
            cast("LiteralString", "explain (format json) " + question.statement), values
        ).fetchone()
    found: list[str] = []

    def look(node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan":
            found.append(node["Relation Name"])
        for inner in node.get("Plans", ()):
            look(inner)

    assert row is not None
    look(row[0][0]["Plan"])
    return found


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=TIMES, help="how often each is asked")
    parser.add_argument("--database-url")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with Server() if asked.database_url is None else nullcontext() as server:
        url = asked.database_url or cast("Server", server).create("reading")
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            migrate(connection)
            costs.show(connection, shown=True)
            fill(connection, asked.messages, say)
            version = connection.info.parameter_status("server_version")
            print(f"PostgreSQL {version}, {asked.messages} messages; milliseconds, round trip included.\n")
            print("| question | aim | median | 95 % | read from end to end |\n|---|---|---|---|---|")
            picked = pick(connection)
            for question in QUESTIONS:
                taken = sorted(measure(connection, question, picked, asked.times))
                who = "" if question.as_user else " (as the service)"
                whole = ", ".join(plan(connection, question, picked[0])) or "-"
                print(
                    f"| {question.name}{who} | < {question.limit_ms:g} | {statistics.median(taken):.2f}"
                    f" | {taken[int(len(taken) * 0.95)]:.2f} | {whole} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
