"""The API's paths: what each takes, needs, does and answers with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from chopsky_trace.database.read import Row, RunFilter
from chopsky_trace.database.sessions import ConversationFilter, Sessions, Whose
from chopsky_trace.errors import NotFoundError
from chopsky_trace.records import STATUSES
from chopsky_trace.server.parameters import Parameter, choice, flag, limit, moment, text

Values = Mapping[str, Any]
STATES = (
    "initial", "gathering", "clarifying", "planning", "confirming", "delegated", "reviewing", "delivered", "cancelled",
)  # fmt: skip
VIEWS = ("all", "messages", "tree")
MOST_ROWS = 200
MOST_MESSAGES = 1_000

USER, TENANT = text("user", "Of this user."), text("tenant", "Of this tenant.")
PROJECT = text("project", "Filed in this project.")
NEXT = text("after", "The `next` of the page before.")
WHOSE = (USER, TENANT, PROJECT)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path and method.

    `answer` is asked within one transaction, with the id of the path (empty where it has none) and the query's values.
    """

    path: str
    name: str
    summary: str
    schema: str
    answer: Callable[[Sessions, str, Values], Row]
    parameters: tuple[Parameter, ...] = ()
    method: Literal["GET", "POST"] = "GET"
    streams: bool = False
    """Answers in pieces, each of its own transaction: `answer` only finds what is asked for."""

    @property
    def changes(self) -> bool:
        """Whether it needs the scope admin; a signed-in user may do so with their own."""
        return self.method == "POST"


def _whose(values: Values) -> Whose:
    return Whose(user_id=values["user"], tenant_id=values["tenant"], project=values["project"])


def _conversations(sessions: Sessions, id: str, values: Values) -> Row:
    wanted = ConversationFilter(
        user_id=values["user"], tenant_id=values["tenant"], project=values["project"], state=values["state"],
        archived=values["archived"], since=values["since"],
    )  # fmt: skip
    return sessions.conversations(wanted, limit=values["limit"], after=values["after"])


def _conversation(sessions: Sessions, id: str, values: Values) -> Row:
    found = sessions.find(id, _whose(values))
    return sessions.conversation(
        found, limit=values["limit"], before=values["before"], internal=values["internal"]
    )  # fmt: skip


def _export(sessions: Sessions, id: str, values: Values) -> Row:
    return sessions.row(sessions.find(id, _whose(values)))


def _clear(sessions: Sessions, id: str, values: Values) -> Row:
    return sessions.clear(sessions.find(id, _whose(values)))


def _runs(sessions: Sessions, id: str, values: Values) -> Row:
    wanted = RunFilter(
        user_id=values["user"], session_id=values["session"], tenant_id=values["tenant"], project=values["project"],
        status=values["status"], since=values["since"],
    )  # fmt: skip
    return sessions.runs(wanted, limit=values["limit"], after=values["after"])


def _run(sessions: Sessions, id: str, values: Values) -> Row:
    try:
        run_id = UUID(id)
    except ValueError:
        raise NotFoundError(f"No conversation run {id!r}") from None
    return sessions.run(
        run_id, values["view"], limit=values["limit"], after_message=values["after_message"],
        after_span=values["after_span"],
    )  # fmt: skip


def _stats(sessions: Sessions, id: str, values: Values) -> Row:
    # Nothing here sets a time to live for all conversations: each may have its own expires_at.
    return sessions.stats() | {"ttl_hours": None}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "/conversations", "listConversations", "Conversations (sessions), the latest active first", "Conversations",
        _conversations,
        (
            *WHOSE, choice("state", "In this state.", STATES), flag("archived", "Archived or not."),
            moment("since", "Active since then."), limit(20, MOST_ROWS), NEXT,
        ),
    ),
    Endpoint(
        "/conversations/{id}/export", "exportConversation", "All that was said in a conversation", "Export", _export,
        WHOSE, streams=True,
    ),
    Endpoint(
        "/conversations/{id}/clear", "clearConversation",
        "Remove a conversation's runs and messages; the conversation itself stays", "Cleared", _clear, WHOSE, "POST",
    ),
    Endpoint(
        "/conversations/{id}", "getConversation", "A conversation and its latest messages, the earliest of them first",
        "ConversationPage", _conversation,
        (
            *WHOSE, limit(10, MOST_MESSAGES), text("before", "The `previous` of a page: what was said before it."),
            flag("internal", "With what the user neither said nor was answered; never for a signed-in user.", False),
        ),
    ),
    Endpoint(
        "/runs", "listRuns", "Conversation runs, the latest first", "Runs", _runs,
        (
            *WHOSE, text("session", "Of this session."), choice("status", "In this status.", STATUSES),
            moment("since", "Started since then."), limit(20, MOST_ROWS), NEXT,
        ),
    ),
    Endpoint(
        "/runs/{id}", "getRun", "A run, its transcript, and its spans by start: parent_span_id makes their tree",
        "RunPage", _run,
        (
            choice("view", "messages: only these, the internal ones too. tree: only the spans.", VIEWS, "all"),
            limit(200, MOST_MESSAGES),
            Parameter(
                "after_message", "The `next_messages` of the page before.",
                {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "default": 0},
            ),
            Parameter(
                "after_span", "The `next_spans` of the page before.", {"type": "string", "format": "uuid"},
            ),
        ),
    ),
    Endpoint("/stats", "getStats", "How much there is", "Stats", _stats),
)  # fmt: skip
"""In the order in which paths are matched."""
