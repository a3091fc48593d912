"""What the server counts about our tables: sizes, index use, slow statements, connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.steps import steps
from chopsky_trace.errors import SchemaError

Row = dict[str, Any]

HOW_TO_COUNT = (
    "create extension pg_stat_statements with schema extensions (Supabase has it on; elsewhere leave out the schema, "
    "set shared_preload_libraries = 'pg_stat_statements' and restart the server first)"
)
# Below these a hint would only tell of a small database.
DEAD_ROWS, DEAD_SHARE = 10_000, 0.2
UNUSED_BYTES = 50_000_000
UNANALYZED_ROWS = 10_000
CONNECTIONS_SHARE = 0.8
LONG_TRANSACTION_S = 300.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Rows have the names of the columns in sql/stats.sql."""

    server: Row
    tables: list[Row]
    indexes: list[Row]
    slow: list[Row] | None
    """None where the server does not count statements."""
    connections: list[Row]
    hints: list[str]
    """What to do about what stands out."""


def look(connection: Connection, limit: int) -> Stats:
    """What the server has counted.

    Args:
        connection: of any role; what other roles' statements say is shown to pg_read_all_stats alone.
        limit: most statements.

    Raises:
        SchemaError: our tables are missing.
    """
    names = sorted(frozenset[str](("chopsky_migrations",)).union(*(step.creates for step in steps())))
    (server,) = _rows(connection, "server_limits")
    tables = _rows(connection, "table_sizes", tables=names)
    if not tables:
        raise SchemaError("The database has none of our tables")
    indexes = _rows(connection, "index_use", tables=names)
    connected = _rows(connection, "connections")
    slow = _slow(connection, server.pop("statements_schema"), names, limit)
    hints = [*_table_hints(tables), *_index_hints(indexes), *_connection_hints(server, connected)]
    if slow is None:
        hints.append(f"No statements are counted; to turn that on: {HOW_TO_COUNT}")
    return Stats(server, tables, indexes, slow, connected, hints)


def _rows(connection: Connection, name: str, **parameters: object) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statements.load("stats.sql")[name], parameters).fetchall()


def _slow(connection: Connection, schema: str | None, names: list[str], limit: int) -> list[Row] | None:
    if schema is None:
        return None
    # Wherever somebody put the extension.
    query = sql.SQL(statements.load("stats.sql")["slow_statements"]).format(
        schema=sql.SQL(cast("LiteralString", schema))
    )
    try:
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, {"names": names, "limit": limit}).fetchall()
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege):
        # The extension is there, but the server did not load its library, or this role may not look.
        return None


def _table_hints(tables: list[Row]) -> list[str]:
    hints: list[str] = []
    for row in tables:
        if (row["dead_rows"] or 0) >= DEAD_ROWS and row["dead_share"] >= DEAD_SHARE:
            hints.append(
                f"{row['dead_share']:.0%} of {row['name']} are dead rows: vacuum (analyze) public.{row['name']}"
            )
        elif row["analyzed_at"] is None and (row["live_rows"] or 0) >= UNANALYZED_ROWS:
            hints.append(f"The planner knows nothing of {row['name']}: analyze public.{row['name']}")
    return hints


def _index_hints(indexes: list[Row]) -> list[str]:
    hints: list[str] = []
    for row in indexes:
        if not row["is_valid"]:
            hints.append(f"The index {row['name']} is not valid: reindex index concurrently public.{row['name']}")
        elif not row["is_unique"] and row["scans"] == 0 and row["bytes"] >= UNUSED_BYTES:
            hints.append(f"Nothing has read the index {row['name']} since the server began to count")
    return hints


def _connection_hints(server: Row, connected: list[Row]) -> list[str]:
    hints: list[str] = []
    taken, most = server["all_connections"], server["most_connections"]
    if taken >= CONNECTIONS_SHARE * most:
        hints.append(f"{taken} of {most} connections are taken: a transaction pooler lets more clients share them")
    for row in connected:
        if row["state"].startswith("idle in transaction") and (row["longest_s"] or 0) >= LONG_TRANSACTION_S:
            who = row["application"] or row["role"]
            hints.append(
                f"{who} has left a transaction open for {row['longest_s']:.0f} s: vacuum cannot clean behind it"
            )
    return hints
