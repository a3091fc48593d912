"""Whether a pooler stands between us and the server, and what it gives a client for how long."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Literal

from psycopg.pq import ExecStatus

from chopsky_trace.database.connect import Connection

Pooling = Literal["none", "transaction", "session"]
PATIENCE_S = 3.0
"""How long a pooler may take to find a second server connection: one that hands out whole sessions may have none."""
ASK = "select pg_catalog.pg_backend_pid()"


def pooling(connection: Connection, again: Callable[[], Connection]) -> Pooling:
    """What stands between, found out by asking who answers.

    A pooler tells its clients a process id of its own. One that pools transactions lends the server that answered us to
    somebody else as soon as our transaction is over.

    Args:
        connection: to the database, idle.
        again: makes a second one like it.

    Raises:
        psycopg.Error: the database did not answer.
        ConnectError: a second connection could not be made.
    """
    first = _answering(connection)
    if first == connection.info.backend_pid:
        return "none"
    other = again()
    try:
        held = _held(other)
        lent = held is not None and (held == first or _answering(connection) != first)
        return "transaction" if lent else "session"
    finally:
        # Whatever it waits for.
        other.close()


def _answering(connection: Connection) -> int:
    row = connection.execute(ASK).fetchone()
    assert row is not None
    return int(row[0])


def _held(connection: Connection) -> int | None:
    """The server process of a transaction that stays open; None where none is found in time."""
    server = connection.pgconn
    server.send_query(f"begin; {ASK}".encode())
    waiting = select.poll()
    waiting.register(server.socket, select.POLLIN)
    deadline = time.monotonic() + PATIENCE_S
    found = None
    while True:
        while server.is_busy():
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1_000):
                return None
            server.consume_input()
        result = server.get_result()
        if result is None:
            return found
        if result.status == ExecStatus.TUPLES_OK:
            value = result.get_value(0, 0)
            found = None if value is None else int(value)
