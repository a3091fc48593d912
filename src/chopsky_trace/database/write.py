"""Writing: one batch, one transaction; and what a failure means for the batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import psycopg

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import ConnectError, SchemaError

Failure = Literal["transient", "schema", "access", "poison"]
"""transient: the same batch may succeed later. schema: the schema is missing or too old. access: the role may not, or
the address is wrong; a person must act, and no batch is to blame. poison: something in the batch is refused."""

# Classes: 08 connection, 40 rollback (deadlock, serialization), 53 resources, 57 operator (shutdown, timeout), 58
# system; then read-only, lock not available, object in use.
TRANSIENT = ("08", "40", "53", "57", "58", "25006", "55P03", "55006")
# No such table, function, column, schema: what a migration brings. 42P10 is an upsert without its unique index.
SCHEMA = ("42P01", "42883", "42703", "3F000", "42P10", "42704")
ACCESS = ("28", "42501", "3D000", "0P000")


_quiet = threading.local()


def _not_ours(record: logging.LogRecord) -> bool:
    return not (getattr(_quiet, "on", False) and str(record.msg).startswith("error ignored"))


# A connection that dies in the middle of a batch has psycopg warn of every block it leaves ("error ignored terminating
# <Pipeline ...>"), beside the error that it raises: the writer tries again, and tells of it itself where that fails.
# Only on a thread that is writing a batch, so that the application's own pipelines are heard.
logging.getLogger("psycopg").addFilter(_not_ours)


@contextmanager
def _quietly() -> Generator[None]:
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = False


def write_batch(connection: Connection, payload: bytes, *, timeout_s: float = 60.0) -> None:
    """Store one batch, as a whole or not at all; storing it again changes nothing.

    Args:
        connection: from `connect`, in autocommit mode.
        payload: the JSON object that `chopsky_ingest` takes.
        timeout_s: the longest time for the statement, in seconds.

    Raises:
        SchemaError: the schema is missing or too old.
        psycopg.Error: anything else; `classify` tells what it means.
    """
    sql = statements.load("write.sql")
    try:
        # A pipeline: begin, both statements and commit travel together, for the server may be far.
        with _quietly(), connection.pipeline(), connection.transaction():
            connection.execute(sql["limit_statement"], {"timeout_ms": str(round(timeout_s * 1000))})
            connection.execute(sql["ingest"], {"payload": payload.decode()})
    except psycopg.Error as error:
        if classify(error) == "schema":
            raise SchemaError(f"The database refused the batch: {error.diag.message_primary or error}") from error
        raise


def reap(connection: Connection, older_than_s: float) -> int:
    """Mark spans as abandoned whose run has had no news for that many seconds; returns how many runs it touched.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    row = connection.execute(statements.load("write.sql")["reap"], {"older_than_s": older_than_s}).fetchone()
    return 0 if row is None else int(row[0])


def report_status(connection: Connection, status: bytes) -> None:
    """Write this writer's row of `writer_status`.

    Args:
        connection: from `connect`.
        status: a JSON object whose keys are the columns' names.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    connection.execute(statements.load("write.sql")["report_status"], {"status": status.decode()})


def classify(error: BaseException) -> Failure:
    """What a failed write means for the batch; see `Failure`."""
    if isinstance(error, SchemaError):
        return "schema"
    if isinstance(error, ConnectError | OSError | TimeoutError):
        return "transient"
    if not isinstance(error, psycopg.Error):
        return "poison"
    state = error.sqlstate
    if state is None:
        # The client's own: a connection that broke or was closed, or else a value that cannot be sent.
        return "transient" if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else "poison"
    if state.startswith(TRANSIENT):
        return "transient"
    if state in SCHEMA:
        return "schema"
    return "access" if state.startswith(ACCESS) else "poison"
