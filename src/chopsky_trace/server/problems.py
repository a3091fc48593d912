"""Why a request is not answered, as RFC 9457 has it."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from chopsky_trace.database.encode import encode

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        detail: what the client is told: what to do, and nothing of other people's.
        headers: more of the answer's headers.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer."""
        said = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail}
        return Response(encode(said), self.status, self.headers, MEDIA_TYPE)


def unknown(detail: str) -> ProblemError:
    """401: nobody known asks."""
    return ProblemError(401, detail, {"WWW-Authenticate": "Bearer"})


def later(detail: str, after_s: int = 1) -> ProblemError:
    """503: not now."""
    return ProblemError(503, detail, {"Retry-After": str(after_s)})
