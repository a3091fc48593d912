"""Profiles, usage per call and per user, archiving, and sample data that go without a trace."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from read_rows import agent_turn, at, ident, ingest, run, span
from roles import signed_in

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection

TABLES = (
    "conversation_runs", "conversation_messages", "conversation_spans", "conversation_analytics",
    "conversation_sessions", "conversation_contents", "conversation_prefixes", "user_profiles",
)  # fmt: skip


def cli(url: str, *arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"], env={"CHOPSKY_TRACE_DATABASE_URL": url})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def everything(connection: Connection) -> dict[str, list[Any]]:
    """Every row of every table."""
    found: dict[str, list[Any]] = {}
    for table in TABLES:
        query = sql.SQL("select to_jsonb(t) from {} t order by to_jsonb(t)::text").format(sql.Identifier(table))
        found[table] = connection.execute(query).fetchall()
    return found


@pytest.fixture
def profiles(connection: Connection) -> None:
    for user, tenant in (("ann", "acme"), ("ben", "acme"), ("cleo", "other"), ("dora", None)):
        connection.execute(
            "insert into user_profiles (user_id, tenant_id, email, monthly_cost_limit_usd) values (%s, %s, %s, 5)",
            [user, tenant, f"{user}@example.com"],
        )


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize(
    ("claims", "seen"),
    [
        ({"sub": "ann", "app_metadata": {"tenant_id": "acme"}}, ["ann"]),
        ({"sub": "dora"}, ["dora"]),
        ({"sub": "ann", "app_metadata": {"tenant_id": "other"}}, []),
        ({"sub": "boss", "app_metadata": {"tenant_id": "acme", "chopsky_role": "admin"}}, ["ann", "ben"]),
        ({}, []),
    ],
)
def test_a_profile_is_its_users_and_its_tenants_admins(
    connection: Connection, claims: dict[str, object], seen: list[str]
):
    with signed_in(connection, "authenticated", claims):
        rows = connection.execute("select id, email from user_profiles order by 1").fetchall()
        changed = connection.execute("update user_profiles set display_name = 'me'").rowcount
    assert [row[0] for row in rows] == seen
    assert changed == (1 if claims.get("sub") in seen else 0), "an admin reads, and changes nothing"


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize(
    "statement",
    [
        "update user_profiles set role = 'admin'",
        "update user_profiles set daily_token_limit = null",
        "update user_profiles set monthly_cost_limit_usd = 1000",
        "update user_profiles set tenant_id = 'other'",
        "update user_profiles set email = 'x@example.com'",
        "select monthly_cost_limit_usd from user_profiles",
        "insert into user_profiles (user_id, role) values ('eve', 'admin')",
        "delete from user_profiles",
        "truncate user_profiles",
        "select * from usage_logs",
        "select * from user_activity_summary",
        "select * from performance_stats",
        "select archive_old_messages()",
        "select generate_sample_data('eve@example.com')",
        "select cleanup_test_data()",
    ],
)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_role_and_limits_are_nobodys_to_take(connection: Connection, role: str, statement: str):
    claims = {"sub": "ann", "app_metadata": {"tenant_id": "acme"}} if role == "authenticated" else None
    with signed_in(connection, role, claims), pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("column", "value"), [("role", "owner"), ("daily_token_limit", -1), ("daily_cost_limit_usd", "NaN")]
)
def test_a_profile_takes_what_makes_sense(connection: Connection, column: str, value: object):
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            sql.SQL("insert into user_profiles (user_id, {}) values ('x', %s)").format(sql.Identifier(column)), [value]
        )


@pytest.mark.usefixtures("profiles")
def test_usage_is_a_row_per_call_and_sums_up_by_user(connection: Connection):
    agent_turn(connection, user_id="ann", tenant_id="acme", session_id="1", project="p")
    connection.execute(
        "insert into conversation_messages (session_id, user_id, tenant_id, role, content, token_count, cost, model)"
        " values ('1', 'ann', 'acme', 'assistant', 'By hand', 7, 0.001, 'm')"
    )
    with signed_in(connection, "service_role"):
        rows = connection.execute(
            "select l.id, l.user_id, l.conversation_id = s.id, m.role, l.action, l.provider, l.model, l.tokens_used,"
            " l.cost_usd, l.metadata from usage_logs l left join conversation_messages m on m.id = l.message_id,"
            " conversation_sessions s order by l.created_at"
        ).fetchall()
        summary = connection.execute(
            "select user_id, email, total_conversations, total_runs, total_messages, total_tokens_used,"
            " total_cost_usd from user_activity_summary order by total_cost_usd desc nulls last, user_id"
        ).fetchall()
        stats = connection.execute("select * from performance_stats").fetchall()
    assert [str(row[0]) for row in rows[:2]] == [ident("turn", "plan"), ident("turn", "answer")]
    assert [row[1:9] for row in rows] == [
        ("ann", True, "assistant", "llm", "openai", "gpt-4o-mini", 120, Decimal("0.000123")),
        ("ann", True, "assistant", "llm", "openai", "gpt-4o-mini", 180, Decimal("0.0002")),
        ("ann", True, "assistant", "message", None, "m", 7, Decimal("0.001")),
    ]
    assert summary[0] == ("ann", "ann@example.com", 1, 1, 3, 307, Decimal("0.001323"))
    assert [row[:6] for row in summary[1:]] == [
        (user, f"{user}@example.com", 0, 0, 0, None) for user in ("ben", "cleo", "dora")
    ]
    assert {"conversation_runs", "user_profiles"} <= {row[0] for row in stats}


def test_old_conversations_are_archived_and_nothing_else_changes(connection: Connection):
    for name, tenant, ended in (("old", "a", at(0)), ("older", "b", at(0)), ("new", "a", None)):
        scope = {"session_id": name, "tenant_id": tenant, "user_id": "ann"}
        ingest(
            connection,
            *([span(name, name)] if ended else []),
            runs=[run(name, **scope) | ({} if ended else {"started_at": None})],
        )

    def left() -> list[tuple[Any, ...]]:
        return connection.execute(
            "select session_id from conversation_sessions where not is_archived order by 1"
        ).fetchall()

    assert connection.execute("select archive_old_messages(tenant_id => 'a')").fetchone() == (1,)
    assert left() == [("new",), ("older",)]
    assert connection.execute("select archive_old_messages('1 day')").fetchone() == (1,)
    assert connection.execute("select archive_old_messages()").fetchone() == (0,)
    assert left() == [("new",)]
    rows = connection.execute("select distinct by_hand, state from conversation_sessions").fetchall()
    assert rows == [(False, "initial")]


def test_sample_data_come_and_go(connection: Connection, database_url: str):
    agent_turn(connection, user_id="ann", session_id="1", project="p")
    connection.execute("insert into user_profiles (user_id, email) values ('ann', 'Ann@example.com')")
    before = everything(connection)
    made = cli(database_url, "seed", "--email", "test@example.com")
    assert made["made"] == {"profiles": 1, "conversations": 3, "runs": 6, "messages": 12, "calls": 6}
    assert cli(database_url, "seed", "--email", "test@example.com")["made"]["conversations"] == 0
    own = cli(database_url, "seed", "--email", "ann@example.com")
    assert (own["user_id"], own["made"]["profiles"], own["made"]["runs"]) == ("ann", 0, 6)
    # As good as any: totals, order, prompts.
    assert cli(database_url, "check")["total"] == 0
    titles = connection.execute(
        "select s.title, t.total_runs, t.total_messages, t.total_cost > 0 from conversation_sessions s"
        " join conversation_session_totals t using (id) where s.user_id = %s order by s.created_at",
        [made["user_id"]],
    ).fetchall()
    assert titles == [
        ("Dinner from the pantry", 2, 4, True),
        ("Shopping list", 2, 4, True),
        ("How long does soup keep?", 2, 4, True),
    ]
    prompt = connection.execute(
        "select p.content from (select id from conversation_spans where kind = 'llm' and provider = 'anthropic'"
        " order by started_at desc limit 1) s cross join lateral conversation_prompt(s.id) p order by p.position"
    ).fetchall()
    assert [row[0][:11] for row in prompt] == ["What do I n", "Two tins of", "Make it mil"]
    removed = cli(database_url, "unseed")["removed"]
    assert removed == {"profiles": 1, "conversations": 6, "runs": 12, "messages": 24, "calls": 12}
    assert everything(connection) == before
    assert set(cli(database_url, "unseed")["removed"].values()) == {0}


def test_what_somebody_added_to_sample_data_stays(connection: Connection, database_url: str):
    user = cli(database_url, "seed")["user_id"]
    row = connection.execute("select session_id from conversation_sessions where title like 'Shop%'").fetchone()
    assert row is not None
    ingest(
        connection, span("mine", "mine"), runs=[run("mine", session_id=row[0], user_id=user, project="sample")]
    )  # fmt: skip
    assert cli(database_url, "unseed")["removed"]["conversations"] == 2
    rows = connection.execute("select r.id, s.title, s.metadata from conversation_runs r, conversation_sessions s")
    assert [(str(run_id), title, metadata) for run_id, title, metadata in rows] == [
        (ident("mine"), "Shopping list", {})
    ]


def test_seed_says_what_it_did(database_url: str, connection: Connection):
    def said(*arguments: str) -> str:
        return CliRunner().invoke(main, arguments, env={"CHOPSKY_TRACE_DATABASE_URL": database_url}).stdout

    assert "Made 1 profile, 3 conversations, 6 runs, 12 messages and 6 calls for sample@example.com" in said("seed")
    assert "are there already" in said("seed")
    assert "Removed 1 profile, 3 conversations, 6 runs, 12 messages and 6 calls." in said("unseed")
    assert "There are no sample data." in said("unseed")
    for wrong in ("ann", "", "ann@", "a b@example.com"):
        refused = CliRunner().invoke(main, ["seed", "--email", wrong, "--database-url", database_url])
        assert (refused.exit_code, "no address like" in refused.stderr) == (2, True)
        with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"like ann@example\.com"):
            connection.execute("select generate_sample_data(%s)", [wrong])
