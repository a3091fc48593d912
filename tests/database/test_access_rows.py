"""Which rows each signed-in user reads, changes and removes, table by table, as PostgREST asks for them.

In both of Supabase's regimes of default privileges, and on a plain PostgreSQL. `granted.py` says which verbs and
columns there are at all; here it is whose rows. A table that comes to be granted and is not filled here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fix_postgres import Regime
from granted import COLUMNS, TABLES
from psycopg import sql
from read_rows import at, call, ingest, message, run, span
from roles import signed_in

from chopsky_trace.database import migrate
from chopsky_trace.database.connect import Connection

OWNERS: dict[str | None, str | None] = {"ann": "one", "ben": "one", "cleo": "two", "dora": None, None: "one"}
"""Whose rows there are, and their tenants; None: nobody's."""
Seen = set[str | None]


@dataclass(frozen=True)
class Reader:
    """Who asks, and whose rows they may read and change."""

    claims: dict[str, Any]
    reads: frozenset[str | None]
    changes: frozenset[str | None]


def own(user: str, tenant: str | None) -> Reader:
    claims: dict[str, Any] = {"sub": user, "app_metadata": {"tenant_id": tenant} if tenant else {}}
    return Reader(claims, frozenset({user}), frozenset({user}))


READERS = {
    "ann": own("ann", "one"),
    "cleo": own("cleo", "two"),
    "dora, of no tenant": own("dora", None),
    "an admin of one": Reader(
        {"sub": "root", "app_metadata": {"tenant_id": "one", "chopsky_role": "admin"}},
        frozenset({"ann", "ben", None}),
        frozenset(),
    ),
    "ann, claiming another tenant": Reader(
        {"sub": "ann", "app_metadata": {"tenant_id": "two"}}, frozenset(), frozenset()
    ),
    "who writes it into user_metadata": Reader(
        {"sub": "eve", "user_metadata": {"tenant_id": "one", "chopsky_role": "admin"}}, frozenset(), frozenset()
    ),
    "a token without a subject": Reader({}, frozenset(), frozenset()),
}
OWNED = sorted(table for table, verbs in COLUMNS.items() if "user_id" in verbs.get("SELECT", ()))
KEYS = {"user_id", "conversation_run_id", "message_id", "key"}
"""Columns that a change would make it another's row with."""


def fill(connection: Connection) -> None:
    """Rows of everybody in every table that a signed-in user may read."""
    for user, tenant in OWNERS.items():
        name = f"of {user}"
        ingest(
            connection,
            span(name, "top"),
            call(name, "call", parent="top", cost="0.5"),
            message(name, "asks", "user", 0),
            message(name, "hears", "assistant", 1),
            message(name, "told", "system", 0, is_internal=True),
            runs=[run(name, started_at=at(0), user_id=user, tenant_id=tenant, session_id="1", project="p")],
        )
        if user is not None:
            connection.execute(
                "insert into user_profiles (user_id, tenant_id, email) values (%s, %s, %s)",
                [user, tenant, f"{user}@example.com"],
            )
    connection.execute(
        "insert into conversation_feedback (message_id, user_id, thumbs)"
        " select id, user_id, 'up' from conversation_messages where role = 'assistant'"
    )


@pytest.fixture(params=["shim", "legacy", "plain"])
def filled(request: pytest.FixtureRequest, make_database: Callable[[Regime], str]) -> Iterator[Connection]:
    with psycopg.connect(make_database(request.param), autocommit=True, prepare_threshold=None) as connection:
        migrate.migrate(connection)
        fill(connection)
        yield connection


def asking(connection: Connection, claims: dict[str, Any] | None) -> AbstractContextManager[None]:
    """One request: of a signed-in user, or of nobody."""
    return signed_in(connection, "anon" if claims is None else "authenticated", claims)


def whose(connection: Connection, statement: sql.Composed) -> Seen:
    """The users of the rows that a statement returns, in the shape that PostgREST gives it."""
    shaped = sql.SQL(
        "with pgrst_source as ({}) select coalesce(json_agg(_postgrest_t), '[]')"
        " from (select * from pgrst_source) _postgrest_t"
    )
    row = connection.execute(shaped.format(statement)).fetchone()
    assert row is not None
    return {one["user_id"] for one in row[0]}


def statements(table: str) -> dict[str, sql.Composed]:
    name = sql.Identifier(table)
    made = {"SELECT": sql.SQL("select user_id from {}").format(name)}
    changed = sorted(COLUMNS[table].get("UPDATE", set()) - KEYS)
    if changed:
        column = sql.Identifier(changed[0])
        made["UPDATE"] = sql.SQL("update {} set {} = {} returning user_id").format(name, column, column)
    if "DELETE" in TABLES.get(table, ()):
        made["DELETE"] = sql.SQL("delete from {} returning user_id").format(name)
    return made


def test_rows_are_read_and_changed_by_whom_they_belong_to(filled: Connection):
    wrong: list[tuple[str, str, str, Seen]] = []
    for table in OWNED:
        owners = whose(filled, sql.SQL("select user_id from {}").format(sql.Identifier(table)))
        assert owners >= {"ann", "ben", "cleo", "dora"}, f"{table} is not filled"
        for verb, statement in statements(table).items():
            for who, reader in READERS.items():
                with asking(filled, reader.claims):
                    seen = whose(filled, statement)
                meant = (reader.reads if verb == "SELECT" else reader.changes) & owners
                if seen != meant:
                    wrong.append((table, verb, who, seen))
    assert wrong == []


def test_nobody_signed_in_reads_or_changes_anything(filled: Connection):
    tables = filled.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
    )
    for (table,) in tables.fetchall():
        name = sql.Identifier(table)
        for statement in ("select from {}", "insert into {} default values", "delete from {}", "truncate {}"):
            with (
                asking(filled, None),
                pytest.raises(
                    (
                        psycopg.errors.InsufficientPrivilege,
                        psycopg.errors.WrongObjectType,
                        psycopg.errors.ObjectNotInPrerequisiteState,
                    )
                ),
            ):
                filled.execute(sql.SQL(statement).format(name))


def test_a_tenants_sums_are_for_its_admin(filled: Connection):
    """usage_totals has no users: only who reads the whole tenant reads it."""
    for who, reader in READERS.items():
        with asking(filled, reader.claims):
            rows = filled.execute("select distinct tenant_id from usage_totals").fetchall()
        assert rows == ([("one",)] if who == "an admin of one" else []), who


def test_functions_show_what_their_caller_may_see(filled: Connection):
    ids = dict(filled.execute("select user_id, id from conversation_sessions where user_id is not null").fetchall())
    for user, session in ids.items():
        for who, reader in READERS.items():
            with asking(filled, reader.claims):
                said = filled.execute("select content from get_conversation_history(%s)", [session]).fetchall()
            assert bool(said) == (user in reader.reads), (user, who)
