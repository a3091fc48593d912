"""The read API as an ASGI application: for `serve`, or to be mounted in an application of the user's own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from chopsky_trace.database.encode import encode
from chopsky_trace.database.read import Row
from chopsky_trace.database.requests import Requests
from chopsky_trace.database.sessions import Sessions
from chopsky_trace.errors import (
    AmbiguousError,
    BusyError,
    CursorError,
    HeldError,
    NotFoundError,
    TraceError,
)
from chopsky_trace.server.access import Access
from chopsky_trace.server.bodies import Bodies
from chopsky_trace.server.configured import guard_of, requests_of, tokens_of
from chopsky_trace.server.endpoints import ENDPOINTS, Endpoint
from chopsky_trace.server.feedback import MOST_BYTES, read_feedback
from chopsky_trace.server.openapi import document
from chopsky_trace.server.parameters import NUL, read_query
from chopsky_trace.server.pieces import Pieces
from chopsky_trace.server.problems import ProblemError, later, unknown
from chopsky_trace.server.refusals import Limits, NotTakenError
from chopsky_trace.settings import Settings
from chopsky_trace.sources.destination import options_of
from chopsky_trace.telling.options import Options

logger = logging.getLogger("chopsky_trace")

Authorize = Callable[[Request], Access | Awaitable[Access | None] | None]
"""Says what a request may do; None: nothing, it is answered with 401."""
EXPORTED_AT_ONCE = 500
MOST_BODIES = 64
BODY_S = 10.0
"""How many bodies may be on their way at once, and for how long each."""
PRIVATE = {"Cache-Control": "no-store"}
STATUSES: tuple[tuple[type[TraceError], int], ...] = (
    (CursorError, 400),
    (NotFoundError, 404),
    (AmbiguousError, 409),
    (HeldError, 409),
)


class ReadApi(Starlette):
    """Answers requests for conversations and runs; `close` it where it is no longer served.

    Args:
        requests: transactions for them.
        authorize: says what a request may do.
        options: what of comments may be stored.
        origins: of pages that may ask from elsewhere (CORS); `*` is any.
    """

    def __init__(self, requests: Requests, authorize: Authorize, options: Options, origins: Iterable[str] = ()) -> None:
        self._requests = requests
        self._authorize = authorize
        self._options = options
        self._bodies = Bodies(Limits(MOST_BYTES, MOST_BYTES, MOST_BYTES * MOST_BODIES, BODY_S, MOST_BODIES))
        # As many threads as there are connections: who waits, waits here, and holds up nothing else.
        self._turns = anyio.CapacityLimiter(requests.size)
        cors = Middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
        super().__init__(
            routes=[
                *(Route(_route(one), self._endpoint(one), methods=[one.method], name=one.name) for one in ENDPOINTS),
                Route("/openapi.json", self._document, methods=["GET"]),
            ],
            middleware=[cors] if cors.kwargs["allow_origins"] else [],
            exception_handlers={HTTPException: _no_route},
        )

    def close(self) -> None:
        """Closes its connections; what is under way is broken off."""
        self._requests.close()

    def _endpoint(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await self._answer(endpoint, request)
            except ProblemError as problem:
                return problem.response()
            except ClientDisconnect:
                # Nobody hears this.
                return ProblemError(400, "The body is incomplete").response()
            except Exception as error:
                return _stumbled(endpoint, error)

        return answer

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        access = await self._access(endpoint, request)
        values = read_query(endpoint.parameters, request.scope["query_string"])
        id = str(request.path_params.get("id", ""))
        if NUL in id:
            raise ProblemError(404, "Nothing has an id with NUL in it")
        if endpoint.takes:
            values |= await self._given(request)

        def ask(sessions: Sessions) -> Row:
            return endpoint.answer(sessions, id, values)

        found = await self._asked(ask, access, changes=endpoint.changes)
        if endpoint.streams:
            return Pieces(b"" if request.method == "HEAD" else self._export(found, access), headers=PRIVATE)
        # Large answers are made beside the event loop, too.
        body = await anyio.to_thread.run_sync(lambda: encode(found).encode(), limiter=self._turns)
        return Response(body, headers=PRIVATE, media_type="application/json")

    async def _access(self, endpoint: Endpoint, request: Request) -> Access:
        told = self._authorize(request)
        access = await told if inspect.isawaitable(told) else told
        if access is None:
            raise unknown("A bearer token is required")
        if access.claims is None and not access.may(endpoint.scope):
            raise ProblemError(403, f"This needs a token with the scope {endpoint.scope}")
        return access

    async def _given(self, request: Request) -> dict[str, Any]:
        """What the body says."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            raise ProblemError(415, "Send the body as application/json, not compressed")
        try:
            async with self._bodies.held(request) as body:
                return read_feedback(bytes(body), self._options)
        except NotTakenError as refusal:
            raise ProblemError(refusal.http_status, refusal.message, refusal.headers) from None

    async def _asked(self, ask: Callable[[Sessions], Row], access: Access, *, changes: bool = False) -> Row:
        """What a transaction answers, on a thread; never longer than all of its statements may take."""

        def run() -> Row:
            with self._requests.transaction(access.claims, read_only=not changes) as reader:
                return ask(Sessions(reader, own=access.claims is not None))

        try:
            with anyio.fail_after(self._requests.patience_s):
                return await anyio.to_thread.run_sync(run, limiter=self._turns, abandon_on_cancel=True)
        except TimeoutError:
            raise later("The database does not answer in time") from None
        except BusyError:
            raise later("The database has too much to do") from None
        except TraceError as error:
            status = next((status for kind, status in STATUSES if isinstance(error, kind)), None)
            if status is None:
                # What went wrong is for who runs the server; a client is told when to come back.
                logger.warning("The API cannot read: %s", error)
                raise later("The database cannot be read now", 5) from None
            raise ProblemError(status, error.detail) from None

    async def _export(self, row: Row, access: Access) -> AsyncGenerator[bytes]:
        """A conversation page by page: a client that reads slowly holds no connection."""
        head = {"conversation_id": row["session_id"]} | {name: row[name] for name in ("created_at", "updated_at")}
        yield f'{encode(head)[:-1]}, "messages": ['.encode()
        after: str | None = None
        first = True
        while first or after is not None:
            page = await self._asked(
                lambda sessions, at=after: _exported(sessions, row, at), access
            )  # fmt: skip
            separator = "" if first else ", "
            after, first = page["next"], False
            if page["messages"]:
                yield (separator + encode(page["messages"])[1:-1]).encode()
        yield f'], "metadata": {encode(row.get("metadata"))}}}'.encode()

    async def _document(self, request: Request) -> Response:
        return Response(encode(document(request.scope.get("root_path", ""))), media_type="application/json")


