"""`chopsky-trace db`: how the database is doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from chopsky_trace.commands import present
from chopsky_trace.commands.command import Call, Commands, command
from chopsky_trace.commands.present import Row
from chopsky_trace.database import stats as counted
from chopsky_trace.database.read import explained


@click.group(cls=Commands)
def db() -> None:
    """How the database is doing."""


@command(db, examples="db stats\ndb stats --limit 50 --json")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000),
    default=10,
    show_default=True,
    help="Most statements and, but for --json, most indexes to list.",
)
def stats(call: Call, limit: int) -> None:
    """Show sizes, index use, slow statements, connections.

    As the server has counted them since its statistics were reset. Reads only.
    """
    with call.connection() as connection, explained():
        found = counted.look(connection, limit)
    call.answer(asdict(found), *_text(found, limit, call.console.width))


def _text(found: counted.Stats, limit: int, width: int) -> list[Any]:
    server = found.server
    parts: list[Any] = [tables_table(found.tables, width), "", indexes_table(found.indexes[:limit], width), ""]
    if len(found.indexes) > limit:
        parts.insert(-1, Text(f"Only the {limit} indexes that are read most are listed", style="dim"))
    if found.slow:
        parts += [slow_table(found.slow, width), ""]
    parts += [connections_table(found.connections, width), ""]
    since = "" if server["counted_since"] is None else f", counted since {present.local_time(server['counted_since'])}"
    parts.append(
        f"{present.size(server['database_bytes'])} in all, {server['all_connections']} of {server['most_connections']} "
        f"connections{since}."
    )
    return parts + [Text(f"hint: {hint}", style="yellow") for hint in found.hints]


def tables_table(rows: Sequence[Row], width: int) -> Any:
    """Sizes, and what vacuum has left."""
    cells: list[list[present.Cell]] = [
        [
            row["name"],
            _count(row["live_rows"] if row["estimated_rows"] is None else row["estimated_rows"]),
            present.size(row["total_bytes"]),
            present.size(row["table_bytes"]),
            present.size(row["index_bytes"]),
            _count(row["dead_rows"]),
            _count(row["sequential_scans"]),
            _count(row["index_scans"]),
        ]
        for row in rows
    ]
    columns = ("Table", "Rows", "Total", "Data", "Indexes", "Dead rows", "Seq. scans", "Index scans")
    droppable = ("Seq. scans", "Index scans", "Data", "Dead rows")
    return present.table(columns, cells, width, right=columns[1:], flexible="Table", droppable=droppable)


def indexes_table(rows: Sequence[Row], width: int) -> Any:
    """Indexes by how much they are read."""
    cells: list[list[present.Cell]] = [
        [row["name"], row["table_name"], present.size(row["bytes"]), _count(row["scans"]), _count(row["entries_read"])]
        for row in rows
    ]
    columns = ("Index", "Table", "Size", "Scans", "Entries read")
    right = ("Size", "Scans", "Entries read")
    return present.table(columns, cells, width, right=right, flexible="Index", droppable=("Table", "Entries read"))


def slow_table(rows: Sequence[Row], width: int) -> Any:
    """Statements by their mean time."""
    cells: list[list[present.Cell]] = [
        [
            present.duration(row["mean_ms"]),
            _count(row["calls"]),
            present.duration(row["total_ms"]),
            present.one_line(row["role"], 20),
            present.one_line(row["statement"], 300),
        ]
        for row in rows
    ]
    columns = ("Mean", "Calls", "Total", "Role", "Statement")
    right = ("Mean", "Calls", "Total")
    return present.table(columns, cells, width, right=right, flexible="Statement", droppable=("Role", "Total"))


def connections_table(rows: Sequence[Row], width: int) -> Any:
    """Who is connected."""
    cells: list[list[present.Cell]] = [
        [
            present.one_line(row["role"] or present.NONE, 30),
            present.one_line(row["application"] or present.NONE, 60),
            row["state"],
            _count(row["connections"]),
            present.duration(None if row["longest_s"] is None else row["longest_s"] * 1_000),
        ]
        for row in rows
    ]
    columns = ("Role", "Application", "State", "Connections", "Longest")
    right = ("Connections", "Longest")
    return present.table(columns, cells, width, right=right, flexible="Application", droppable=("Longest",))


def _count(number: int | None) -> str:
    return present.NONE if number is None else f"{number:,}"
