"""A loopback port before a backend that refuses connections, or holds up answers, on demand."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
PATIENCE_S = 60.0
CHUNK_BYTES = 65_536


class Loop:
    """An event loop in a thread of its own, for as long as the context lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.do(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done there, and wait for the result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Gate:
    """Passes bytes both ways between its port and a backend."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        """How long each answer of the backend is held up."""
        self._speaks = asyncio.Event()
        self._speaks.set()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    async def accept(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Cut what is connected, and take no connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for side in self._open:
            side.transport.abort()

    async def hold(self, *, held: bool) -> None:
        """Pass on no answers; with False, those that were held, too."""
        if held:
            self._speaks.clear()
        else:
            self._speaks.set()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._open.add(writer)
        try:
            answers, requests = await self._connect()
            ends.append(requests)
            self._open.add(requests)
            await asyncio.gather(self._copy(reader, requests), self._copy(answers, writer, held_up=True))
        except OSError:
            pass
        finally:
            self._open.difference_update(ends)
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held_up: bool = False) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if held_up:
                    await asyncio.sleep(self.delay_s)
                    await self._speaks.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            # Whoever was killed is gone for the other side, too.
            writer.transport.abort()
        else:
            writer.close()
