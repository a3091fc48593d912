"""What a server reads for others: each request one short transaction, on one of a few connections."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import IsolationLevel
from psycopg import errors as pg

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection, connect, is_hung_up
from chopsky_trace.database.read import Reader, explained
from chopsky_trace.errors import BusyError, ConnectError
from chopsky_trace.settings import Settings, Target

FILE = "api.sql"
OVERDUE_S = 5.0
"""How much longer than its statements a transaction may take: then its connection is dead, or its client is stuck."""


class Requests:
    """Transactions for requests, at most `size` at once. Threads share it.

    Nothing of a session is kept between two, so a transaction pooler may stand between.

    Args:
        target: the database.
        settings: how long to wait for a connection.
        size: most connections at once; they are opened when they are needed.
        timeout_s: longest time for one statement.
    """

    def __init__(self, target: Target, settings: Settings, *, size: int, timeout_s: float) -> None:
        self._target = target
        self._settings = settings
        self.size = size
        self._timeout_s = timeout_s
        self.patience_s = settings.connect_timeout_s + 2 * timeout_s
        """Longest time for a transaction, with its connection."""
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: dict[int, tuple[float, Connection | None]] = {}
        self._process = os.getpid()
        self._closed = False

    @contextmanager
    def transaction(self, claims: str | None = None, *, read_only: bool = True) -> Generator[Reader]:
        """A transaction of the server's own role, or, with the claims of a signed-in user's token, of theirs.

        Args:
            claims: JSON of a verified token; row level security and column grants then decide.
            read_only: sees one moment's state, and can change nothing.

        Raises:
            BusyError: all connections are in use.
            ConnectError, SchemaError, ReadError: as `explained` and `connect` have them.
        """
        with self._connection() as connection:
            connection.read_only = read_only
            connection.isolation_level = IsolationLevel.REPEATABLE_READ if read_only else None
            with explained(), connection.transaction():
                reader = Reader(connection)
                reader.rows("patience", file=FILE, milliseconds=str(max(1, round(self._timeout_s * 1000))))
                if claims is not None:
                    _sign_in(connection, claims)
                yield reader

    def close(self) -> None:
        """Close what is free, and interrupt what is under way; afterwards there are no transactions."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for _, connection in self._busy.values():
                _hang_up(connection)
        if self._process == os.getpid():
            for connection in idle:
                connection.close()

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        turn = object()
        connection = self._taken(id(turn))
        try:
            if connection is None:
                connection = connect(self._target, self._settings, application_name="chopsky-trace api")
                with self._lock:
                    # Its time begins now: to connect has a bound of its own.
                    self._busy[id(turn)] = (time.monotonic(), connection)
            yield connection
        finally:
            with self._lock:
                del self._busy[id(turn)]
                kept = connection is not None and not connection.closed and not connection.broken and not self._closed
                if kept and connection is not None:
                    self._idle.append(connection)
            if connection is not None and not kept:
                connection.close()

    def _taken(self, turn: int) -> Connection | None:
        """A free connection, or None: there is room for a new one."""
        with self._lock:
            if self._process != os.getpid():
                # A parent's connections are neither used nor closed here, which would end them for it too.
                _LEFT.append(self._idle)
                self._idle, self._busy, self._process = [], {}, os.getpid()
            self._drop_overdue()
            if self._closed or len(self._busy) >= self.size:
                raise BusyError(f"All {self.size} connections to the database are in use")
            found: Connection | None = None
            while self._idle and found is None:
                found = self._idle.pop()
                if found.closed or is_hung_up(found):
                    found.close()
                    found = None
            self._busy[turn] = (time.monotonic(), found)
            return found

    def _drop_overdue(self) -> None:
        now = time.monotonic()
        for since, connection in self._busy.values():
            if connection is not None and now - since > self._timeout_s + OVERDUE_S:
                _hang_up(connection)


_LEFT: list[list[Connection]] = []
"""Of a parent process."""


def _sign_in(connection: Connection, claims: str) -> None:
    try:
        connection.execute(statements.load(FILE)["sign_in"], {"claims": claims})
    except (pg.InsufficientPrivilege, pg.InvalidParameterValue):
        raise ConnectError(
            "The server's own role may not act for signed-in users: `grant authenticated to` it"
        ) from None


def _hang_up(connection: Connection | None) -> None:
    """Ends what another thread waits for on it. Only the socket is touched: libpq's state is that thread's."""
    if connection is None:
        return
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
