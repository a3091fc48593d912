"""What people say of runs and messages, given and taken back one by one, for the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from chopsky_trace.database.pages import cursor, place
from chopsky_trace.database.read import Reader, Row
from chopsky_trace.database.requests import as_server
from chopsky_trace.errors import NotFoundError

FILE = "feedback.sql"
MOST_OF_RUN = 100


class Ratings:
    """Feedback, within one transaction.

    Args:
        reader: of that transaction.
        own: whether it is a signed-in user's: then row level security says which rows there are for them.
    """

    def __init__(self, reader: Reader, *, own: bool) -> None:
        self._reader = reader
        self._own = own

    def give(self, about: UUID, answer: int | None, *, user_id: str | None, source: str, **said: Any) -> Row:
        """Stores it in the place of what the same user said before of the same, under the same key; returns its row.

        Args:
            about: the id of a message, a run or (the server's own role only) a span.
            answer: which answer, from 0, of the model call that `about` names; None: `about` itself is meant.
            user_id: who says it; None: whose conversation it is. A signed-in user speaks for themselves.
            source: where it is from. A signed-in user's is from `app`.
            said: `key`, `thumbs`, `score`, `value` (JSON) and `comment`.

        Raises:
            NotFoundError: a signed-in user has no such message or run. For the server's role it may come later.
        """
        found = self._answered(about, answer)
        if found is not None:
            about, answer = found, None
        if not self._own:
            id = self._rows("give", about=about, answer=answer, user_id=user_id, source=source, **said)[0]["id"]
        else:
            target = [] if answer is not None else self._rows("own_target", about=about)
            if not target:
                raise NotFoundError("There is no such message or conversation run of yours")
            id = self._rows("give_own", **target[0], **said)[0]["id"]
        row = self._rows("given", id=id)
        if not row:
            # Somebody said the same of it a moment later.
            raise NotFoundError(f"No feedback {id}")
        return self._whole(row)[0]

    def take_back(self, id: UUID) -> Row:
        """Removes it.

        Raises:
            NotFoundError: there is none, or it is not the user's own.
        """
        if not self._rows("take_back", id=id):
            raise NotFoundError(f"No feedback {'of your own ' if self._own else ''}{id}")
        return {"id": id}

    def of_run(self, run_id: UUID) -> list[Row]:
        """Of a run and of what is in it, the latest first."""
        return self._rows("of_run", run_id=run_id, limit=MOST_OF_RUN)

    def of_conversation(self, session_key: UUID, *, limit: int, after: str | None) -> Row:
        """A page of what was said of a conversation, the latest first, and where the next begins.

        Raises:
            CursorError: `after` is not the `next` of a page.
        """
        after_at, after_id = (None, None) if after is None else place(after, datetime, UUID)
        found = self._rows(
            "of_conversation", session_key=session_key, limit=limit + 1, after=after_id, after_at=after_at
        )  # fmt: skip
        page = found[:limit]
        following = cursor(page[-1], "updated_at", "id") if len(found) > limit else None
        return {"feedback": self._whole(page), "next": following}

    def _answered(self, about: UUID, answer: int | None) -> UUID | None:
        if answer is None:
            return None
        if not self._own:
            found = self._rows("answered", about=about, answer=answer)
        else:
            # A user sees no calls; whether the message is theirs is asked as they.
            with as_server(self._reader):
                found = self._rows("answered", about=about, answer=answer)
        return found[0]["id"] if found else None

    def _whole(self, rows: list[Row]) -> list[Row]:
        if self._own or not rows:
            return rows
        details = {row["id"]: row for row in self._rows("details", ids=[row["id"] for row in rows])}
        return [row | details.get(row["id"], {}) for row in rows]

    def _rows(self, name: str, **parameters: object) -> list[Row]:
        return self._reader.rows(name, file=FILE, **parameters)
