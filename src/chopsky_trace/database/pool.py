"""A few connections that an application's threads share; opened when they are needed."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager

from chopsky_trace.database import migrate
from chopsky_trace.database.connect import Connection, connect, is_hung_up
from chopsky_trace.errors import ConnectError
from chopsky_trace.settings import Settings, Target

_LEFT: list[list[Connection]] = []
"""Of a parent process: neither used nor closed, which would end them for the parent too."""


class _Idle:
    """What is free of one process's connections."""

    def __init__(self, size: int) -> None:
        self.process = os.getpid()
        self.places = threading.BoundedSemaphore(size)
        self.connections: list[Connection] = []
        self.checked = False


class Pool:
    """Connections to one database, at most `size` at once in a process; each serves one transaction at a time.

    Nothing of a session is kept between two transactions, so a transaction pooler may stand between.
    """

    def __init__(self, target: Target, settings: Settings, *, size: int, application_name: str) -> None:
        self._target = target
        self._settings = settings
        self._size = size
        self._name = application_name
        self._idle = _Idle(size)
        # At the latest when the process ends.
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection in autocommit mode, given back at the end.

        Raises:
            ConnectError: no connection could be made, or all were in use for `connect_timeout_s`.
            EmbeddedError: the embedded server could not be started.
            SchemaError: the schema is missing or too old.
        """
        idle = self._own()
        if not idle.places.acquire(timeout=self._settings.connect_timeout_s):
            raise ConnectError(
                f"All {self._size} connections of this process were in use for {self._settings.connect_timeout_s:g} s"
            )
        try:
            connection = self._free(idle) or self._open(idle)
            try:
                yield connection
            finally:
                if not connection.closed and not connection.broken:
                    idle.connections.append(connection)
        finally:
            idle.places.release()

    def close(self) -> None:
        """Close what is free; the next use opens anew."""
        _close(self._own())

    def _own(self) -> _Idle:
        if self._idle.process != os.getpid():
            _LEFT.append(self._idle.connections)
            self._idle = _Idle(self._size)
            weakref.finalize(self, _close, self._idle)
        return self._idle

    def _free(self, idle: _Idle) -> Connection | None:
        while True:
            try:
                connection = idle.connections.pop()
            except IndexError:
                return None
            if not connection.closed and not is_hung_up(connection):
                return connection
            connection.close()

    def _open(self, idle: _Idle) -> Connection:
        connection = connect(self._target, self._settings, application_name=self._name)
        try:
            if not idle.checked:
                migrate.ensure(connection, auto=self._target.is_embedded)
                idle.checked = True
        except BaseException:
            connection.close()
            raise
        return connection


def _close(idle: _Idle) -> None:
    if idle.process != os.getpid():
        return
    while idle.connections:
        idle.connections.pop().close()
