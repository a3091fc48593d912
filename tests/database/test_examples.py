"""The schema document's statements, as a person types them, and the totals of rows written by hand."""

from __future__ import annotations

import shutil
import subprocess
from decimal import Decimal
from uuid import UUID

import pytest

from chopsky_trace.database.connect import Connection

INSERT_RUN = """
INSERT INTO conversation_runs (user_id, session_id, status)
VALUES ('user-123', 'session-456', 'active');
"""
ADD_MESSAGE = """
INSERT INTO conversation_messages (conversation_run_id, role, content, token_count)
VALUES ('run-uuid', 'user', 'Hello Chef Chopsky!', 5);
"""
UPDATE_TOTALS = """
UPDATE conversation_runs
SET total_messages = 10,
    total_tokens_used = 1500,
    total_cost = 0.0025,
    status = 'completed'
WHERE id = 'run-uuid';
"""
TOTALS = "select total_messages, total_tokens_used, total_cost, status from conversation_runs"


def the_run(connection: Connection) -> str:
    (found,) = connection.execute("select id from conversation_runs").fetchall()
    return str(found[0])


def test_the_documents_statements_through_the_driver(connection: Connection):
    connection.execute(INSERT_RUN.encode())
    run = the_run(connection)
    connection.execute(ADD_MESSAGE.replace("run-uuid", run).encode())
    assert connection.execute(TOTALS).fetchone() == (1, 5, None, "active")
    connection.execute(UPDATE_TOTALS.replace("run-uuid", run).encode())
    assert connection.execute(TOTALS).fetchone() == (10, 1500, Decimal("0.0025"), "completed")
    row = connection.execute(
        "select user_id, session_id, role, content, token_count, sequence from conversation_messages"
    ).fetchone()
    assert row == ("user-123", "session-456", "user", "Hello Chef Chopsky!", 5, 1)


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_documents_statements_through_psql(database_url: str, connection: Connection):
    def psql(statement: str) -> None:
        done = subprocess.run(
            ["psql", "-X", "-v", "ON_ERROR_STOP=1", database_url],
            input=statement,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    psql(INSERT_RUN)
    psql(ADD_MESSAGE.replace("run-uuid", the_run(connection)))
    psql(UPDATE_TOTALS.replace("run-uuid", the_run(connection)))
    assert connection.execute(TOTALS).fetchone() == (10, 1500, Decimal("0.0025"), "completed")


def new_run(connection: Connection) -> UUID:
    row = connection.execute("insert into conversation_runs (user_id) values ('user-123') returning id").fetchone()
    assert row is not None
    return row[0]


def add(connection: Connection, run: UUID, role: str, tokens: int | None, **columns: object) -> UUID:
    names = ["conversation_run_id", "role", "token_count", *columns]
    row = connection.execute(
        f"insert into conversation_messages ({', '.join(names)}) values ({', '.join(['%s'] * len(names))})"
        f" returning id".encode(),
        [run, role, tokens, *columns.values()],
    ).fetchone()
    assert row is not None
    return row[0]


def totals(connection: Connection, run: UUID) -> tuple[object, ...] | None:
    return connection.execute(
        "select total_messages, total_input_tokens, total_output_tokens, total_tokens_used, total_cost,"
        " average_response_time"
        " from conversation_runs where id = %s",
        [run],
    ).fetchone()


def test_unknown_is_null_and_never_zero(connection: Connection):
    run = new_run(connection)
    add(connection, run, "user", None)
    assert totals(connection, run) == (1, None, None, None, None, None)


def test_messages_by_hand_make_totals(connection: Connection):
    run, other = new_run(connection), new_run(connection)
    question = add(connection, run, "user", 5, created_at="2026-01-01T00:00:00Z")
    add(connection, run, "system", 7, is_internal=True, created_at="2025-12-31T00:00:00Z")
    answer = add(
        connection, run, "assistant", 11, cost=Decimal("0.5"), response_time_ms=200, created_at="2026-01-01T00:00:01Z"
    )
    add(connection, run, "assistant", 13, cost=Decimal("0.25"), response_time_ms=100, created_at="2026-01-01T00:00:02Z")
    assert totals(connection, run) == (3, 12, 24, 36, Decimal("0.75"), 150)
    assert totals(connection, other) == (0, None, None, None, None, None)
    sequence = connection.execute("select role, sequence from conversation_messages order by sequence").fetchall()
    assert sequence == [("system", 1), ("user", 2), ("assistant", 3), ("assistant", 4)]
    connection.execute("update conversation_messages set token_count = 1 where id = %s", [question])
    assert totals(connection, run) == (3, 8, 24, 32, Decimal("0.75"), 150)
    connection.execute("delete from conversation_messages where id = %s", [answer])
    assert totals(connection, run) == (2, 8, 13, 21, Decimal("0.25"), 100)
    connection.execute("update conversation_messages set conversation_run_id = %s where id = %s", [other, question])
    assert totals(connection, run) == (1, 7, 13, 20, Decimal("0.25"), 100)
    assert totals(connection, other) == (1, 1, None, 1, None, None)


def test_totals_by_hand_stand_in_a_run_without_spans(connection: Connection):
    run = new_run(connection)
    add(connection, run, "user", 5)
    connection.execute(
        "update conversation_runs set total_messages = 10, total_tokens_used = 1500 where id = %s", [run]
    )
    add(connection, run, "user", 5)
    row = totals(connection, run)
    assert row is not None
    assert row[0] == 10
    assert row[3] == 1500


def test_spans_take_the_totals_over(connection: Connection):
    run = new_run(connection)
    connection.execute("update conversation_runs set total_tokens_used = 1500 where id = %s", [run])
    insert = (
        "insert into conversation_spans (id, conversation_run_id, kind, ended_at, input_tokens, output_tokens,"
        " total_tokens, cost)"
        " values (gen_random_uuid(), %s, %s, now(), %s, %s, %s, %s)"
    )
    connection.execute(insert, [run, "llm", 100, 20, 120, Decimal("0.001")])
    assert totals(connection, run) == (0, 100, 20, 120, Decimal("0.001"), None)
    connection.execute(insert, [run, "embedding", 30, None, 30, None])
    assert totals(connection, run) == (0, 130, 20, 150, Decimal("0.001"), None)
    row = connection.execute(
        "select unpriced_calls, unmeasured_calls from conversation_runs where id = %s", [run]
    ).fetchone()
    assert row == (1, 0)


def test_deleting_a_run_takes_everything_of_it(connection: Connection):
    run = new_run(connection)
    add(connection, run, "user", 5)
    connection.execute("insert into conversation_spans (id, conversation_run_id) values (gen_random_uuid(), %s)", [run])
    connection.execute("delete from conversation_runs")
    for table in ("conversation_messages", "conversation_spans", "conversation_analytics"):
        assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (0,)
