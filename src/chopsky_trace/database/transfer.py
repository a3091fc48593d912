"""Runs into lines of JSON and back, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import dict_row

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained
from chopsky_trace.errors import LinesRefusedError, described

Row = dict[str, Any]
Table = Literal["messages", "runs"]

PAGE_RUNS = 50
"""Runs that are in memory at once."""
PARTS = (
    ("run_page", "runs"),
    ("session_page", "sessions"),
    ("message_page", "messages"),
    ("profile_page", "profiles"),
    ("feedback_page", "feedback"),
)
"""Of an export: the statements that page through it, and those that give its lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Which runs; None leaves a column open. They started at `since` or later and before `until`."""

    project: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def export_lines(connection: Connection, chosen: Chosen) -> Iterator[str]:
    """Each run, then what no run brings, as one line of JSON without its end.

    That is: sessions, messages outside any, profiles and feedback.

    What is exact is each run: others may be written meanwhile. Raises what `explained` does.
    """
    for page, lines in PARTS:
        for ids in _pages(connection, page, chosen):
            with explained():
                found = connection.execute(_statement(lines), {"ids": ids}).fetchall()
            for (line,) in found:
                yield line


def table_rows(connection: Connection, chosen: Chosen, table: Table) -> Iterator[Row]:
    """Rows of messages or of runs, for people to read. Raises what `explained` does."""
    for ids in _pages(connection, "run_page", chosen):
        with explained(), connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_statement(f"{table}_csv"), {"ids": ids}).fetchall()
        yield from rows


def import_lines(connection: Connection, lines: Sequence[bytes]) -> dict[str, int]:
    """Writes lines of an export, all or none; returns how many rows of what.

    Raises:
        LinesRefusedError: the database refuses what one of them says.
        TraceError: it cannot be written to.
    """
    with explained():
        try:
            values = {"lines": (b"[" + b",".join(lines) + b"]").decode()}
            row = connection.execute(_statement("import"), values).fetchone()
        except (pg.DataError, pg.IntegrityError, pg.NotSupportedError) as error:
            raise LinesRefusedError(described(error)) from None
    assert row is not None
    return row[0]


def _pages(connection: Connection, page: str, chosen: Chosen) -> Iterator[list[UUID | str]]:
    after_id: UUID | str | None = None
    after_at: datetime | None = None
    while True:
        asked = asdict(chosen) | {"after_id": after_id, "after_at": after_at, "limit": PAGE_RUNS}
        with explained():
            found = connection.execute(_statement(page), asked).fetchall()
        if found:
            yield [row[0] for row in found]
        if len(found) < PAGE_RUNS:
            return
        after_id, after_at = found[-1]


def _statement(name: str) -> LiteralString:
    return statements.load("transfer.sql")[name]
