"""What both encodings of OTLP share: ids, what is refused, and how deep a value may be."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

MOST_DEPTH = 48
"""Levels of lists and objects in one value. Protobuf's own parser goes no deeper; JSON could go on for ever."""
MOST_ATTRIBUTES = 65_536
"""Of one span, event, log record or resource, and items of one list or object. SDKs keep 128 attributes unless they are
told otherwise; in flat conventions a history of ten thousand messages has three for each."""
MOST_EVENTS = 4_096
"""Of one span; SDKs keep 128 unless they are told otherwise."""
MOST_VALUES = 1_000_000
"""Of one request: attributes, items and events, and `ITEM_VALUES` for each span or log record. Each takes a few
hundred bytes of memory, however few it has in the body."""
ITEM_VALUES = 8
TOO_MANY = f"more than {MOST_VALUES} values in one request: send smaller batches"
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
    left_out: int = 0
    """Attributes, items of lists and objects, and events that are not kept: too many, or of a wrong type."""


class RefusedError(Exception):
    """One item can never be accepted; its text says why, without anything of its content."""


class Bounds:
    """How much one request may still bring, and what of it is not kept."""

    def __init__(self) -> None:
        self.refused = 0
        self.reason = ""
        self.left_out = 0
        self._room = MOST_VALUES

    def item(self) -> None:
        """One more span or log record.

        Raises:
            RefusedError: the request has no room for it.
        """
        if self._room < ITEM_VALUES:
            raise RefusedError(TOO_MANY)
        self._room -= ITEM_VALUES

    def kept(self, count: int, most: int = MOST_ATTRIBUTES) -> int:
        """How many of so many values are kept; the others are counted."""
        kept = min(count, most, self._room)
        self._room -= kept
        self.left_out += count - kept
        return kept

    def refuse(self, error: RefusedError) -> None:
        """Count one item that is not taken."""
        self.refused += 1
        self.reason = self.reason or str(error)

    def decoded(self, items: list[T], aside: int = 0) -> Decoded[T]:
        """What the request brought."""
        return Decoded(items, self.refused, self.reason, aside, self.left_out)


def cut(kind: str, size: int) -> dict[str, str]:
    """What stands in the place of a list or an object that lies too deep, as in payloads that are too deep."""
    return {"$cut": f"{kind} of {size}"}
