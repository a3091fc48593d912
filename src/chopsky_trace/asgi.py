"""For ASGI applications where a process is frozen between requests: runs are stored before their answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from chopsky_trace.scope import traced
from chopsky_trace.writer import Writer, aflush_all
from chopsky_trace.writer.sigterm import DRAIN_S

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
WHOLE = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
"""Messages that are all of a body, or may be."""


class FlushMiddleware:
    """Holds back the last byte of an HTTP response until the runs that its request began are in the database.

    `app.add_middleware(FlushMiddleware)` in Starlette and FastAPI, `FlushMiddleware(app)` elsewhere. Streams flow: only
    their end waits. Requests that trace nothing do not wait, and the event loop and its threads are free meanwhile.
    At the application's shutdown all that is left is written: a server that SIGTERM ends leaves no later time for it.

    Args:
        app: the ASGI application.
        timeout_s: longest wait, in seconds; a quarter of a second while the database fails. What is not stored by then
            stays in the journal.
    """

    def __init__(self, app: Application, timeout_s: float = 2.0) -> None:
        self.app = app
        self.timeout_s = timeout_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection, or the application's life."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, _after_all(send))
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        writers: set[Writer] = set()

        async def send_when_stored(message: Message) -> None:
            if _is_last(message):
                await self._stored(writers)
            await send(message)

        # What the request starts, in tasks and in threads of Starlette's, has this context or a copy of it.
        token = traced.set(writers)
        try:
            await self.app(scope, receive, send_when_stored)
        except Exception:
            # The server answers for it.
            await self._stored(writers)
            raise
        finally:
            traced.reset(token)

    async def _stored(self, writers: Iterable[Writer]) -> None:
        await asyncio.gather(*(writer.aflush(writer.patience(self.timeout_s)) for writer in writers))


def _after_all(send: Send) -> Send:
    async def send_at_last(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            await aflush_all(DRAIN_S)
        await send(message)

    return send_at_last


def _is_last(message: Message) -> bool:
    if message["type"] == "http.response.body":
        return not message.get("more_body", False)
    return message["type"] in WHOLE
