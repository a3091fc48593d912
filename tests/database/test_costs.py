"""What conversations cost, shown to those who had them or not."""

from __future__ import annotations

import json

import psycopg
import pytest
from click.testing import CliRunner
from read_rows import agent_turn
from roles import signed_in

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection

QUESTIONS = (
    "select total_cost from conversation_runs",
    "select cost from conversation_messages where cost > 0",
    "select * from usage_metrics where calls > 0",
    "select total_cost from provider_usage_stats",
    "select total_cost from conversation_session_totals",
    "select get_session_cost(id) from conversation_sessions",
    "select total_cost from get_session_message_stats((select id from conversation_sessions)) where total_cost > 0",
)


def costs(database_url: str, word: str) -> dict[str, dict[str, bool]]:
    done = CliRunner().invoke(main, ["costs", word, "--json", "--database-url", database_url])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["tables"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_costs_are_read_once_they_are_granted_and_of_ones_own_only(
    question: str, database_url: str, connection: Connection
):
    agent_turn(connection, "a", user_id="ann", session_id="1")
    agent_turn(connection, "b", user_id="ben", session_id="2")
    connection.execute("update conversation_runs set started_at = now(), created_at = now()")
    try:
        for word, is_shown in (("status", False), ("on", True), ("off", False)):
            readable = costs(database_url, word)
            assert {shown for columns in readable.values() for shown in columns.values()} == {is_shown}
            with signed_in(connection, "authenticated", {"sub": "ann"}):
                if is_shown:
                    assert len(connection.execute(question.encode()).fetchall()) <= 1
                    continue
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(question.encode())
        with signed_in(connection, "authenticated", {"sub": "ann"}):
            assert connection.execute("select user_id from conversation_runs").fetchall() == [("ann",)]
    finally:
        costs(database_url, "off")
