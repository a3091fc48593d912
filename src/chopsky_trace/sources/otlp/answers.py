"""What a receiver of OTLP answers, in protobuf or JSON.

All of these messages are of one shape, a number and a text, so they are written here by hand: Export*ServiceResponse
holds in field 1 its partial success (1: how many were rejected, 2: why), google.rpc.Status has (1: code, 2: message).
"""

from __future__ import annotations

from typing import Literal

import orjson

Encoding = Literal["protobuf", "json"]
Signal = Literal["traces", "logs", "metrics"]
REJECTED = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}
MOST_CHARS = 2_000
"""Of a message; a whole answer may have 4 MiB."""


def accepted(signal: Signal, encoding: Encoding, rejected: int = 0, reason: str = "") -> bytes:
    """The answer to a request that was taken, but for what will never be accepted.

    Args:
        signal: what was sent.
        encoding: the request's own.
        rejected: how many items will never be accepted.
        reason: why; also what of the others was left out. Without it there is no partial success.
    """
    if not reason:
        return b"{}" if encoding == "json" else b""
    if encoding == "json":
        # int64 is text in protobuf's JSON.
        return orjson.dumps({"partialSuccess": {REJECTED[signal]: str(rejected), "errorMessage": reason[:MOST_CHARS]}})
    held = _pair(rejected, reason)
    return b"\x0a" + _varint(len(held)) + held


def status(code: int, message: str, encoding: Encoding) -> bytes:
    """The answer to a request that was not taken: google.rpc.Status."""
    if encoding == "json":
        return orjson.dumps({"code": code, "message": message[:MOST_CHARS]})
    return _pair(code, message)


def _pair(number: int, text: str) -> bytes:
    encoded = text[:MOST_CHARS].encode(errors="replace")
    return b"\x08" + _varint(number) + b"\x12" + _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
