"""Writing: one batch, one transaction; and what a failure means for the batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import psycopg

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.exchange import Exchange, Query, Steps, ask, copy
from chopsky_trace.errors import ConnectError, SchemaError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

Failure = Literal["transient", "schema", "access", "poison"]
"""transient: the same batch may succeed later. schema: the schema is missing or too old. access: the role may not, or
the address is wrong; a person must act, and no batch is to blame. poison: something in the batch is refused."""

# Classes: 08 connection, 25 state of the transaction (read-only, idle for too long), 40 rollback (deadlock,
# serialization), 53 resources, 57 operator (shutdown, timeout), 58 system; then lock not available, object in use.
TRANSIENT = ("08", "25", "40", "53", "57", "58", "55P03", "55006")
# No such table, function, column, schema: what a migration brings. 42P10 is an upsert without its unique index.
SCHEMA = ("42P01", "42883", "42703", "3F000", "42P10", "42704")
ACCESS = ("28", "42501", "3D000", "0P000")


class Rows(Protocol):
    """A batch's rows for COPY, and what goes as JSON beside them."""

    @property
    def runs(self) -> bytes:
        """JSON for `chopsky_open_runs`."""
        ...

    @property
    def spans(self) -> bytes:
        """A stream in COPY's binary format."""
        ...

    @property
    def span_columns(self) -> Sequence[str]: ...
    @property
    def message_columns(self) -> Sequence[str]: ...

    def complete(self, opened: bytes) -> tuple[bytes, bytes]:
        """The messages as such a stream and the JSON for `chopsky_ingest`, given what `chopsky_open_runs` returned."""
        ...


def send_batch(connection: Connection, payload: bytes, *, timeout_s: float = 60.0, silence_s: float = 70.0) -> Exchange:
    """Begin to store one batch, as a whole or not at all; storing it again changes nothing.

    Args:
        connection: from `connect`, in autocommit mode; nothing else may use it until the exchange has ended.
        payload: the JSON object that `chopsky_ingest` takes.
        timeout_s: the longest time for a statement, in seconds.
        silence_s: how long the server may say nothing before the connection counts as lost; more than that.
    """
    return Exchange(connection.pgconn, _whole(connection.pgconn, payload, (timeout_s, silence_s)), silence_s)


def send_rows(connection: Connection, rows: Rows, *, timeout_s: float = 60.0, silence_s: float = 70.0) -> Exchange:
    """Begin to store one batch by COPY: much cheaper, but refused where one of its rows is there already."""
    return Exchange(connection.pgconn, _copied(connection.pgconn, rows, (timeout_s, silence_s)), silence_s)


def write_batch(connection: Connection, payload: bytes, *, timeout_s: float = 60.0) -> None:
    """Store one batch and wait for it; see `send_batch`.

    Raises:
        SchemaError: the schema is missing or too old.
        psycopg.Error: anything else; `classify` tells what it means.
    """
    finish(send_batch(connection, payload, timeout_s=timeout_s))


def finish(exchange: Exchange) -> None:
    """Wait until a batch is stored.

    Raises:
        SchemaError: the schema is missing or too old.
        psycopg.Error: anything else; `classify` tells what it means.
    """
    try:
        exchange.finish()
    except psycopg.Error as error:
        if classify(error) == "schema":
            raise SchemaError(f"The database refused the batch: {error.diag.message_primary or error}") from error
        raise


def _begin(limits_s: tuple[float, float]) -> list[Query]:
    # How long for a statement, and between two of them.
    return [(b"begin", None), (_statement("limit_statement"), [str(round(each * 1000)).encode() for each in limits_s])]


def _whole(server: PGconn, payload: bytes, limits_s: tuple[float, float]) -> Steps:
    # A pipeline: begin, both statements and commit travel together, for the server may be far.
    yield from ask(server, [*_begin(limits_s), (_statement("ingest"), [payload]), (b"commit", None)])


def _copied(server: PGconn, rows: Rows, limits_s: tuple[float, float]) -> Steps:
    results = yield from ask(server, [*_begin(limits_s), (_statement("open_runs"), [rows.runs])])
    messages, payload = rows.complete(results[-1].get_value(0, 0) or b"[]")
    yield from copy(
        server,
        [
            ("conversation_spans", rows.span_columns, rows.spans),
            ("conversation_messages", rows.message_columns, messages),
        ],
    )
    yield from ask(server, [(_statement("ingest"), [payload]), (b"commit", None)])


def _statement(name: str) -> bytes:
    return statements.load("write.sql")[name].encode()


def distance_s(connection: Connection) -> float:
    """How long the server's answer takes to arrive, in seconds.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    shortest = 60.0
    for _ in range(3):
        began = time.perf_counter()
        connection.execute(statements.load("write.sql")["answer"])
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


def reap(connection: Connection, older_than_s: float) -> int:
    """Mark spans as abandoned whose run has had no news for that many seconds; returns how many runs it touched.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    row = connection.execute(statements.load("write.sql")["reap"], {"older_than_s": older_than_s}).fetchone()
    return 0 if row is None else int(row[0])


def runs_of_traces(connection: Connection, trace_ids: Sequence[str]) -> set[str]:
    """Which of these trace ids, 32 hexadecimal digits each, are a run's.

    Raises:
        psycopg.Error: `classify` tells what it means.
    """
    found = connection.execute(statements.load("write.sql")["runs_of_traces"], {"trace_ids": list(trace_ids)})
    return {run_id.hex for (run_id,) in found}


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
