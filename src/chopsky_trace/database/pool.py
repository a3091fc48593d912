"""A few connections that threads share; opened when they are needed."""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import psycopg

from chopsky_trace.database.connect import Connection, connect, is_hung_up
from chopsky_trace.errors import BusyError
from chopsky_trace.settings import Settings, Target

_LEFT: list[list[Connection]] = []
"""Of a parent process: neither used nor closed, which would end them for the parent too."""


class _Held:
    """One process's connections."""

    def __init__(self, size: int) -> None:
        self.process = os.getpid()
        self.places = threading.BoundedSemaphore(size)
        self.lock = threading.Lock()
        self.idle: list[Connection] = []
        self.busy: dict[object, tuple[float, Connection]] = {}
        """By place: since when, in seconds of the monotonic clock."""


class Pool:
    """Connections to one database, at most `size` at once in a process; each serves one transaction at a time.

    Nothing of a session is kept between two transactions, so a transaction pooler may stand between.

    Args:
        target: the database.
        settings: how long to wait for a connection to be made.
        size: most connections at once.
        application_name: what pg_stat_activity shows.
        wait_s: how long to wait for a place where all are taken.
        opened: is given each new connection before its first use.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        *,
        size: int,
        application_name: str,
        wait_s: float,
        opened: Callable[[Connection], None] | None = None,
    ) -> None:
        self._target = target
        self._settings = settings
        self.size = size
        self._name = application_name
        self._wait_s = wait_s
        self._opened = opened
        self._held = self._made()

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection in autocommit mode, given back at the end.

        Raises:
            BusyError: all were in use for `wait_s`.
            ConnectError: no connection could be made.
            EmbeddedError: the embedded server could not be started.
        """
        held, place = self._own(), object()
        if not held.places.acquire(timeout=self._wait_s):
            after = f" for {self._wait_s:g} s" if self._wait_s else ""
            raise BusyError(f"All {self.size} connections to the database were in use{after}")
        try:
            connection = self._free(held) or self._open()
            with held.lock:
                # Its time begins now: to connect has a bound of its own.
                held.busy[place] = (time.monotonic(), connection)
            try:
                yield connection
            finally:
                with held.lock:
                    del held.busy[place]
                    if not connection.closed and not connection.broken:
                        held.idle.append(connection)
        finally:
            held.places.release()

    def hang_up(self, older_s: float = 0.0) -> None:
        """End what has been under way for longer than so many seconds; whoever waits for it gets an error."""
        held, now = self._own(), time.monotonic()
        with held.lock:
            for since, connection in held.busy.values():
                if now - since >= older_s:
                    _hang_up(connection)

    def close(self) -> None:
        """Close what is free; the next use opens anew."""
        _close(self._own())

    def _made(self) -> _Held:
        held = _Held(self.size)
        # At the latest when the process ends.
        weakref.finalize(self, _close, held)
        return held

    def _own(self) -> _Held:
        if self._held.process != os.getpid():
            _LEFT.append(self._held.idle)
            self._held = self._made()
        return self._held

    def _free(self, held: _Held) -> Connection | None:
        while True:
            with held.lock:
                if not held.idle:
                    return None
                connection = held.idle.pop()
            if not connection.closed and not is_hung_up(connection):
                return connection
            connection.close()

    def _open(self) -> Connection:
        connection = connect(self._target, self._settings, application_name=self._name)
        try:
            if self._opened is not None:
                self._opened(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _close(held: _Held) -> None:
    if held.process != os.getpid():
        return
    with held.lock:
        idle, held.idle = held.idle, []
    for connection in idle:
        connection.close()


def _hang_up(connection: Connection) -> None:
    """Ends what another thread waits for on it. Only the socket is touched: libpq's state is that thread's."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
