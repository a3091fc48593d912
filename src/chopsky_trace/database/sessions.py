"""What the API reads and does: conversations (sessions) and runs, for the server's role or for a signed-in user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from chopsky_trace.database.pages import cursor, place, run_page
from chopsky_trace.database.ratings import Ratings
from chopsky_trace.database.read import Reader, Row, RunFilter
from chopsky_trace.database.requests import FILE, as_server
from chopsky_trace.errors import AmbiguousError, NotFoundError

View = Literal["all", "messages", "tree"]
MESSAGE_PLACE = ("began", "run_place", "place", "id")
MESSAGE_KINDS = (datetime, UUID, int, UUID)
NOWHERE = dict.fromkeys(("began", "run", "place", "id"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationFilter:
    """Which conversations; None leaves a column open. `since`: active then or later."""

    user_id: str | None = None
    tenant_id: str | None = None
    project: str | None = None
    state: str | None = None
    archived: bool | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Whose:
    """What tells conversations of one name apart; None leaves it open."""

    user_id: str | None = None
    tenant_id: str | None = None
    project: str | None = None


class Sessions:
    """Reads within one transaction.

    Args:
        reader: of that transaction.
        own: whether it is a signed-in user's, who may not read every column.
    """

    def __init__(self, reader: Reader, *, own: bool) -> None:
        self._reader = reader
        self.own = own
        self.ratings = Ratings(reader, own=own)

    @cached_property
    def scope(self) -> Row:
        """A signed-in user's `user_id` and what they may read: `reads_tenant`, `reads_run_costs`,
        `reads_message_costs`. Asked once in a transaction, where it matters: grants change while a server runs."""
        return self._rows("scope")[0]

    def conversations(self, wanted: ConversationFilter, *, limit: int, after: str | None) -> Row:
        """A page of conversations with their sums, the latest active first, and where the next begins.

        Raises:
            CursorError: `after` is not the `next` of a page.
        """
        after_at, after_id = (None, None) if after is None else place(after, datetime, UUID)
        values = asdict(wanted) | {"user_id": self._whose(wanted.user_id)}
        found = self._rows("conversations", limit=limit + 1, after=after_id, after_at=after_at, **values)
        page = found[:limit]
        sums = self._sums([row["id"] for row in page])
        following = cursor(page[-1], "last_activity_at", "id") if len(found) > limit else None
        return {"conversations": [row | sums[row["id"]] for row in page], "next": following}

    def find(self, text: str, whose: Whose) -> UUID:
        """The id of the conversation that an application's name for it, its id or its key stands for.

        Raises:
            NotFoundError: there is none, or none that may be read.
            AmbiguousError: there are several.
        """
        try:
            known: UUID | None = UUID(text)
        except ValueError:
            known = None
        found = self._rows("conversations_named", called=text, id=known, **asdict(whose))
        if not found:
            raise NotFoundError(f"No conversation {text!r}")
        if len(found) > 1:
            some = ", ".join(str(row["id"]) for row in found[:3]) + (", and more" if len(found) > 3 else "")
            raise AmbiguousError(f"{text!r} stands for several conversations: {some}")
        return found[0]["id"]

    def conversation(self, id: UUID, *, limit: int, before: str | None, internal: bool = False) -> Row:
        """A conversation with its latest messages before a place, the earliest of them first.

        Raises:
            NotFoundError: it is gone.
            CursorError: `before` is not the `previous` of a page.
        """
        row = self.row(id)
        values = NOWHERE if before is None else _place(before)
        found = self._rows("said_before", session_key=row["session_key"], internal=internal, limit=limit + 1, **values)
        page = found[:limit]
        earlier = cursor(page[-1], *MESSAGE_PLACE) if len(found) > limit else None
        messages = self._whole(page[::-1])
        return {"conversation": row | self._sums([id])[id], "messages": messages, "previous": earlier}

    def row(self, id: UUID) -> Row:
        """A conversation's own columns.

        Raises:
            NotFoundError: it is gone.
        """
        found = self._rows("conversation", id=id)
        if not found:
            raise NotFoundError(f"No conversation {id}")
        return found[0] if self.own else found[0] | self._rows("conversation_details", id=id)[0]

    def messages_after(self, session_key: UUID, after: str | None, *, limit: int) -> tuple[list[Row], str | None]:
        """A page of all that was said, the earliest first, and where the next begins."""
        values = NOWHERE if after is None else _place(after)
        found = self._rows("said_after", session_key=session_key, internal=False, limit=limit + 1, **values)
        page = found[:limit]
        following = cursor(page[-1], *MESSAGE_PLACE) if len(found) > limit else None
        return self._whole(page), following

    def runs(self, wanted: RunFilter, *, limit: int, after: str | None) -> Row:
        """A page of runs, the latest first, and where the next begins.

        Raises:
            CursorError: `after` is not the `next` of a page.
        """
        after_at, after_id = (None, None) if after is None else place(after, datetime, UUID)
        if self.own:
            values = asdict(wanted) | {"user_id": self._whose(wanted.user_id)}
            del values["project"]
            found = self._rows("own_runs", limit=limit + 1, after=after_id, after_at=after_at, **values)
            self._add(found, "run_costs" if self.scope["reads_run_costs"] else None)
        else:
            found = self._reader.runs(wanted, limit=limit + 1, after=after_id, after_at=after_at)
        following = cursor(found[limit - 1], "created_at", "id") if len(found) > limit else None
        return {"runs": found[:limit], "next": following}

    def run(self, id: UUID, view: View, *, limit: int, after_message: int, after_span: UUID | None) -> Row:
        """A run with a page of its transcript and one of its calls; a signed-in user reads no calls.

        Raises:
            NotFoundError: it is not stored, or may not be read.
        """
        if not self.own:
            return run_page(
                self._reader, id, limit=limit, messages=view != "tree", spans=view != "messages",
                internal=view == "messages", after_message=after_message, after_span=after_span,
            )  # fmt: skip
        found = self._rows("own_run", id=id)
        if not found:
            raise NotFoundError(f"No conversation run {id}")
        self._add(found, "run_costs" if self.scope["reads_run_costs"] else None)
        page: Row = {"kind": "run", "run": found[0], "messages": None, "spans": None}
        is_first = not after_message and after_span is None
        page["feedback"] = self.ratings.of_run(id) if is_first else []
        page |= {"next_messages": None, "next_spans": None}
        if view != "tree":
            messages = self._rows("own_messages", run_id=id, limit=limit + 1, after=after_message)
            page["messages"] = messages[:limit]
            self._add(page["messages"], self._message_details())
            page["next_messages"] = messages[limit - 1]["sequence"] if len(messages) > limit else None
        return page

    def stats(self) -> Row:
        """How many conversations and messages there are, how many conversations have expired, and `ttl_hours`: how long
        they are kept after their last activity, in hours; None: no rule for all of them says so, or it may not be read.
        """
        found = self._rows("stats")[0]
        if not self.own:
            return found | {"ttl_hours": self._ttl_hours()}
        with as_server(self._reader):
            return found | {"ttl_hours": self._ttl_hours()}

    def _ttl_hours(self) -> float | None:
        rules = self._rows("time_to_live") if self._rows("reads_policies")[0]["is_granted"] else []
        hours = rules[0]["ttl_hours"] if rules else None
        return int(hours) if hours is not None and hours.is_integer() else hours

    def clear(self, id: UUID) -> Row:
        """Removes a conversation's runs and messages; the conversation itself stays. In a transaction that may write.

        Raises:
            NotFoundError: it is not there, or not the user's own.
            HeldError: it is under a legal hold.
        """
        name = self.row(id)["session_id"]
        return {"conversation_id": name, "messages": self._rows("clear", id=id)[0]["messages"]}

    def _rows(self, name: str, **parameters: object) -> list[Row]:
        return self._reader.rows(name, file=FILE, **parameters)

    def _whose(self, asked: str | None) -> str | None:
        """The user to ask for: an index answers for one, where policies alone would have every row looked at."""
        if not self.own or asked is not None:
            return asked
        return None if self.scope["reads_tenant"] else self.scope["user_id"]

    def _sums(self, ids: list[UUID]) -> dict[UUID, Row]:
        whole = not self.own or (self.scope["reads_run_costs"] and self.scope["reads_message_costs"])
        found = self._rows("conversation_totals" if whole else "conversation_counts", ids=ids)
        return {row["id"]: {name: row[name] for name in row if name != "id"} for row in found}

    def _whole(self, messages: list[Row]) -> list[Row]:
        """Messages without what only their order needs, and with their details for who may read them."""
        for row in messages:
            for name in MESSAGE_PLACE[:-1]:
                del row[name]
        self._add(messages, self._message_details())
        return messages

    def _message_details(self) -> str | None:
        if not self.own:
            return "message_details"
        return "message_costs" if self.scope["reads_message_costs"] else None

    def _add(self, rows: list[Row], details: str | None) -> None:
        """Adds what a statement has of the same ids; None: nothing."""
        if details is None or not rows:
            return
        found = {row["id"]: row for row in self._rows(details, ids=[row["id"] for row in rows])}
        for row in rows:
            row |= found.get(row["id"], {})


def _place(text: str) -> dict[str, Any]:
    return dict(zip(("began", "run", "place", "id"), place(text, *MESSAGE_KINDS), strict=True))
