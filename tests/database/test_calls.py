"""The view of model calls: what follows from their times, who may read it, and the commands that show it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from read_rows import call, ident, ingest, run, span

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection

STREAMED = {"response_time_ms": 1500, "time_to_first_token_ms": 500, "output_tokens": 40}


def speed(connection: Connection, **columns: Any) -> Decimal | None:
    """Output tokens a second of a call with these columns."""
    ingest(connection, span("r", "r"), call("r", "call", parent="r", **columns), runs=[run("r")])
    row = connection.execute("select output_tokens_per_second from conversation_calls").fetchall()
    assert len(row) == 1
    return row[0][0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (STREAMED, "40.000"),
        (STREAMED | {"time_to_first_token_ms": None}, "26.667"),
        (STREAMED | {"output_tokens": 0}, "0.000"),
        (STREAMED | {"output_tokens": None}, None),
        (STREAMED | {"response_time_ms": None}, None),
        (STREAMED | {"response_time_ms": 500}, None),
        # Clocks that are not of one machine.
        (STREAMED | {"response_time_ms": 400}, None),
        (STREAMED | {"usage_details": {"cache_hit": True}}, None),
        (STREAMED | {"usage_details": ["odd"]}, "40.000"),
        (STREAMED | {"output_tokens": 9_000_000_000_000_000}, "9000000000000000.000"),
    ],
)
def test_output_tokens_per_second(connection: Connection, columns: dict[str, Any], expected: str | None):
    assert speed(connection, **columns) == (None if expected is None else Decimal(expected))


def test_one_row_per_call_with_its_runs_names(connection: Connection):
    ingest(
        connection,
        span("r", "r"),
        call("r", "first", parent="r", status="failed", error="TimeoutError", usage_details={"cache_hit": True}),
        call("r", "second", parent="r", kind="embedding"),
        call("r", "third", parent="r", kind="image"),
        span("r", "tool", parent="r", kind="tool"),
        runs=[run("r", user_id="ana", tenant_id="acme", session_id="s", project="kitchen")],
    )
    query = (
        "select name, kind, status, error, cache_hit, session_id, user_id, tenant_id, project,"
        " conversation_run_id::text from conversation_calls order by name"
    )
    same = ("s", "ana", "acme", "kitchen", ident("r"))
    assert connection.execute(query.encode()).fetchall() == [
        ("first", "llm", "failed", "TimeoutError", True, *same),
        ("second", "embedding", "completed", None, False, *same),
        ("third", "image", "completed", None, False, *same),
    ]


def test_only_the_service_reads_it(connection: Connection, admin: Connection):
    speed(connection, **STREAMED)
    grants = "select grantee, privilege_type from information_schema.role_table_grants where table_name = %s"
    found = admin.execute(grants.encode(), ["conversation_calls"]).fetchall()
    assert [grant for grant in found if grant[0] in ("PUBLIC", "anon", "authenticated")] == []
    assert [grant[1] for grant in found if grant[0] == "service_role"] == ["SELECT"]
    connection.execute("set role authenticated")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from conversation_calls")
    connection.execute("reset role")


def test_every_column_says_what_it_is(connection: Connection):
    query = (
        "select attname from pg_attribute where attrelid = 'public.conversation_calls'::regclass and attnum > 0"
        " and col_description(attrelid, attnum) is null order by attnum"
    )
    assert connection.execute(query.encode()).fetchall() == []
    found = connection.execute("select obj_description('public.conversation_calls'::regclass)").fetchone()
    assert found is not None
    assert found[0].startswith("One row per model call")


def test_show_and_cost_tell_it(connection: Connection, database_url: str):
    speed(connection, **STREAMED)

    def told(*arguments: str, width: str = "160") -> str:
        environment = {"CHOPSKY_TRACE_DATABASE_URL": database_url, "COLUMNS": width}
        return CliRunner().invoke(main, arguments, env=environment).stdout

    for id in ("r", "call"):
        text = told("show", ident("r", "call") if id == "call" else ident("r"))
        assert "first token 500 ms, 40 tokens/s" in text
    (row,) = json.loads(told("cost", "--json"))["rows"]
    assert (row["time_to_first_token_ms"], row["output_tokens_per_second"]) == ("500.000", "40.000")
    assert "Tokens/s" in told("cost")
    assert "Tokens/s" not in told("cost", width="80")
    assert "Tokens/s" not in told("cost", "--by", "user")
