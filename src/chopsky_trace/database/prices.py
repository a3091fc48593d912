"""The table `model_prices`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection

Row = dict[str, Any]


def exact(data: str | bytes) -> Any:
    """JSON with its numbers as decimals: money never passes through a float."""
    import json

    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def read_overrides(connection: Connection) -> list[Row]:
    """All rows of `model_prices`, numbers as Decimal, for `Overrides.from_rows`.

    Raises:
        psycopg.Error: the table is missing, or the role may not read it.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        set_json_loads(exact, cursor)
        return cursor.execute(statements.load("prices.sql")["overrides"]).fetchall()
