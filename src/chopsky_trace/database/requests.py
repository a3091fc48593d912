"""What a server reads for others: each request one short transaction, on one of a few connections."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from psycopg import IsolationLevel
from psycopg import errors as pg

from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.pool import Pool
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
        # Who finds no place is told so at once: whoever serves has as many threads as there are places.
        self._pool = Pool(target, settings, size=size, application_name="chopsky-trace api", wait_s=0.0)
        self.size = size
        self._timeout_s = timeout_s
        self.patience_s = settings.connect_timeout_s + 2 * timeout_s
        """Longest time for a transaction, with its connection."""
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
        self._closed = True
        self._pool.hang_up()
        self._pool.close()

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        if self._closed:
            raise BusyError("The server is ending")
        self._pool.hang_up(self._timeout_s + OVERDUE_S)
        try:
            with self._pool.connection() as connection:
                yield connection
        finally:
            if self._closed:
                self._pool.close()


@contextmanager
def as_server(reader: Reader) -> Generator[None]:
    """In a signed-in user's transaction: what the server's own role is asked, for the same user's claims."""
    reader.rows("step_in", file=FILE)
    # After an error there is nothing more to ask.
    yield
    reader.rows("step_back", file=FILE)


def _sign_in(connection: Connection, claims: str) -> None:
    try:
        connection.execute(statements.load(FILE)["sign_in"], {"claims": claims})
    except (pg.InsufficientPrivilege, pg.InvalidParameterValue):
        raise ConnectError(
            "The server's own role may not act for signed-in users: `grant authenticated to` it"
        ) from None
