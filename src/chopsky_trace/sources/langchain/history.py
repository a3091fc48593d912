"""LangChain's chat message history, in the tables that the tracer writes to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import orjson
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from chopsky_trace.database.conversations import ConversationStore
from chopsky_trace.errors import ConversationExpiredError, ConversationNotFoundError
from chopsky_trace.settings import Settings
from chopsky_trace.sources.langchain.blocks import as_traced
from chopsky_trace.telling.turns import ROLES

LANGCHAIN = "langchain"
"""In a message's metadata: what LangChain's message has beside text, tool calls and names."""
COLUMNS = ("type", "content", "tool_calls", "invalid_tool_calls", "tool_call_id", "name")

R = TypeVar("R")


class SupabaseChatMessageHistory(BaseChatMessageHistory):
    """The messages that were added to one session, exactly as they were; for RunnableWithMessageHistory and by hand.

    A message that a tracer records of the same session, user and tenant as well is stored once. `messages` has what
    was added, and not what only the tracer recorded (an agent's inner steps, system prompts). A session whose time is
    over is taken up again by the next message; once it was removed, that begins a new one.

    Args:
        session_id: the thread's name, the same that the tracer has.
        user_id: whose it is; a session of the same name of another user is another session.
        tenant_id: the user's tenant.
        database_url: Postgres URL, or `embedded`; otherwise as the tracer finds it.
        settings: every other setting; from the environment where not given.
        store: takes the place of both: a ConversationStore of the application's own.

    Raises:
        NoDatabaseError: no database is named, and nobody sits at a terminal.
    """

    def __init__(
        self,
        session_id: str,
        *,
        user_id: str | UUID | None = None,
        tenant_id: str | None = None,
        database_url: str | None = None,
        settings: Settings | None = None,
        store: ConversationStore | None = None,
    ) -> None:
        super().__init__()
        self.session_id = session_id
        self.user_id = user_id
        self.tenant_id = tenant_id
        self._store = store or _shared(database_url, settings or Settings.from_env())
        self._conversation_id: str | None = None

    @property
    def messages(self) -> list[BaseMessage]:  # pyright: ignore[reportIncompatibleVariableOverride] - as LangChain has it
        """What was added, in that order. Raises what ConversationStore raises."""
        rows = self._asked(self._store.get_added_messages)
        return messages_from_dict([_as_dict(row) for row in rows or ()])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, in this order. Raises what ConversationStore raises."""
        if not messages:
            return
        rows = [_as_row(message) for message in messages]
        try:
            self._store.add_messages(self._found() or self._begun(), rows)
        except (ConversationExpiredError, ConversationNotFoundError):
            # A chat goes on: an error here would only be logged by LangChain, and the turn forgotten.
            self._store.add_messages(self._begun(), rows)

    def clear(self) -> None:
        """Forget what was added; what a tracer recorded stays. Raises what ConversationStore raises."""
        self._asked(self._store.forget_added_messages)

    def _asked(self, ask: Callable[[str], R]) -> R | None:
        """What is said of the session; None: there is none."""
        for _ in range(2):
            conversation_id = self._found()
            if conversation_id is None:
                return None
            try:
                return ask(conversation_id)
            except ConversationNotFoundError:
                # It was removed since. There may be another of its name by now.
                self._conversation_id = None
        return None

    def _begun(self) -> str:
        self._conversation_id = self._store.create_conversation(
            user_id=self.user_id, tenant_id=self.tenant_id, session_id=self.session_id
        )
        return self._conversation_id

    def _found(self) -> str | None:
        if self._conversation_id is None:
            self._conversation_id = self._store.find_conversation(self.session_id, self.user_id, self.tenant_id)
        return self._conversation_id


@lru_cache(maxsize=32)
def _shared(database_url: str | None, settings: Settings) -> ConversationStore:
    # Histories are made for each turn; their connections are not.
    return ConversationStore(database_url, settings=settings)


def _as_row(message: BaseMessage) -> dict[str, Any]:
    """What add_messages takes of a message: the same parts by which the tracer knows it."""
    told = message_to_dict(message)
    data: dict[str, Any] = told["data"]
    role = ROLES.get(message.type) or ROLES.get(str(data.get("role", "")), "user")
    calls = [*(data.get("tool_calls") or ()), *(data.get("invalid_tool_calls") or ())] if role == "assistant" else []
    rest = {name: value for name, value in data.items() if name not in COLUMNS and value not in (None, [], {})}
    content: Any = data["content"]
    if calls or not isinstance(content, str):
        # As text: jsonb keeps no order of keys, and the tracer knows a message again by all of it.
        rest["exactly"] = json.dumps({"content": content, "calls": calls})
    row = {
        "role": role,
        "content": as_traced(content),
        "tool_calls": calls,
        "tool_call_id": data.get("tool_call_id"),
        "name": data.get("name"),
        "metadata": {LANGCHAIN: {"type": told["type"], **rest}},
    }
    if role == "assistant":
        row["model"] = data["response_metadata"].get("model_name")
        usage: dict[str, Any] = data.get("usage_metadata") or {}
        row["token_count"] = usage.get("output_tokens")
    return row


def _as_dict(row: dict[str, Any]) -> dict[str, Any]:
    """A row as LangChain reads messages from."""
    told = dict(row["metadata"].get(LANGCHAIN) or {"type": _TYPES[row["role"]]})
    kind = told.pop("type")
    exactly = told.pop("exactly", None)
    if exactly is None:
        said: dict[str, Any] = {"content": row["parts"] or row["content"] or "", "calls": row["tool_calls"] or []}
    else:
        said = orjson.loads(exactly)
    data: dict[str, Any] = {"type": kind, **told, "content": said["content"]}
    for name in ("tool_call_id", "name"):
        if row[name] is not None:
            data[name] = row[name]
    if row["role"] == "assistant":
        bad = [call for call in said["calls"] if call.get("type") == "invalid_tool_call"]
        data["tool_calls"] = [call for call in said["calls"] if call not in bad]
        data["invalid_tool_calls"] = bad
    if "id" not in data and LANGCHAIN not in row["metadata"]:
        data["id"] = str(row["id"])
    return {"type": kind, "data": data}


_TYPES = {"user": "human", "assistant": "ai", "system": "system", "tool": "tool"}
"""LangChain's names of our roles."""
