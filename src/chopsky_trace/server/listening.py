"""A port, and a process that serves it: uvicorn with what it lacks for standing in a network."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from chopsky_trace.errors import ServeError

KEEP_ALIVE_S = 75
"""Exporters speak every five seconds, metrics every sixty: a connection that ends between would cost them a retry."""
SILENT_S = 90.0
"""A connection on which no whole request has begun for so long is closed, however slowly its headers drip."""
LOOK_TICKS = 50
"""uvicorn ticks ten times a second."""


def is_loopback(host: str) -> bool:
    """Whether everything that a host's name stands for is this machine alone.

    Raises:
        ServeError: the name stands for nothing.
    """
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise ServeError(f"--host {host} is no name or address of this machine") from None
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        ServeError: it cannot listen there.
    """
    return _listening(host, port)


def listen_together(host: str, port: int, count: int) -> list[socket.socket]:
    """Listening sockets of one port, for as many processes, among which the kernel shares connections out.

    Raises:
        ServeError: it cannot listen there, or not several at once.
    """
    if not hasattr(os, "fork") or not hasattr(socket, "SO_REUSEPORT"):
        raise ServeError("This system has no processes that share a port: leave out --workers")
    # Alone first: one more of this user's would be let in beside those that share a port.
    with _listening(host, port) as alone:
        port = alone.getsockname()[1]
    return [_listening(host, port, shared=True) for _ in range(count)]


def _listening(host: str, port: int, *, shared: bool = False) -> socket.socket:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.create_server((str(found[4][0]), port), family=found[0], backlog=1024, reuse_port=shared)
    except OSError as error:
        remedy = "another process listens there: take another --port, or stop it"
        detail = remedy if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
        raise ServeError(f"Cannot listen on {host or '*'}, port {port}: {detail}") from None
    # What it accepts inherits this. An answer with a body is two writes, and asyncio sees to it only where a socket
    # names its protocol: the second would wait, mostly 40 ms, until the client acknowledges the first.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def address(listening: socket.socket) -> str:
    """Where a socket listens, as clients write it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn that says when it is ready, and closes connections on which nothing happens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], is_left: Callable[[], bool]) -> None:
        super().__init__(config)
        self._ready = ready
        self._is_left = is_left
        self._silent: dict[Any, tuple[object, float]] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % LOOK_TICKS == 0:
            self._close_silent()
        self.should_exit = self.should_exit or self._is_left()
        return await super().on_tick(counter)

    def _close_silent(self) -> None:
        # uvicorn's own timeout begins with a first answer, and ends with the first byte after it.
        now = time.monotonic()
        silent: dict[Any, tuple[object, float]] = {}
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is None or cycle.response_complete:
                last, since = self._silent.get(connection, (cycle, now))
                silent[connection] = (cycle, since if last is cycle else now)
                if last is cycle and now - since > SILENT_S:
                    connection.transport.close()
        self._silent = silent


def make_server(
    app: ASGIApp, ready: Callable[[], None], grace_s: float, is_left: Callable[[], bool] = lambda: False
) -> Server:
    """A server, not yet running.

    Args:
        app: what answers.
        ready: called once requests are answered.
        grace_s: longest time for requests that have begun when the end is asked for.
        is_left: whether it should end by itself.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )
    return Server(config, ready, is_left)


def run(server: Server, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; from the main thread."""

    def leave(number: int, frame: object) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own while it runs; afterwards it raises the signal again for whoever was there before.
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
