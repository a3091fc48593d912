"""The table `model_prices`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection

Row = dict[str, Any]

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
