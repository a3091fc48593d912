"""An answer that is too long for one piece."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chopsky_trace.server.problems import ProblemError

logger = logging.getLogger("chopsky_trace")


class Pieces(Response):
    """An answer in pieces. If one cannot be had, it ends early, so that nobody takes a part for the whole."""

    media_type = "application/json"

    def __init__(self, pieces: AsyncGenerator[bytes] | bytes, headers: dict[str, str]) -> None:
        super().__init__(pieces if isinstance(pieces, bytes) else b"", headers=headers)
        self._pieces = None if isinstance(pieces, bytes) else pieces
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            if self._pieces is not None:
                async for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ProblemError as problem:
            logger.warning("An export was broken off: %s", problem.detail)
            return
        await send({"type": "http.response.body", "body": b""})
