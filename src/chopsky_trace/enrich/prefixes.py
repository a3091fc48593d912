"""Long lists of body ids -> how they begin, as rows of their own, and the rest.

A session whose turns are runs of their own sends all of its history with each: only the rest is told anew. A row's id
follows from the list alone, so lists that begin alike share rows, in whatever batch, process or order they come.
"""

from __future__ import annotations

import re
from typing import Any, cast

from chopsky_trace.records import content_id

CHUNK = 64
"""Body ids in a row."""
MIN_LENGTH = 128
"""Shorter lists stay as they are."""
_ID = re.compile(r"[0-9a-f]{32}")
_NO_STRETCH = ("0" * 32, 0, 0)


class Prefixes:
    """Takes out the beginnings of one batch's lists."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of conversation_prefixes, sorted by id."""
        return [self._found[key] for key in sorted(self._found)]

    def shorten(self, ids: list[str]) -> tuple[str | None, list[str]]:
        """The row that a list begins with, if it is a long one, and the ids after it.

        Args:
            ids: body ids, 32 hex digits each.
        """
        if len(ids) < MIN_LENGTH:
            return None, ids
        before: str | None = None
        whole = len(ids) // CHUNK * CHUNK
        for start in range(0, whole, CHUNK):
            bodies = ids[start : start + CHUNK]
            node = content_id(((before or "") + "".join(bodies)).encode())
            if node not in self._found:
                self._found[node] = {"id": node, "extends": before, "length": start + CHUNK, "bodies": bodies}
            before = node
        return before, ids[whole:]

    def shortened(self, reference: dict[str, Any]) -> dict[str, Any]:
        """A payload's `{"$messages": [ids], "$of": ...}`, its beginning as `$prefix`; anything else stays."""
        told = reference.get("$messages")
        if not isinstance(told, list) or not reference.keys() <= {"$messages", "$of"}:
            return reference
        ids = cast("list[Any]", told)
        if len(ids) < MIN_LENGTH or not all(map(_is_id, ids)) or not _is_stretch(reference.get("$of", _NO_STRETCH)):
            return reference
        prefix, rest = self.shorten(ids)
        return {"$prefix": prefix, **reference, "$messages": rest}


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_stretch(told: Any) -> bool:
    """Whether readers take it for a stretch: else the object is a user's, and stays as it is."""
    match told:
        case [span, start, stop] if type(start) is int and type(stop) is int:
            return _is_id(span) and 0 <= start <= stop
        case _:
            return False
