"""A TCP proxy before the tests' database that cuts, swallows, delays, refuses and forgets connections on demand."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal

import psycopg

Moment = Literal["request", "half a request", "answer"]
"""Where a batch is cut: before the server has it, when it has half of it, when it has done it and says so."""
BATCH = b"chopsky_ingest"
"""Stands in what a writer sends of every batch, and nowhere else."""
RESET = struct.pack("ii", 1, 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """One client's connection and the server's for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_dead = False
        """Whatever comes is taken and forgotten."""
        self.sends_batch = False

    def close(self, *, reset: bool = False) -> None:
        for side in (self.client, self.server):
            with suppress(OSError):
                if reset and side is self.client:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    # Sends nothing, but wakes the thread that reads, which else would keep the socket open.
                    side.shutdown(socket.SHUT_RD)
                else:
                    side.shutdown(socket.SHUT_RDWR)
            side.close()


class Proxy:
    """A loopback port that leads to a database's server for as long as the context lasts.

    Args:
        url: of the database, over its socket.
        port: to listen on; a free one where none is given.
    """

    def __init__(self, url: str, port: int | None = None) -> None:
        with psycopg.connect(url) as connection:
            info = connection.info
            self._path = f"{info.host}/.s.PGSQL.{info.port}"
            self._database = f"{info.user}@127.0.0.1:{{}}/{info.dbname}"
        self.port = free_port() if port is None else port
        self.url = f"postgresql://{self._database.format(self.port)}"
        self.was_cut = threading.Event()
        """A batch was cut where `cut_batch` wanted it."""
        self.answered = threading.Event()
        """The server said something after this was last cleared."""
        self._cut: Moment | None = None
        self._forgets = False
        self._delay_s = 0.0
        self._swallows = False
        self._lock = threading.Lock()
        self._pairs: list[Pair] = []
        self._listener: socket.socket | None = None
        self._hurry = threading.Event()

    def __enter__(self) -> Proxy:
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hurry.set()
        self.refuse()

    # What a test does to it.

    def accept(self) -> None:
        """Take connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for pair in self._taken():
            pair.close(reset=True)

    def cut_batch(self, moment: Moment) -> None:
        """Cut the next batch's connection at that moment; `was_cut` tells when."""
        self.was_cut.clear()
        self._cut = moment

    def forget_batch(self) -> None:
        """Forget the next batch's connection when its last request comes: neither client nor server is told."""
        self.was_cut.clear()
        self._forgets = True

    def swallow(self) -> None:
        """Accept everything and answer nothing: neither an end nor a reset, as behind a firewall that forgot."""
        self._swallows = True
        with self._lock:
            for pair in self._pairs:
                pair.is_dead = True

    def forward(self) -> None:
        """New connections are led to the server again; those that were swallowed stay dead."""
        self._swallows = False

    def half_open(self) -> None:
        """End every connection at the server's side only: the client is not told. New ones work."""
        with self._lock:
            for pair in self._pairs:
                pair.is_dead = True
                with suppress(OSError):
                    pair.server.shutdown(socket.SHUT_RDWR)

    def delay(self, seconds: float) -> None:
        """Have every answer of the server wait so long."""
        self._delay_s = seconds

    # Its threads.

    def _taken(self) -> list[Pair]:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return pairs

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._path)
                except OSError:
                    # It is down: what a server's own port would do.
                    client.close()
                    server.close()
                    continue
                pair = Pair(client, server)
                pair.is_dead = self._swallows
                with self._lock:
                    self._pairs.append(pair)
                for pump in (self._requests, self._answers):
                    threading.Thread(target=self._pumped, args=(pump, pair), daemon=True).start()

    @staticmethod
    def _pumped(pump: Callable[[Pair], None], pair: Pair) -> None:
        with suppress(OSError):
            pump(pair)
        if not pair.is_dead:
            pair.close()

    def _requests(self, pair: Pair) -> None:
        while data := pair.client.recv(65_536):
            if pair.is_dead:
                continue
            if BATCH in data and self._forgets:
                self._forgets = False
                pair.is_dead = True
                self.was_cut.set()
                continue
            if BATCH in data and self._cut is not None:
                if self._cut == "answer":
                    pair.sends_batch = True
                else:
                    pair.server.sendall(data[: len(data) // 2] if self._cut == "half a request" else b"")
                    self._cut_now(pair)
                    return
            pair.server.sendall(data)

    def _answers(self, pair: Pair) -> None:
        while data := pair.server.recv(65_536):
            if pair.is_dead:
                continue
            if pair.sends_batch:
                self._cut_now(pair)
                return
            if self._delay_s:
                self._hurry.wait(self._delay_s)
            pair.client.sendall(data)
            self.answered.set()

    def _cut_now(self, pair: Pair) -> None:
        self._cut = None
        pair.close(reset=True)
        self.was_cut.set()
