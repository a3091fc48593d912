"""Why a request is not taken, as HTTP and as google.rpc.Status."""

from __future__ import annotations

from typing import NamedTuple

INVALID, UNKNOWN_METHOD, UNAVAILABLE, UNAUTHENTICATED, TOO_LATE = 3, 12, 14, 16, 4
RPC_CODES = {401: UNAUTHENTICATED, 404: UNKNOWN_METHOD, 405: UNKNOWN_METHOD, 408: TOO_LATE, 503: UNAVAILABLE}
"""Of google.rpc.Code; what is not here is an invalid request."""
BUSY_S = 1
"""When to come back, in seconds, to a receiver that has too much to do."""
BROKEN_S = 10
"""When to come back to one whose journal takes nothing."""


class NotTakenError(Exception):
    """A request that is not taken.

    Args:
        http_status: 503 asks the client to come back; with any other it must not send the same again.
        message: what the client is told; nothing of what it sent.
        headers: more of the answer's headers.
    """

    def __init__(self, http_status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.message = message
        self.headers = headers or {}

    @property
    def rpc_code(self) -> int:
        """The same as google.rpc.Code says it."""
        return RPC_CODES.get(self.http_status, INVALID)


def come_back(message: str, after_s: int) -> NotTakenError:
    """Custody cannot be taken now: the client keeps what it has and sends it again."""
    return NotTakenError(503, message, {"Retry-After": str(after_s)})


class Limits(NamedTuple):
    """How much is taken at once."""

    body_bytes: int
    """Longest body as it was sent."""
    inflated_bytes: int
    """Longest body after decompression."""
    buffer_bytes: int
    """Most bytes of bodies at once, as they were sent."""
    body_s: float
    """Longest time for one body."""
    requests: int = 512
    """Most requests at once whose body has begun to come."""
