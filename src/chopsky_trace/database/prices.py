"""The table `model_prices`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained
from chopsky_trace.errors import PricesError

Row = dict[str, Any]

JSON_COLUMNS = ("other_rates", "tiers")
READ_TIMEOUT_S = 5.0
"""Longest time for reading the table: it is small, but somebody may hold it locked."""


def exact(data: str | bytes) -> Any:
    """JSON with its numbers as decimals: money never passes through a float."""
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def read_overrides(connection: Connection) -> list[Row]:
    """All rows of `model_prices`, by id, numbers as Decimal, for `Overrides.from_rows`.

    Raises:
        psycopg.Error: the table is missing or locked, or the role may not read it.
    """
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        # For this transaction only: behind a transaction pooler the session belongs to somebody else a moment later.
        cursor.execute(statements.load("prices.sql")["limit_time"], {"milliseconds": f"{READ_TIMEOUT_S * 1000:.0f}"})
        set_json_loads(exact, cursor)
        return cursor.execute(statements.load("prices.sql")["overrides"]).fetchall()


def listed(connection: Connection) -> list[Row]:
    """All rows in an order for people.

    Raises:
        TraceError: as `explained` says; so do the next ones.
    """
    return _rows(connection, "listed")


def put(connection: Connection, rows: Sequence[Row]) -> Row:
    """Writes all rows or none; says how many were `added`, `changed` and `unchanged`.

    A row with an id replaces that row; one without replaces the row of the same tenant, provider, model or pattern, and
    `valid_from`; else it is added.

    Raises:
        PricesError: the table refuses a row, and why.
    """
    text = json.dumps([{name: _sent(name, value) for name, value in row.items()} for row in rows])
    with explained():
        try:
            return _fetched(connection, "put", rows=text)[0]
        except (pg.IntegrityError, pg.DataError) as error:
            detail = error.diag.message_detail if isinstance(error, pg.UniqueViolation) else error.diag.message_hint
            raise PricesError(f"The table refuses a row: {error.diag.message_primary}. {detail or ''}") from error


def remove(connection: Connection, ids: Sequence[UUID]) -> None:
    """Removes rows, all of them or none.

    Raises:
        PricesError: one of them is not there.
    """
    with explained(), connection.transaction():
        there = {row["id"] for row in _rows(connection, "remove", ids=list(ids))}
        missing = [str(one) for one in ids if one not in there]
        if missing:
            raise PricesError(f"No row of model_prices has the id {', '.join(missing)}")


def unpriced(connection: Connection, *, since: datetime | None, limit: int) -> list[Row]:
    """Calls without a price by provider, model and reason, the most first."""
    return _rows(connection, "unpriced", since=since, limit=limit)


def compared(connection: Connection, *, since: datetime | None, limit: int) -> list[Row]:
    """By provider and model: what the provider said that calls cost beside what was computed, the most apart first."""
    return _rows(connection, "compared", since=since, limit=limit)


def _rows(connection: Connection, name: str, **parameters: object) -> list[Row]:
    with explained():
        return _fetched(connection, name, **parameters)


def _fetched(connection: Connection, name: str, **parameters: object) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        set_json_loads(exact, cursor)
        return cursor.execute(statements.load("prices.sql")[name], parameters).fetchall()


def _sent(name: str, value: Any) -> Any:
    if name in JSON_COLUMNS:
        return numbers_json(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value is None else str(value)


def numbers_json(value: Any) -> str:
    """JSON of objects, lists and numbers; a Decimal digit by digit."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f"{json.dumps(key)}: {numbers_json(one)}" for key, one in entries) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(numbers_json(one) for one in cast("list[Any]", value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)
