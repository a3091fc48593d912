"""The writer's one connection: opened when first needed, and what its errors mean for the records."""

from __future__ import annotations

import json
import os
import select
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from chopsky_trace.errors import EmbeddedError, MigrationError
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.losses import logger

if TYPE_CHECKING:
    from chopsky_trace.database.connect import Connection

Trouble = Literal["record", "size", "schema", "access", "transient", "unknown"]
"""What is to blame: a record of the batch, its size, the schema, a right or address, the moment, or nobody knows."""

RECORD_STATES = ("21", "22", "23", "54")
"""Classes of SQLSTATE that the same record would meet again: cardinality, data, constraint, a value over a limit."""
CANCELED = "57014"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a writer tells the database of itself."""

    backlog_records: int
    backlog_bytes: int
    stored_records: int
    losses: dict[str, int]


class Delivery:
    """Writes batches to one destination. Everything heavy is imported here, on the worker's thread."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target = target
        self._settings = settings
        self._connection: Connection | None = None
        self._writer_id = uuid4()
        self._started_at = time.time()
        self.reused = False
        """Whether the last write went over a connection that had already served: it may have died of idleness."""

    def write(self, payload: bytes) -> None:
        """One batch, one transaction.

        Raises:
            Exception: whatever the database or its driver says; ask `trouble` what it means.
        """
        from chopsky_trace.database.write import write_batch

        self.reused = self._connection is not None
        write_batch(self._connected(), payload, timeout_s=self._settings.statement_timeout_s)

    def report(self, standing: Standing) -> None:
        """Upserts this writer's row of `writer_status`, if there is a connection."""
        if self._connection is None:
            return
        import socket

        from chopsky_trace.database import migrate
        from chopsky_trace.database.write import report_status

        status = {
            "writer_id": str(self._writer_id),
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "version": _version(),
            "schema_number": migrate.known_number(),
            "started_at": datetime.fromtimestamp(self._started_at, UTC).isoformat(),
            "backlog_records": standing.backlog_records,
            "backlog_bytes": standing.backlog_bytes,
            "stored_records": standing.stored_records,
            "losses": standing.losses,
        }
        report_status(self._connection, json.dumps(status).encode())

    def reap(self) -> None:
        """Marks runs without news as abandoned, if there is a connection."""
        if self._connection is not None:
            from chopsky_trace.database.write import reap

            reap(self._connection, self._settings.abandon_after_s)

    def disconnect(self) -> None:
        """Closes the connection; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork_in_child(self) -> Connection | None:
        """Lets go of the parent's connection without a word to its server; the caller keeps what is returned alive."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            # Only this process's copy of the socket: closing the connection itself would end the parent's session.
            os.close(connection.fileno())
        self._writer_id = uuid4()
        self._started_at = time.time()
        return connection

    def _connected(self) -> Connection:
        connection = self._connection
        if connection is not None and not connection.closed and _is_hung_up(connection.fileno()):
            # The server or a pooler has ended it while it lay idle: no need to fail over it first.
            self.disconnect()
            connection = None
        if connection is None or connection.closed:
            from chopsky_trace.database import migrate
            from chopsky_trace.database.connect import connect

            connection = connect(self.target, self._settings, application_name="chopsky-trace writer")
            try:
                migrate.ensure(connection, auto=self.target.is_embedded)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            logger.debug("Connected to %s", self.target.shown)
        return connection


def _is_hung_up(fd: int) -> bool:
    """Whether there is something to read where nothing was asked: a server says that only to take its leave."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def trouble(error: BaseException) -> Trouble:
    """What an error of `Delivery.write` means for the records of the batch."""
    from chopsky_trace.database.write import classify

    state: str | None = getattr(error, "sqlstate", None)
    if state == CANCELED:
        return "size"
    if isinstance(error, MigrationError | EmbeddedError):
        return "access"
    kind = classify(error)
    if kind != "poison":
        return kind
    # A record is set aside for good, so only where the database says that its data are to blame.
    data = state.startswith(RECORD_STATES) if state else type(error).__name__ == "DataError"
    return "record" if data else "unknown"


def described(error: BaseException) -> str:
    """One line about an error, without what it quotes of the data."""
    diagnostics = getattr(error, "diag", None)
    message = getattr(diagnostics, "message_primary", None) or next(iter(str(error).splitlines()), "")
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' {state}' if state else ''}: {message[:500]}"


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("chopsky-trace")
    except metadata.PackageNotFoundError:
        return "not installed"