def _exported(sessions: Sessions, row: Row, after: str | None) -> Row:
    messages, following = sessions.messages_after(row["session_key"], after, limit=EXPORTED_AT_ONCE)
    kept = [
        {"role": one["role"], "content": one["content"], "timestamp": one["created_at"]}
        | ({"metadata": one["metadata"]} if "metadata" in one else {})
        for one in messages
    ]
    return {"messages": kept, "next": following}


def _route(endpoint: Endpoint) -> str:
    # An application's own name for a conversation may have a slash in it.
    return endpoint.path.replace("{id}", "{id:path}")


def _stumbled(endpoint: Endpoint, error: Exception) -> Response:
    # Its words may quote what is stored.
    logger.warning("A request to %s could not be answered (%s)", endpoint.path, type(error).__name__)
    return ProblemError(500, "This could not be answered; the server's log says what kind of error it was").response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing at this path", 405: "This path does not take this method"}
    detail = message.get(error.status_code, "This cannot be answered")
    return ProblemError(error.status_code, detail, dict(error.headers or {})).response()


def api_app(
    authorize: Authorize | None = None,
    *,
    database_url: str | None = None,
    settings: Settings | None = None,
    origins: Iterable[str] = (),
) -> ReadApi:
    """The read API, to be mounted in an ASGI application: `app.mount("/traces", api_app(authorize))`.

    Args:
        authorize: is given each request and says what it may do: `Access.read()`, `Access.admin()`,
            `Access.user(claims)`, or None for nothing. May be a coroutine. Without it the tokens and users' keys of
            the settings count; without these either, every request is refused.
        database_url: Postgres URL, or `embedded`; otherwise as the tracer finds it.
        settings: every other setting; from the environment where not given.
        origins: of pages that may ask from elsewhere; leave it empty where your application has its own CORS.

    Raises:
        NoDatabaseError: no database is configured.
        ServeError: a token or key in the settings cannot be used.
    """
    settings = settings or Settings.from_env()
    if authorize is None:
        authorize = guard_of(settings, tokens_of(settings)).access
    return ReadApi(requests_of(settings, database_url), authorize, options_of(settings), origins)
