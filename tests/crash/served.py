"""Applications for gunicorn, uvicorn and Celery: each request or task is one run of the chain."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

from crash import chains

from chopsky_trace import SupabaseTracer
from chopsky_trace.asgi import FlushMiddleware

tracer = SupabaseTracer()
if "AT_IMPORT" in os.environ:
    # The tracer is used before the server forks.
    chains.run(tracer, "import", 1)


def answer(path: str) -> bytes:
    chains.run(tracer, unquote(path).strip("/"), 1)
    return f"{os.getpid()}".encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body = answer(scope["path"])
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


flushed = FlushMiddleware(asgi)

if "TASKS" in os.environ:
    from crash.broker import kitchen

    @kitchen.task(name="cook")
    def cook(name: str) -> None:
        chains.run(tracer, name, 1)
