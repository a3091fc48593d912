"""A request's body: received within bounds of size, time and memory; inflated within a bound."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio
from starlette.requests import Request

from chopsky_trace.server.refusals import BUSY_S, Limits, NotTakenError, come_back

GZIP = 16 + zlib.MAX_WBITS
PIECE_BYTES = 1 << 16
MOST_MEMBERS = 100
"""Of a gzip body: more would be a way to keep us busy, not a way to send anything."""


class Bodies:
    """Bodies that are held now, and how much more may be. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes = 0
        self.requests = 0

    @asynccontextmanager
    async def held(self, request: Request) -> AsyncGenerator[bytearray]:
        """The request's whole body; its bytes count as held until the context ends.

        Raises:
            NotTakenError: it is too long, too slow, or too much is held already.
            ClientDisconnect: the client went away.
        """
        if self.requests >= self.limits.requests:
            raise come_back("Too many requests at once", BUSY_S)
        body = bytearray()
        self.requests += 1
        try:
            # What is announced is not believed, but spares us the first byte of what cannot be taken.
            self._admit(0, _announced(request))
            try:
                with anyio.fail_after(self.limits.body_s):
                    await self._receive(request, body)
            except TimeoutError:
                raise NotTakenError(408, f"The body did not come within {self.limits.body_s:g} seconds") from None
            yield body
        finally:
            self.requests -= 1
            self.bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                self._admit(len(body), len(piece))
                body += piece
                self.bytes += len(piece)

    def _admit(self, had: int, more: int) -> None:
        if had + more > self.limits.body_bytes:
            raise NotTakenError(413, f"The body is longer than {self.limits.body_bytes} bytes: send smaller batches")
        if self.bytes + more > self.limits.buffer_bytes:
            raise come_back("Too much is being sent at once", BUSY_S)


def _announced(request: Request) -> int:
    try:
        return int(request.headers.get("content-length", "0"))
    except ValueError:
        return 0


def inflated(body: bytes | bytearray, most_bytes: int) -> bytes:
    """A gzip body's content. No more than `most_bytes` are ever made of it.

    Raises:
        NotTakenError: it is longer, or no gzip.
    """
    found: list[bytes] = []
    room = most_bytes
    members = 1
    stream = zlib.decompressobj(GZIP)
    try:
        for start in range(0, len(body), PIECE_BYTES):
            rest = bytes(body[start : start + PIECE_BYTES])
            while rest:
                if stream.eof:
                    members += 1
                    if members > MOST_MEMBERS:
                        raise NotTakenError(400, "The body is gzip of too many parts")
                    stream = zlib.decompressobj(GZIP)
                # One more than there is room for tells that it is too long.
                found.append(stream.decompress(rest, room + 1))
                room -= len(found[-1])
                if room < 0:
                    raise NotTakenError(413, f"The body inflates to more than {most_bytes} bytes: send smaller batches")
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    except zlib.error:
        raise NotTakenError(400, "The body is not gzip, as Content-Encoding says") from None
    if body and not stream.eof:
        raise NotTakenError(400, "The body's gzip ends too early")
    return b"".join(found)
