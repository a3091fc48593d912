"""Pages of what is read, as the command line's JSON and the API have them, and the places where the next begin."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from chopsky_trace.database.read import Reader, Row
from chopsky_trace.errors import CursorError

MOST_PLACE = 2**31 - 1


def run_page(
    reader: Reader,
    run_id: UUID,
    *,
    limit: int,
    messages: bool = True,
    spans: bool = True,
    internal: bool = False,
    after_message: int = 0,
    after_span: UUID | None = None,
    feedback: int = 100,
) -> dict[str, Any]:
    """A run with a page of its messages and one of its spans; what is not asked for is None.

    Args:
        reader: reads it.
        run_id: which.
        limit: most messages, and most spans.
        messages: whether messages are asked for.
        spans: whether spans are.
        internal: with the internal messages.
        after_message: the `next_messages` of the page before.
        after_span: the `next_spans` of the page before.
        feedback: most feedback, which comes with the first page.

    Raises:
        NotFoundError: it is not stored.
    """
    page: dict[str, Any] = {"kind": "run", "run": reader.run(run_id), "messages": None, "spans": None}
    is_first = not after_message and after_span is None
    page["feedback"] = reader.feedback(run_id, limit=feedback) if is_first else []
    page |= {"next_messages": None, "next_spans": None}
    if messages:
        found = reader.messages(run_id, limit=limit + 1, after=after_message, internal=internal)
        page["messages"] = found[:limit]
        page["next_messages"] = found[limit - 1]["sequence"] if len(found) > limit else None
    if spans:
        found = reader.spans(run_id, limit=limit + 1, after=after_span)
        page["spans"] = found[:limit]
        page["next_spans"] = found[limit - 1]["id"] if len(found) > limit else None
    return page


def cursor(row: Row, *columns: str) -> str:
    """The place of a row among others: times, uuids and integers of these columns."""
    values = [row[name].isoformat() if isinstance(row[name], datetime) else row[name] for name in columns]
    return base64.urlsafe_b64encode(json.dumps(values, default=str).encode()).decode().rstrip("=")


def place(text: str, *kinds: type[datetime] | type[UUID] | type[int]) -> list[Any]:
    """What `cursor` was given.

    Raises:
        CursorError: it was never made by `cursor`.
    """
    try:
        values = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        return [_read(value, kind) for value, kind in zip(values, kinds, strict=True)]
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise CursorError("This is no place in the list") from None


def _read(value: Any, kind: type[datetime] | type[UUID] | type[int]) -> Any:
    if kind is int:
        if not isinstance(value, int) or not 0 <= value <= MOST_PLACE:
            raise ValueError
        return value
    if kind is UUID:
        return UUID(value)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment
