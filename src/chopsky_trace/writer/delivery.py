"""The writer's one connection: opened when first needed, and what its errors mean for the records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from chopsky_trace.errors import EmbeddedError, MigrationError, described
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.losses import logger
from chopsky_trace.writer.prices import TeamPrices

if TYPE_CHECKING:
    from chopsky_trace.database.connect import Connection
    from chopsky_trace.database.exchange import Exchange
    from chopsky_trace.writer.batches import Built

Trouble = Literal["record", "size", "schema", "access", "contended", "transient", "unknown"]
"""What is to blame: a record of the batch, its size, the schema, a right or address, somebody who was at the same rows,
the moment, or nobody knows."""

RECORD_STATES = ("21", "22", "23", "54")
"""Classes of SQLSTATE that the same record would meet again: cardinality, data, constraint, a value over a limit."""
CANCELED = "57014"
CONTENDED = ("40001", "40P01", "55P03")
"""The batch gave way to somebody else: serialization failure, deadlock, a lock that was not to be had."""
COPY_RECORDS = 100
"""A batch of fewer records goes as JSON: one round trip, and its rows are seldom all new."""
COPY_SAVES_S = 0.00004
"""What COPY saves for each record, about."""
COPY_ROUND_TRIPS = 4
"""How many round trips more it takes."""
PRUNE_BUDGET_S = 2.0
"""How long a writer goes on removing what is kept long enough."""
PRUNE_RUNS = 50
"""Runs of one transaction of it."""
WARY_BATCHES = 16
"""After a batch whose rows COPY was refused, so many go as JSON: a replay, or another process tells the same."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a writer tells the database of itself."""

    backlog_records: int
    backlog_bytes: int
    stored_records: int
    losses: dict[str, int]
    prices: dict[str, Any]


class Delivery:
    """Writes batches to one destination. Everything heavy is imported here, on the worker's thread."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target = target
        self._settings = settings
        timeout_s = settings.statement_timeout_s
        # The server gives a statement up by itself; where it does not say so soon after, nobody is there any more.
        self._patience = {"timeout_s": timeout_s, "silence_s": timeout_s + settings.connect_timeout_s}
        self._connection: Connection | None = None
        self._writer_id = uuid4()
        self._started_at = time.time()
        self._exchange: Exchange | None = None
        self._batch: Built | None = None
        self._distance_s = 0.0
        self._wary = 0
        self._served = False
        self.prices = TeamPrices()
        self.reused = False
        """Whether the last write went over a connection that had already served: it may have died of idleness."""

    def copies(self, records: int) -> bool:
        """Whether a batch of so many records is worth rows for COPY."""
        if self._connection is None or self._wary:
            return False
        return records >= COPY_RECORDS and records * COPY_SAVES_S > COPY_ROUND_TRIPS * self._distance_s

    def prepare(self) -> None:
        """What must be known before a batch is built: the team's prices. Nothing may be under way.

        Raises:
            Exception: as `send`.
        """
        self.reused = self._connection is not None and self._served
        connection = self.connected()
        if self.prices.is_due:
            self.prices.read(connection)

    def send(self, batch: Built) -> None:
        """Begins to store one batch in one transaction; `collect` says what became of it.

        Raises:
            Exception: whatever the database or its driver says; ask `trouble` what it means.
        """
        from chopsky_trace.database.write import send_batch, send_rows

        self.reused = self._connection is not None and self._served
        connection = self.connected()
        self._batch = batch
        if batch.packed is not None:
            self._exchange = send_rows(connection, batch.packed, **self._patience)
        else:
            self._wary = max(0, self._wary - 1)
            self._exchange = send_batch(connection, batch.payload, **self._patience)

    def takes_others(self) -> bool:
        """Whether the database takes another record just now: a small run, of which nothing is kept."""
        from chopsky_trace.database.probe import rehearse

        try:
            rehearse(self.connected(), timeout_s=self._settings.statement_timeout_s)
        except Exception as error:
            # A server that judges what is in it does work.
            return trouble(error) == "record"
        return True

    def advance(self) -> None:
        """Keeps the batch that was sent on its way; waits for nothing and raises nothing."""
        if self._exchange is not None:
            self._exchange.advance()

    def collect(self) -> None:
        """Waits until the batch that was sent is stored.

        Raises:
            Exception: whatever the database or its driver says; ask `trouble` what it means.
        """
        from chopsky_trace.database.write import finish, send_batch

        exchange, batch = self._exchange, self._batch
        self._exchange = self._batch = None
        if exchange is None or batch is None:
            return
        try:
            finish(exchange)
            self._served = True
        except Exception as error:
            if batch.packed is None or trouble(error) in ("contended", "transient", "size"):
                raise
            # A row was there already, or is not what its column takes: JSON merges the one and tells the other.
            logger.debug("A batch goes again as JSON: %s", described(error))
            self._wary = WARY_BATCHES
            finish(send_batch(self.connected(), batch.payload, **self._patience))

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
            "prices": standing.prices,
        }
        report_status(self._connection, json.dumps(status).encode())

    def reap(self) -> None:
        """Marks runs without news as abandoned, if there is a connection."""
        if self._connection is not None:
            from chopsky_trace.database.write import reap

            reap(self._connection, self._settings.abandon_after_s)

    def traces_with_run(self, trace_ids: Sequence[str]) -> set[str]:
        """Which of these traces, 32 hexadecimal digits each, have a run, whichever process told of it.

        Raises:
            Exception: as `send`.
        """
        from chopsky_trace.database.write import runs_of_traces

        return runs_of_traces(self.connected(), trace_ids)

    def prune(self) -> None:
        """Removes what is kept long enough, if there is a connection: a little at a time, records wait meanwhile."""
        if self._connection is not None:
            from chopsky_trace.database.retention import prune_some

            deadline = time.monotonic() + PRUNE_BUDGET_S
            while prune_some(self._connection, PRUNE_RUNS) and time.monotonic() < deadline:
                pass

    def disconnect(self) -> None:
        """Closes the connection, whatever is under way on it; the next batch opens another."""
        connection, self._connection = self._connection, None
        self._exchange = self._batch = None
        if connection is not None:
            connection.close()

    def after_fork_in_child(self) -> Connection | None:
        """Lets go of the parent's connection without a word to its server; the caller keeps what is returned alive."""
        connection, self._connection = self._connection, None
        self._exchange = self._batch = None
        if connection is not None and not connection.closed:
            # Only this process's copy of the socket: closing the connection itself would end the parent's session.
            os.close(connection.fileno())
        self._writer_id = uuid4()
        self._started_at = time.time()
        return connection

    def connected(self) -> Connection:
        """The connection, opened if it is not.

        Raises:
            Exception: as `send`.
        """
        from chopsky_trace.database.connect import connect, is_hung_up

        connection = self._connection
        if connection is not None and not connection.closed and is_hung_up(connection):
            # The server or a pooler has ended it while it lay idle: no need to fail over it first.
            self.disconnect()
            connection = None
        if connection is None or connection.closed:
            from chopsky_trace.database import migrate
            from chopsky_trace.database.write import distance_s

            connection = connect(
                self.target,
                self._settings,
                application_name="chopsky-trace writer",
                silence_s=self._patience["silence_s"],
            )
            try:
                migrate.ensure(connection, auto=self.target.is_embedded)
                self._distance_s = distance_s(connection)
                self.prices.read(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._served = False
            logger.debug("Connected to %s", self.target.shown)
        return connection


def trouble(error: BaseException) -> Trouble:
    """What an error of `Delivery.collect` means for the records of the batch."""
    from chopsky_trace.database.write import classify

    state: str | None = getattr(error, "sqlstate", None)
    if state == CANCELED:
        return "size"
    if state in CONTENDED:
        return "contended"
    if isinstance(error, MigrationError | EmbeddedError):
        return "access"
    kind = classify(error)
    if kind != "poison":
        return kind
    # A record is set aside for good, so only where the database says that its data are to blame.
    data = state.startswith(RECORD_STATES) if state else type(error).__name__ in ("DataError", "PoisonError")
    return "record" if data else "unknown"


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("chopsky-trace")
    except metadata.PackageNotFoundError:
        return "not installed"
