"""Supabase Realtime: our tables in its publication, each with the columns that a signed-in user may read.

Realtime evaluates row level security and the grants of columns for every subscriber. The publication's column list
does the same for whoever else reads the stream. A list cannot stand beside `replica identity full` (every UPDATE would
fail), and a column in it cannot be dropped: so `on` refuses the one, and a rollback takes the tables out for the while.
A deletion is told to everybody, and of it the primary key alone.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql
from psycopg.rows import dict_row

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import RealtimeError, SchemaError

PUBLICATION = "supabase_realtime"
TABLES = ("conversation_runs", "conversation_messages", "conversation_feedback")
Row = dict[str, Any]
State = Literal["on", "off", "outdated", "unsafe"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What of one table is sent."""

    table: str
    state: State
    """on: as it should be. off: nothing. outdated: columns other than a signed-in user may read. unsafe: without row
    level security, or with a replica identity under which UPDATE would fail."""
    columns: tuple[str, ...]
    """Sent now; empty where the table is off."""
    readable: tuple[str, ...]
    """What a signed-in user may read, which is what `on` sends."""


@dataclass(frozen=True, slots=True)
class Realtime:
    """The publication, and our tables in it."""

    is_there: bool
    sends_everything: bool
    """It is FOR ALL TABLES, or for all of the schema public: no table can be narrowed or taken out."""
    wal_level: str
    """Nothing is sent unless it is `logical`."""
    tables: tuple[Sent, ...]


def status(connection: Connection) -> Realtime:
    """What is sent; changes nothing.

    Raises:
        SchemaError: our tables are missing.
    """
    publication, rows = _look(connection)
    everything = publication["all_tables"] or publication["all_of_public"]
    return Realtime(
        is_there=publication["is_there"],
        sends_everything=everything,
        wal_level=publication["wal_level"],
        tables=tuple(_sent(row, everything) for row in rows),
    )


def turn_on(connection: Connection) -> Realtime:
    """Put our tables into the publication, which is made where it is missing; all of them or none.

    Args:
        connection: of the role that owns publication and tables (on Supabase: postgres), in autocommit mode.

    Raises:
        RealtimeError: the publication sends everything, this role may not, or a table cannot be sent as it is.
        SchemaError: our tables are missing.
    """
    with connection.transaction():
        publication, rows = _look(connection)
        _refuse(publication, rows)
        for row in rows:
            _refuse_table(row)
        if not publication["is_there"]:
            connection.execute("set local client_min_messages = error")
            connection.execute(sql.SQL("create publication {}").format(sql.Identifier(PUBLICATION)))
        for row in rows:
            if _sent(row, False).state != "on":
                _take_out(connection, row)
                _put_in(connection, row["name"], row["readable"])
    return status(connection)


def turn_off(connection: Connection) -> Realtime:
    """Take our tables out of the publication, which stays with what else is in it.

    Raises:
        RealtimeError: the publication sends everything, or this role may not change it.
        SchemaError: our tables are missing.
    """
    with connection.transaction():
        publication, rows = _look(connection)
        if publication["is_there"]:
            _refuse(publication, [row for row in rows if row["is_sent"]])
        for row in rows:
            _take_out(connection, row)
    return status(connection)


@contextmanager
def paused(connection: Connection) -> Generator[None]:
    """Our tables out of the publication, and in it again at the end, where they and their columns still are.

    Args:
        connection: in a transaction.

    Raises:
        RealtimeError: this role may not change the publication.
    """
    before = [row for row in _rows(connection, "realtime_tables") if row["is_sent"]]
    if before:
        _refuse(_rows(connection, "realtime_publication")[0], before)
    for row in before:
        _take_out(connection, row)
    yield
    there = {row["name"]: row["readable"] for row in _rows(connection, "realtime_tables")} if before else {}
    for row in before:
        if columns := [column for column in row["sent"] if column in there.get(row["name"], ())]:
            _put_in(connection, row["name"], columns)


def _look(connection: Connection) -> tuple[Row, list[Row]]:
    rows = _rows(connection, "realtime_tables")
    if not rows:
        raise SchemaError("The database has none of the tables that Realtime would send")
    return _rows(connection, "realtime_publication")[0], rows


def _rows(connection: Connection, name: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        parameters = {"tables": list(TABLES)} if name == "realtime_tables" else None
        return cursor.execute(statements.load("realtime.sql")[name], parameters).fetchall()


def _sent(row: Row, everything: bool) -> Sent:
    columns: tuple[str, ...] = tuple(row["sent"]) if row["is_sent"] or everything else ()
    state: State = "on"
    if not columns:
        state = "off"
    elif row["replica_identity"] != "d" or not row["has_row_security"]:
        state = "unsafe"
    elif columns != tuple(row["readable"]) or row["is_filtered"]:
        state = "outdated"
    return Sent(row["name"], state, columns, tuple(row["readable"]))


def _refuse(publication: Row, rows: list[Row]) -> None:
    if publication["all_tables"] or publication["all_of_public"]:
        kind = "FOR ALL TABLES" if publication["all_tables"] else "FOR TABLES IN SCHEMA public"
        raise RealtimeError(
            f"The publication {PUBLICATION} is {kind}, so it sends all columns of ours already, and no table can be "
            f"narrowed or taken out. Drop it, create it anew for the tables that you mean, then turn ours on"
        )
    role = publication["role"]
    if not publication["may_change"]:
        if publication["is_there"]:
            raise RealtimeError(
                f"The role {role} may not change the publication {PUBLICATION}: use its owner, {publication['owner']}"
            )
        raise RealtimeError(f"There is no publication {PUBLICATION}, and the role {role} may not create one")
    others = [row["name"] for row in rows if not row["is_ours"]]
    if others:
        raise RealtimeError(f"The role {role} does not own {', '.join(others)}: use the role that ran the migrations")


def _refuse_table(row: Row) -> None:
    name = row["name"]
    if row["replica_identity"] != "d":
        raise RealtimeError(
            f"{name} has another replica identity than its primary key, and only some of its columns are sent, so that "
            f"every UPDATE would fail: alter table public.{name} replica identity default"
        )
    if not row["has_row_security"]:
        raise RealtimeError(
            f"{name} has no row level security, so that everybody would be sent every row: "
            f"alter table public.{name} enable row level security"
        )
    if not row["key"] or not set(row["key"]) <= set(row["readable"]):
        raise RealtimeError(
            f"A signed-in user may not read the primary key of {name}, without which Realtime sends nothing: "
            f"grant select ({', '.join(row['key'])}) on public.{name} to authenticated"
        )


def _take_out(connection: Connection, row: Row) -> None:
    if row["is_sent"]:
        command = "alter publication {} drop table public.{}"
        connection.execute(sql.SQL(command).format(sql.Identifier(PUBLICATION), sql.Identifier(row["name"])))


def _put_in(connection: Connection, table: str, columns: list[str]) -> None:
    command = sql.SQL("alter publication {} add table public.{} ({})")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    connection.execute(command.format(sql.Identifier(PUBLICATION), sql.Identifier(table), names))
