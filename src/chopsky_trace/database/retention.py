"""How long things are kept, and what removes them: policies, pruning, erasing a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import explained
from chopsky_trace.errors import BusyError

Row = dict[str, Any]

RETRIES = 3
"""How often an erasure that gave way to somebody is tried again."""

KINDS = ("sessions", "runs", "messages", "payloads", "feedback", "writer_status", "tombstones")
"""What a policy may be about."""
COUNTS = ("sessions", "runs", "spans", "messages", "contents", "runs_without_messages", "runs_without_payloads",
          "feedback", "writer_status", "tombstones", "messages_kept", "busy")  # fmt: skip
"""What `prune` counts. messages_kept: copies that runs which stay refer to; busy: left because somebody was at them."""


def policies(connection: Connection) -> list[Row]:
    """All rules: what, tenant_id (None: all), keep_for (None: for good). Raises what `explained` does."""
    with explained(), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_statement("policies")).fetchall()


def set_policy(connection: Connection, what: str, tenant_id: str | None, keep_for: timedelta | None) -> None:
    """Makes or changes a rule. Raises what `explained` does."""
    with explained():
        connection.execute(_statement("set_policy"), {"what": what, "tenant_id": tenant_id, "keep_for": keep_for})


def remove_policy(connection: Connection, what: str, tenant_id: str | None) -> bool:
    """Takes a rule away; whether there was one. Raises what `explained` does."""
    with explained():
        return connection.execute(_statement("remove_policy"), {"what": what, "tenant_id": tenant_id}).rowcount > 0


def due(connection: Connection, older_than: timedelta | None, tenant_id: str | None) -> Row:
    """What `prune` would remove, counted as in COUNTS. Raises what `explained` does."""
    return _prune(connection, 1, 1, older_than, tenant_id, dry_run=True)


def prune(connection: Connection, batch: int, older_than: timedelta | None, tenant_id: str | None) -> Iterator[Row]:
    """Removes what is due, a transaction a batch; gives each one's counts.

    Args:
        batch: runs of a transaction.
        older_than: runs older than this go, and no policy is asked; None: what the policies and expires_at say.

    Raises:
        as `explained` does.
    """
    while True:
        counts = _prune(connection, batch, batch, older_than, tenant_id, dry_run=False)
        yield counts
        if not counts["more"] or not any(counts[name] for name in COUNTS if name not in ("messages_kept", "busy")):
            return


def prune_some(connection: Connection, at_most: int) -> bool:
    """One short transaction of pruning, if anything says that something goes; whether more is left.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    row = connection.execute(_statement("prunes")).fetchone()
    if row is None or not row[0]:
        return False
    asked = {"batch": 50, "at_most": at_most, "dry_run": False, "older_than": None, "tenant_id": None}
    done = connection.execute(_statement("prune"), asked).fetchone()
    return bool(done and done[0]["more"] and not done[0]["busy"])


def schedule(connection: Connection, *, wanted: bool) -> bool:
    """Has pg_cron prune, or no more; False where the extension is missing. Raises what `explained` does."""
    return bool(_one(connection, "schedule", wanted=wanted))


def erase_user(connection: Connection, user_id: str, tenant_id: str | None) -> Row:
    """Removes a person, and refuses late records of what was before; the receipt. Raises what `explained` does."""
    for _ in range(RETRIES):
        # Somebody who removes or rates one of the person's conversations at this moment goes first.
        with suppress(BusyError):
            return _one(connection, "erase_user", user_id=user_id, tenant_id=tenant_id)
    return _one(connection, "erase_user", user_id=user_id, tenant_id=tenant_id)


def erase_on_auth_delete(connection: Connection, *, wanted: bool) -> bool:
    """Whether whoever is deleted in auth.users is erased; False where there is no such table.

    Raises:
        as `explained` does.
    """
    return bool(_one(connection, "erase_on_auth_delete", wanted=wanted))


def _prune(
    connection: psycopg.Connection[Any],
    batch: int,
    at_most: int,
    older_than: timedelta | None,
    tenant_id: str | None,
    *,
    dry_run: bool,
) -> Row:
    counts: Row = _one(
        connection,
        "prune",
        batch=batch,
        at_most=at_most,
        dry_run=dry_run,
        older_than=older_than,
        tenant_id=tenant_id,
    )
    return dict.fromkeys(COUNTS, 0) | counts


def _one(connection: Connection, name: str, **parameters: object) -> Any:
    with explained():
        row = connection.execute(_statement(name), parameters).fetchone()
    assert row is not None
    return row[0]


def _statement(name: str) -> LiteralString:
    return statements.load("retention.sql")[name]
