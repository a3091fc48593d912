"""Whether a signed-in user may read what their own conversations cost."""

from __future__ import annotations

from itertools import groupby

from psycopg import sql

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection

Readable = dict[str, dict[str, bool]]
"""By table and column."""


def status(connection: Connection) -> Readable:
    """Which columns of costs and tokens `authenticated` may read.

    Raises:
        psycopg.Error: the role `authenticated` is missing, or the database does not answer.
    """
    rows = connection.execute(statements.load("costs.sql")["columns"]).fetchall()
    return {
        table: {column: is_readable for _, column, is_readable in columns}
        for table, columns in groupby(rows, key=lambda row: row[0])
    }


def show(connection: Connection, *, shown: bool) -> Readable:
    """Grant the columns to `authenticated`, or take the grants back; row level security keeps saying which rows.

    Raises:
        psycopg.errors.InsufficientPrivilege: only the tables' owner may.
    """
    change = (
        "grant select ({}) on public.{} to authenticated"
        if shown
        else ("revoke select ({}) on public.{} from authenticated")
    )
    with connection.transaction():
        for table, columns in status(connection).items():
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            connection.execute(sql.SQL(change).format(names, sql.Identifier(table)))
    return status(connection)
