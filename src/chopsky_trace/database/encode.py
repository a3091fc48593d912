"""Rows as JSON, the same for the command line and the API: money as strings, times in UTC."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID


def encode(data: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON: money and other decimals as strings, times as ISO 8601 in UTC.

    Args:
        data: rows, and what they are in.
        indent: blanks a level; None: all on one line.
        ascii_only: escape every other character.
    """
    return json.dumps(data, default=_jsonable, indent=indent, ensure_ascii=ascii_only)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, UUID | Path | date):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no JSON form")
