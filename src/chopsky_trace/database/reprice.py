"""Past calls, page by page, and their new costs back: each page one transaction, so that writers wait only briefly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, LiteralString
from uuid import UUID

import orjson
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_loads

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained

Row = dict[str, Any]

PAGE_CALLS = 1_000
"""Calls of a transaction: the locks of their runs are held for some tenths of a second at most."""
TRIES = 4
"""How often a page is tried when others hold its rows."""
BUSY = (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which calls: those that began at `since` or later and before `until`; None leaves a column open."""

    since: datetime
    until: datetime
    model: str | None = None
    """The model that answered, or the one asked for."""
    provider: str | None = None
    tenant_id: str | None = None


def count(connection: Connection, wanted: Wanted) -> int:
    """How many calls `pages` will give. Raises what `explained` does."""
    total = 0
    for has_start in (True, False):
        asked = asdict(wanted) | {"has_start": has_start, "after_run": None, "after_id": None, "limit": None}
        with explained():
            row = connection.execute("select count(*) from (" + _statement("page") + ") p", asked).fetchone()
        total += row[0] if row else 0
    return total


def pages(connection: Connection, wanted: Wanted, *, size: int = PAGE_CALLS) -> Iterator[list[UUID]]:
    """The ids of the calls, by run, a page at a time. Raises what `explained` does."""
    for has_start in (True, False):
        after_run: UUID | None = None
        after_id: UUID | None = None
        while True:
            after: Row = {"has_start": has_start, "after_run": after_run, "after_id": after_id, "limit": size}
            with explained():
                found = connection.execute(_statement("page"), asdict(wanted) | after).fetchall()
            if found:
                yield [span for _, span in found]
            if len(found) < size:
                break
            after_run, after_id = found[-1]


def read_calls(connection: Connection, ids: Sequence[UUID]) -> list[Row]:
    """What the price of these calls depends on, and their cost now. Raises what `explained` does."""
    with explained(), connection.cursor(row_factory=dict_row, binary=True) as cursor:
        set_json_loads(orjson.loads, cursor)
        return cursor.execute(_statement("calls"), {"ids": list(ids)}).fetchall()


def write_costs(
    connection: Connection, costs: Sequence[Mapping[str, Any]], note: Callable[[set[UUID]], None]
) -> set[UUID] | None:
    """Write new costs in one transaction, with messages and totals; returns whose were written.

    The others are no longer as they were read. None: others held the rows for too long, and nothing was written.

    Args:
        costs: keys as `chopsky_write_costs` takes them.
        note: called in the same transaction with whose were written.

    Raises:
        as `explained` does.
    """
    payload = orjson.dumps(list(costs), default=str).decode()
    with explained():
        for attempt in range(TRIES):
            if attempt:
                time.sleep(0.05 * 2**attempt)
            try:
                with connection.transaction():
                    connection.execute(_statement("limit_waiting"))
                    written = {row[0] for row in connection.execute(_statement("write"), {"costs": payload})}
                    note(written)
                return written
            except BUSY:
                continue
    return None


def begin(connection: Connection, wanted: Wanted, prices: Mapping[str, Any]) -> UUID:
    """Makes the row of `conversation_repricings`; returns its id. Raises what `explained` does."""
    with explained():
        row = connection.execute(_statement("begin"), asdict(wanted) | {"prices": Jsonb(prices)}).fetchone()
    assert row is not None
    return row[0]


def advance(connection: Connection, repricing: UUID, counts: Mapping[str, Any], by_model: Sequence[Row]) -> None:
    """Says how far it is.

    Args:
        counts: `seen`, `changed`, `skipped`, `old_cost`, `new_cost`.
        by_model: the same by provider and model; money as Decimal.

    Raises:
        psycopg.Error: it is part of a transaction, whose owner explains.
    """
    told = Jsonb(by_model, dumps=lambda rows: orjson.dumps(rows, default=_text))
    connection.execute(_statement("advance"), {"id": repricing, "by_model": told, **counts})


def finish(connection: Connection, repricing: UUID, status: Literal["completed", "interrupted"]) -> None:
    """Says how it ended. Raises what `explained` does."""
    with explained():
        connection.execute(_statement("finish"), {"id": repricing, "status": status})


def _statement(name: str) -> LiteralString:
    return statements.load("reprice.sql")[name]


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
