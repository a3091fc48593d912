"""What Supabase's linter looks for, and what we mean to grant, asserted on the catalogue."""

from __future__ import annotations

import re

import pytest
from granted import COLUMNS, DEFINERS, FUNCTIONS, SERVICE_TABLES, TABLES

from chopsky_trace.database.connect import Connection

API_ROLES = ("public", "anon", "authenticated", "service_role")
OUR_TABLES = "c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')"


def column(connection: Connection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def without_subselects(text: str) -> str:
    """A policy's text without what stands in ( SELECT ... ), which runs once per statement."""
    while (start := text.find("( SELECT")) >= 0:
        end, depth = start, 0
        for end in range(start, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        text = text[:start] + text[end + 1 :]
    return text


def test_every_table_has_row_level_security_and_a_policy(connection: Connection):
    tables = column(connection, f"select relname from pg_class c where {OUR_TABLES}")
    assert "conversation_runs" in tables
    assert column(connection, f"select relname from pg_class c where {OUR_TABLES} and not relrowsecurity") == []
    policy = "exists (select 1 from pg_policy p where p.polrelid = c.oid)"
    assert column(connection, f"select relname from pg_class c where {OUR_TABLES} and not {policy}") == []


def test_every_table_has_a_primary_key(connection: Connection):
    key = "exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary)"
    assert column(connection, f"select relname from pg_class c where {OUR_TABLES} and not {key}") == []


def test_one_policy_per_role_and_command(connection: Connection):
    rows = connection.execute(
        "select tablename, r::text, case cmd when 'ALL' then x else cmd end as verb, count(*) from pg_policies,"
        " unnest(roles) r,"
        " unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) x where schemaname = 'public' and permissive ="
        " 'PERMISSIVE'"
        " and (cmd = 'ALL' or cmd = x) group by 1, 2, 3 having count(*) > 1"
    ).fetchall()
    assert rows == []


def test_policies_ask_for_the_token_once_per_statement(connection: Connection):
    rows = connection.execute(
        "select policyname, coalesce(qual, '') || coalesce(with_check, '') from pg_policies where schemaname = 'public'"
    )
    texts = dict(rows.fetchall())
    assert any("auth.jwt" in text for text in texts.values())
    for name, text in texts.items():
        assert not re.search(r"auth\.|chopsky_", without_subselects(text)), name
        assert "user_metadata" not in text
        # As Supabase's linter reads it.
        assert "auth.jwt()" not in text or "select auth.jwt()" in text.lower(), name


def test_functions_pin_their_search_path_and_run_as_their_caller(connection: Connection):
    rows = connection.execute(
        "select proname, prosecdef, coalesce(proconfig, '{}') from pg_proc where pronamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(rows) > 5
    assert [name for name, _, config in rows if 'search_path=""' not in config] == []
    assert {name for name, definer, _ in rows if definer} == DEFINERS


def test_functions_that_read_by_index_are_not_compiled(connection: Connection):
    # Before PostgreSQL 18 a scan that cannot be avoided costs so much on paper that the plan is compiled, for seconds.
    found = connection.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and 'enable_seqscan=off' = any (proconfig) and 'jit=off' <> all (proconfig)"
    ).fetchall()
    assert found == []


def test_views_check_their_callers_rights(connection: Connection):
    views = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')"
    assert column(connection, views + " and coalesce(not ('security_invoker=true' = any (reloptions)), true)") == []
    assert column(connection, views + " and relkind = 'm'") == []


def test_foreign_keys_are_indexed(connection: Connection):
    query = """
    select n.conname from pg_constraint n
    where n.contype = 'f' and n.connamespace = 'public'::regnamespace and not exists (
        select 1 from pg_index i where i.indrelid = n.conrelid and i.indpred is null
            and (i.indkey::int2[])[0:cardinality(n.conkey) - 1] @> n.conkey
    )"""
    assert column(connection, query) == []


def test_no_index_is_there_twice(connection: Connection):
    query = """
    select a.indexrelid::regclass::text from pg_index a join pg_index b
        on a.indrelid = b.indrelid and a.indexrelid > b.indexrelid and a.indkey::text = b.indkey::text
        and a.indclass = b.indclass and a.indoption::text = b.indoption::text
        and pg_get_expr(a.indpred, a.indrelid) is not distinct from pg_get_expr(b.indpred, b.indrelid)
        and pg_get_expr(a.indexprs, a.indrelid) is not distinct from pg_get_expr(b.indexprs, b.indrelid)
    where a.indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)"""
    assert column(connection, query) == []


def test_the_documents_indexes_are_there(connection: Connection):
    there = set(column(connection, "select indexname from pg_indexes where schemaname = 'public'"))
    assert {
        "idx_conversation_runs_user_id_created_at",
        "idx_conversation_runs_status_created_at",
        "idx_conversation_messages_conversation_run_id_created_at",
        "idx_conversation_analytics_conversation_run_id",
    } <= there


@pytest.mark.parametrize("role", API_ROLES)
def test_tables_are_granted_as_meant(connection: Connection, role: str):
    rows = connection.execute(
        f"""
        select c.relname, x.privilege_type
        from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
        where {OUR_TABLES} and x.grantee = case %(role)s when 'public' then 0 else to_regrole(%(role)s)::oid end
        """.encode(),
        {"role": role},
    ).fetchall()
    granted: dict[str, set[str]] = {}
    for table, privilege in rows:
        granted.setdefault(table, set()).add(privilege)
    tables = column(connection, f"select relname from pg_class c where {OUR_TABLES}")
    if role == "service_role":
        verbs = {"SELECT", "INSERT", "UPDATE", "DELETE"}
        assert granted == {table: verbs for table in tables} | SERVICE_TABLES
    elif role == "authenticated":
        assert granted == TABLES, "not even TRUNCATE, REFERENCES, TRIGGER or MAINTAIN"
    else:
        assert granted == {}, "not even TRUNCATE, REFERENCES, TRIGGER or MAINTAIN"


def test_columns_are_granted_as_meant(connection: Connection):
    rows = connection.execute(
        "select c.relname, a.attname, x.grantee::regrole::text, x.privilege_type from pg_class c join"
        " pg_attribute a on a.attrelid = c.oid"
        f" cross join aclexplode(a.attacl) x where {OUR_TABLES}".encode()
    ).fetchall()
    assert {role for _, _, role, _ in rows} == {"authenticated"}
    granted: dict[str, dict[str, set[str]]] = {}
    for table, name, _, verb in rows:
        granted.setdefault(table, {}).setdefault(verb, set()).add(name)
    assert granted == COLUMNS


def test_functions_are_granted_as_meant(connection: Connection):
    rows = connection.execute(
        "select p.proname, case x.grantee when 0 then 'public' else x.grantee::regrole::text end from pg_proc p,"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x"
        " where p.pronamespace = 'public'::regnamespace and x.grantee <> p.proowner"
    ).fetchall()
    granted: dict[str, set[str]] = {}
    for name, role in rows:
        granted.setdefault(role, set()).add(name)
    assert set(granted) == {"authenticated", "service_role"}
    assert granted["authenticated"] == FUNCTIONS
    triggers = set(
        column(
            connection,
            "select proname from pg_proc where pronamespace = 'public'::regnamespace and prorettype ="
            " 'trigger'::regtype",
        )
    )
    everything = set(column(connection, "select proname from pg_proc where pronamespace = 'public'::regnamespace"))
    assert granted["service_role"] == everything - triggers
