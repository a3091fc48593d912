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
from chopsky_trace.server.access import Scope
from chopsky_trace.server.feedback import SOURCE
from chopsky_trace.server.parameters import Parameter, choice, flag, limit, moment, text
from chopsky_trace.server.problems import ProblemError

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
    method: Literal["GET", "POST", "DELETE"] = "GET"
    scope: Scope = "read"
    """What a token of the server's must be good for. A signed-in user may do with their own what policies let them."""
    takes: str | None = None
    """The schema of a JSON body; what is in it is among the values."""
    streams: bool = False
    """Answers in pieces, each of its own transaction: `answer` only finds what is asked for."""

    @property
    def changes(self) -> bool:
        """Whether it writes."""
        return self.method != "GET"


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


def _uuid(id: str, what: str) -> UUID:
    try:
        return UUID(id)
    except ValueError:
        raise NotFoundError(f"No {what} {id!r}") from None


def _run(sessions: Sessions, id: str, values: Values) -> Row:
    return sessions.run(
        _uuid(id, "conversation run"), values["view"], limit=values["limit"], after_message=values["after_message"],
        after_span=values["after_span"],
    )  # fmt: skip


def _conversation_feedback(sessions: Sessions, id: str, values: Values) -> Row:
    key = sessions.row(sessions.find(id, _whose(values)))["session_key"]
    return sessions.ratings.of_conversation(key, limit=values["limit"], after=values["after"])


def _give_feedback(sessions: Sessions, id: str, values: Values) -> Row:
    user_id, source = values["user_id"], values["source"]
    if sessions.own and (source is not None or user_id not in (None, sessions.scope["user_id"])):
        raise ProblemError(403, "A signed-in user speaks for themselves: leave out user_id and source")
    return sessions.ratings.give(
        values["about"], values["answer"], user_id=user_id, source=source or SOURCE, key=values["key"],
        thumbs=values["thumbs"], score=values["score"], value=values["value"], comment=values["comment"],
    )  # fmt: skip


def _take_back_feedback(sessions: Sessions, id: str, values: Values) -> Row:
    return sessions.ratings.take_back(_uuid(id, "feedback"))


def _stats(sessions: Sessions, id: str, values: Values) -> Row:
    return sessions.stats()


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
        "admin",
    ),
    Endpoint(
        "/conversations/{id}/feedback", "listFeedback", "Feedback on its messages and runs, the latest first",
        "FeedbackPage", _conversation_feedback, (*WHOSE, limit(50, MOST_ROWS), NEXT),
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
    Endpoint(
        "/feedback", "giveFeedback",
        "Thumbs, a score or a comment on a message or a run; one for each user and key, the last one stands",
        "Feedback", _give_feedback, (), "POST", "ingest", "FeedbackGiven",
    ),
    Endpoint(
        "/feedback/{id}", "takeBackFeedback", "Remove feedback; of a signed-in user's their own", "TakenBack",
        _take_back_feedback, (), "DELETE", "admin",
    ),
    Endpoint("/stats", "getStats", "How much there is", "Stats", _stats),
)  # fmt: skip
"""In the order in which paths are matched."""
