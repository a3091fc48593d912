"""What both encodings of OTLP share: ids, what is refused, and how deep a value may be."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MOST_DEPTH = 48
"""Levels of lists and objects in one value. Protobuf's own parser goes no deeper; JSON could go on for ever."""
NO_ID = "no valid trace id or span id (32 and 16 hex digits in JSON, 16 and 8 bytes in protobuf, not all zero)"
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16


class Decoded(NamedTuple, Generic[T]):
    """What a request brought."""

    items: list[T]
    refused: int
    """Items that can never be accepted."""
    reason: str
    """Why the first of them was refused, "" where none was; without anything of its content."""
    aside: int = 0
    """Log records that belong to no span: nothing is wrong with them, but they are none of ours."""


class RefusedError(Exception):
    """One item can never be accepted; its text says why, without anything of its content."""


class Refusals:
    """Counts what is refused of one request, and remembers the first reason."""

    def __init__(self) -> None:
        self.count = 0
        self.reason = ""

    def add(self, error: RefusedError) -> None:
        """Count one item."""
        self.count += 1
        self.reason = self.reason or str(error)


def cut(value: Any) -> dict[str, str]:
    """What stands in the place of a list or an object that lies too deep, as in payloads that are too deep."""
    return {"$cut": f"{type(value).__name__} of {len(value)}"}
