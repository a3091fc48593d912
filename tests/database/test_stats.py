"""`db stats`: what the server counts, as the catalogue itself has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from fix_postgres import Server, as_user, worker_name
from read_rows import agent_turn

from chopsky_trace.cli import main
from chopsky_trace.database import migrate, stats
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import SchemaError


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


@pytest.fixture
def counting(logical_server: Server) -> Iterator[str]:
    """A migrated database of a server that counts statements; its URL."""
    name = f"counting_{worker_name()}"
    logical_server.create(name, "shim")
    with logical_server.admin(name) as admin:
        admin.execute("create extension pg_stat_statements with schema extensions")
    with connect(logical_server.url(name)) as connection:
        migrate.migrate(connection)
    yield logical_server.url(name)
    logical_server.drop(name)


def answer(url: str, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["db", "stats", "--json", "--database-url", url, *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_table_of_ours_with_its_size_and_rows(connection: Connection, database_url: str):
    agent_turn(connection)
    connection.execute("analyze")
    connection.execute("create table public.not_ours (id integer)")
    found = answer(database_url)
    connection.execute("drop table public.not_ours")
    expected = connection.execute(
        "select tablename, pg_total_relation_size(format('public.%I', tablename)::regclass) from pg_tables"
        " where schemaname = 'public'"
    ).fetchall()
    assert {row["name"]: row["total_bytes"] for row in found["tables"]} == dict(expected)
    assert all(row["total_bytes"] == row["table_bytes"] + row["index_bytes"] for row in found["tables"])
    spans = next(row for row in found["tables"] if row["name"] == "conversation_spans")
    assert connection.execute("select count(*) from public.conversation_spans").fetchone() == (spans["estimated_rows"],)


def test_which_indexes_are_read(connection: Connection, database_url: str):
    name = "idx_conversation_runs_user_id_created_at"
    before = next(row["scans"] for row in answer(database_url)["indexes"] if row["name"] == name)
    with connection.transaction():
        connection.execute("set local enable_seqscan = off")
        connection.execute("select id from public.conversation_runs where user_id = 'ann'")
    connection.execute("select pg_stat_force_next_flush()")
    found = answer(database_url)["indexes"]
    assert next(row["scans"] for row in found if row["name"] == name) > before
    indexes = connection.execute("select count(*) from pg_indexes where schemaname = 'public'").fetchone()
    assert (len(found),) == indexes


def test_slow_statements_are_ours_and_hold_no_values(counting: str):
    with connect(counting) as connection:
        connection.execute("select name from public.conversation_runs where user_id = 'a-user-of-mine'")
        connection.execute("select 'another-of-mine'")
        connection.execute("comment on table public.conversation_runs is 'a-comment-of-mine'")
        found = answer(counting, "--limit", "1000")
        texts = [row["statement"] for row in found["slow"]]
        assert [text for text in texts if "where user_id = $1" in text]
        assert not [text for text in texts if "a-user-of-mine" in text or "-of-mine" in text]
        times = [row["mean_ms"] for row in found["slow"]]
        assert times == sorted(times, reverse=True)
        assert len(answer(counting, "--limit", "2")["slow"]) == 2
        # A role that may not see others' statements sees none of their texts.
        stranger = answer(as_user(counting, "authenticator"), "--limit", "1000")
        assert "where user_id = $1" not in json.dumps(stranger["slow"])


def test_how_to_count_statements_is_told_where_nobody_does(database_url: str, connection: Connection):
    found = answer(database_url)
    assert found["slow"] is None
    assert "create extension pg_stat_statements" in found["hints"][-1]


def test_an_extension_whose_library_is_not_loaded_is_no_failure(
    database_url: str, admin: Connection, connection: Connection
):
    admin.execute("create extension pg_stat_statements with schema extensions")
    try:
        assert answer(database_url)["slow"] is None
    finally:
        admin.execute("drop extension pg_stat_statements")


def test_connections_and_a_transaction_left_open(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stats, "LONG_TRANSACTION_S", 0.0)
    with psycopg.connect(database_url, application_name="forgetful") as left:
        left.execute("select 1")
        found = answer(database_url)
        row = next(row for row in found["connections"] if row["application"] == "forgetful")
        assert (row["role"], row["state"], row["connections"]) == ("postgres", "idle in transaction", 1)
        assert [hint for hint in found["hints"] if hint.startswith("forgetful has left a transaction open")]


def test_hints_on_dead_rows(connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats, "DEAD_ROWS", 3)
    agent_turn(connection)
    connection.execute("delete from public.conversation_spans")
    connection.execute("select pg_stat_force_next_flush()")
    hints = answer(database_url)["hints"]
    assert [hint for hint in hints if hint.endswith("vacuum (analyze) public.conversation_spans")]
    connection.execute("vacuum (analyze) public.conversation_spans")
    assert not [hint for hint in answer(database_url)["hints"] if "conversation_spans" in hint]


def test_the_text_is_a_table_each(counting: str):
    result = CliRunner().invoke(
        main, ["db", "stats", "--limit", "500", "--database-url", counting], env={"COLUMNS": "100"}
    )
    assert result.exit_code == 0, result.output
    for words in ("conversation_runs", "conversation_runs_pkey", "Statement", "Connections", "in all"):
        assert words in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("hint: ")) <= 100


def test_without_our_tables_it_says_so(fresh_database: str):
    with connect(fresh_database) as connection, pytest.raises(SchemaError, match="chopsky-trace migrate"):
        stats.look(connection, 10)
