"""The receiver: POST /v1/traces, /v1/logs and /v1/metrics as OTLP over HTTP has it, and GET /health."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import anyio
import anyio.to_thread
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chopsky_trace.errors import UndecodableError
from chopsky_trace.server.access import Tokens, bearer
from chopsky_trace.server.bodies import Bodies, inflated
from chopsky_trace.server.custody import Keeper
from chopsky_trace.server.refusals import BROKEN_S, BUSY_S, Limits, NotTakenError, come_back
from chopsky_trace.sources.otlp import decode as otlp
from chopsky_trace.sources.otlp.answers import Encoding, Signal, accepted, status

logger = logging.getLogger("chopsky_trace")

TYPES: dict[str, Encoding] = {"application/x-protobuf": "protobuf", "application/json": "json"}
NAMES = {encoding: name for name, encoding in TYPES.items()}
GZIP = ("gzip", "x-gzip")
LEFT_OUT = "attributes, events or items of values left out: too many, or not of their type"


class Receiver:
    """Takes requests, and says what became of each.

    Args:
        keeper: takes custody of what was sent.
        limits: how much is taken at once.
        tokens: bearer tokens of clients; where none of them is good for ingest, nobody needs one.
    """

    def __init__(self, keeper: Keeper, limits: Limits, tokens: Tokens | None = None) -> None:
        self._keeper = keeper
        self._bodies = Bodies(limits)
        self._tokens = tokens if tokens is not None and tokens.guard("ingest") else None
        # One body is read at a time: more would not be faster, and each may take many times its size in memory.
        self._turn = anyio.CapacityLimiter(1)
        self._counts: Counter[str] = Counter()

    async def traces(self, request: Request) -> Response:
        """POST /v1/traces."""
        return await self._export(request, "traces")

    async def logs(self, request: Request) -> Response:
        """POST /v1/logs."""
        return await self._export(request, "logs")

    async def metrics(self, request: Request) -> Response:
        """POST /v1/metrics: exporters send all three signals; these are counted and forgotten."""
        return await self._export(request, "metrics")

    async def health(self, request: Request) -> Response:
        """GET /health: 200 while the journal takes records, else 503; the numbers only for who may send, too."""
        state = await anyio.to_thread.run_sync(self._keeper.state)
        journal = state["journal"]
        well = journal["writable"] and not journal["full"] and not journal["memory_records"]
        answer: dict[str, Any] = {"status": "ok" if well else "failing"}
        if self._is_authorized(request):
            answer |= state | {"received": dict(self._counts)}
        return _json(answer, 200 if well else 503)

    async def _export(self, request: Request, signal: Signal) -> Response:
        encoding = _encoding(request)
        self._counts[f"{signal}_requests"] += 1
        try:
            if not self._is_authorized(request):
                raise NotTakenError(401, "A bearer token is required", {"WWW-Authenticate": "Bearer"})
            if encoding is None:
                raise NotTakenError(415, f"Content-Type must be one of {', '.join(TYPES)}")
            zipped = _is_zipped(request)
            async with self._bodies.held(request) as body:
                answer = await anyio.to_thread.run_sync(self._taken, signal, encoding, zipped, body, limiter=self._turn)
            if isinstance(answer, NotTakenError):
                return self._refused(answer, encoding)
            return Response(answer, media_type=NAMES[encoding])
        except NotTakenError as refusal:
            return self._refused(refusal, encoding)
        except ClientDisconnect:
            # Nobody hears this.
            return self._refused(NotTakenError(400, "The body is incomplete"), encoding)
        except anyio.get_cancelled_exc_class():
            # The process ends before this request does; left to itself, the cancellation would be answered with 500.
            return self._refused(come_back("The receiver is ending", BUSY_S), encoding)
        except Exception as error:
            return self._refused(_stumbled(signal, error), encoding)

    def _taken(self, signal: Signal, encoding: Encoding, zipped: bool, body: bytearray) -> bytes | NotTakenError:
        """As `_take`, but nothing is raised: an error handed from thread to thread refers to itself by way of its
        traceback, and would keep the body in memory until the garbage collector comes by."""
        try:
            return self._take(signal, encoding, zipped, body)
        except NotTakenError as refusal:
            return NotTakenError(refusal.http_status, refusal.message, refusal.headers)
        except Exception as error:
            return _stumbled(signal, error)

    def _take(self, signal: Signal, encoding: Encoding, zipped: bool, body: bytearray) -> bytes:
        """On a thread of its own: reads the body, takes custody, and makes the answer."""
        content = inflated(body, self._bodies.limits.inflated_bytes) if zipped else bytes(body)
        if signal == "metrics":
            return accepted(signal, encoding)
        try:
            if signal == "traces":
                decoded = otlp.traces(content, encoding)
                kept = self._keeper.spans(decoded.items)
            else:
                decoded = otlp.logs(content, encoding)
                kept = self._keeper.logs(decoded.items)
        except UndecodableError as error:
            raise NotTakenError(400, str(error)) from None
        if not kept:
            raise come_back("The journal takes nothing at the moment", BROKEN_S)
        self._counts[signal] += len(decoded.items)
        self._counts[f"{signal}_refused"] += decoded.refused
        self._counts[f"{signal}_aside"] += decoded.aside
        self._counts[f"{signal}_values_left_out"] += decoded.left_out
        told = [f"{decoded.refused} refused: {decoded.reason}"] if decoded.refused else []
        told += [f"{decoded.left_out} {LEFT_OUT}"] if decoded.left_out else []
        return accepted(signal, encoding, decoded.refused, "; ".join(told))

    def _refused(self, refusal: NotTakenError, encoding: Encoding | None) -> Response:
        self._counts[f"answered_{refusal.http_status}"] += 1
        return _told(refusal, encoding or "json")

    def _is_authorized(self, request: Request) -> bool:
        if self._tokens is None:
            return True
        return "ingest" in self._tokens.scopes(bearer(request) or "")


def application(keeper: Keeper, limits: Limits, tokens: Tokens | None = None) -> Starlette:
    """The receiver as an ASGI application."""
    receiver = Receiver(keeper, limits, tokens)
    return Starlette(
        routes=[
            Route("/v1/traces", receiver.traces, methods=["POST"]),
            Route("/v1/logs", receiver.logs, methods=["POST"]),
            Route("/v1/metrics", receiver.metrics, methods=["POST"]),
            Route("/health", receiver.health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _no_route},
    )


def _stumbled(signal: Signal, error: Exception) -> NotTakenError:
    """Never 500, after which a client would not send it again."""
    # Not the error's words, which may quote what was sent.
    logger.warning("A request to /v1/%s could not be taken (%s)", signal, type(error).__name__)
    return come_back("The receiver stumbled", BROKEN_S)


def beside(receiver: ASGIApp, api: ASGIApp) -> ASGIApp:
    """Both in one application: what the receiver has no path for goes to the API."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        await (receiver if path == "/health" or path.startswith("/v1/") else api)(scope, receive, send)

    return both


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing at this path", 405: "This path does not take this method"}
    refusal = NotTakenError(error.status_code, message.get(error.status_code, ""), dict(error.headers or {}))
    return _told(refusal, _encoding(request) or "json")


def _told(refusal: NotTakenError, encoding: Encoding) -> Response:
    content = status(refusal.rpc_code, refusal.message, encoding)
    return Response(content, refusal.http_status, refusal.headers, NAMES[encoding])


def _json(answer: dict[str, Any], http_status: int) -> Response:
    return Response(orjson.dumps(answer), http_status, media_type="application/json")


def _encoding(request: Request) -> Encoding | None:
    return TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())


def _is_zipped(request: Request) -> bool:
    named = request.headers.get("content-encoding", "").strip().lower()
    if named not in ("", "identity", *GZIP):
        raise NotTakenError(415, "Content-Encoding must be gzip or none", {"Accept-Encoding": "gzip"})
    return named in GZIP
