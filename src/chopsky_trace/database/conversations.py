"""Conversations that an application keeps itself, in the tables that the tracer writes to."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast
from uuid import UUID, uuid4

import orjson
from psycopg import errors as pg
from psycopg.rows import dict_row

from chopsky_trace.database import migrate, statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.pool import Pool
from chopsky_trace.database.read import Row, explained
from chopsky_trace.errors import (
    ConversationAmbiguousError,
    ConversationError,
    ConversationExpiredError,
    ConversationNotFoundError,
)
from chopsky_trace.records import parts_id, storable, text_of
from chopsky_trace.settings import Settings, resolve_target

ROLES = ("user", "assistant", "system", "tool")
MOST_ROWS = 2_147_483_647
TITLE_CHARS = 500
"""Longest title, as the table has it."""
RETRIES = 4
"""How often a call that stood in a writer's way tries again."""
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""An escaped NUL in JSON, and no escaped backslash before u0000."""
COLUMNS = ("model", "provider", "token_count", "cost", "response_time_ms")
"""What `add_message` takes of how an answer was made."""
TAKEN = frozenset(("role", "content", "metadata", "tool_calls", "tool_call_id", "name", "created_at", *COLUMNS))

P = ParamSpec("P")
R = TypeVar("R")


class ConversationStore:
    """Conversations, their messages and their states.

    A conversation is a session: a chain that is traced under its `session_id` (and the same user and tenant) belongs
    to it, and a message that both the application adds and the tracer records is there once. Every method is one
    transaction; threads may share a store. Errors are raised, for these calls are the application's own:

    - ConversationNotFoundError: there is no such conversation.
    - ConversationAmbiguousError: several are named so (of different users or tenants).
    - ConversationError: a value or a move is refused; as ConversationExpiredError, a message to one that has expired.
    - BusyError: all `max_connections` of this process were in use for the settings' `connect_timeout_s`.
    - ConnectError, EmbeddedError, SchemaError, ReadError: the database cannot be used.

    `conversation_id` is the id that `create_conversation` returned, or the `session_id` that was given to it.

    Args:
        database_url: Postgres URL, or `embedded`; otherwise as the tracer finds it.
        settings: every other setting; from the environment where not given.
        ttl_hours: how long conversations are kept that are created without a `ttl_hours` of their own. None: no limit.
        max_connections: most connections at once, per process; opened when they are needed.

    Raises:
        NoDatabaseError: no database is named, and nobody sits at a terminal.
        SettingsError: what is named is not a Postgres URL.
        ConversationError: `ttl_hours` is not above 0.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        settings: Settings | None = None,
        ttl_hours: float | None = None,
        max_connections: int = 4,
    ) -> None:
        settings = settings or Settings.from_env()
        _seconds(ttl_hours, "ttl_hours")
        self.ttl_hours = ttl_hours
        target = resolve_target(settings, database_url)
        self._pool = Pool(
            target,
            settings,
            size=max_connections,
            application_name="chopsky-trace conversations",
            wait_s=settings.connect_timeout_s,
            opened=_schema_check(auto=target.is_embedded),
        )

    # -- conversations

    def create_conversation(
        self,
        user_id: str | UUID | None = None,
        tenant_id: str | None = None,
        session_id: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_hours: float | None = None,
    ) -> str:
        """Begin a conversation; where this user and tenant have one of this `session_id`, that one is meant.

        One that has expired, and was not removed yet, is taken up again with what was said in it: for `ttl_hours`, or
        where there are none for as long as it had, an hour at least.

        Args:
            user_id: whose it is.
            tenant_id: the user's tenant.
            session_id: the application's own name for it (LangGraph's thread_id); the id where not given.
            title: what a list shows; at most 500 characters.
            metadata: anything, as JSON.
            ttl_hours: hours until it expires, above 0; None: the store's own.

        Returns:
            Its id.
        """
        if title is not None and len(title) > TITLE_CHARS:
            raise ConversationError(f"A title has at most {TITLE_CHARS} characters, and this one has {len(title)}.")
        found = self._one(
            "begin",
            user_id=_name(user_id),
            tenant_id=_name(tenant_id),
            session_id=_name(session_id),
            title=title,
            metadata=None if metadata is None else _json(metadata),
            ttl_s=_seconds(self.ttl_hours if ttl_hours is None else ttl_hours, "ttl_hours"),
        )
        return str(found["id"])

    def get_conversation(self, conversation_id: str | UUID) -> Row:
        """One conversation: its `conversation_id`, `session_id`, user, title, state, metadata and times."""
        return _conversation(self._one("conversation", id=self._find(conversation_id)))

    def find_conversation(
        self, session_id: str, user_id: str | UUID | None = None, tenant_id: str | None = None
    ) -> str | None:
        """The id of the conversation of this name, user and tenant, all three exactly; None: there is none."""
        found = self._rows("named", session_id=_name(session_id), user_id=_name(user_id), tenant_id=_name(tenant_id))
        return str(found[0]["id"]) if found else None

    def get_user_conversations(
        self, user_id: str | UUID, limit: int = 10, *, tenant_id: str | None = None
    ) -> list[Row]:
        """A user's conversations, the latest active first; without those that are archived or have expired."""
        rows = self._rows("of_user", user_id=_name(user_id), tenant_id=_name(tenant_id), limit=limit)
        return [_conversation(row) for row in rows]

    def extend_ttl(self, conversation_id: str | UUID, hours: float) -> datetime | None:
        """Put off a conversation's end by so many hours, above 0; from now on where it has expired.

        Returns:
            Its new end. None: it has none, and stays so.
        """
        rows = self._rows("extend", id=self._find(conversation_id), ttl_s=_seconds(hours, "hours"))
        return rows[0]["expires_at"] if rows else None

    def clear(self, conversation_id: str | UUID) -> int:
        """Remove what was said, and the runs that were traced; the conversation stays. Returns how many messages."""
        return int(self._one("clear", id=self._find(conversation_id))["removed"])

    def cleanup_expired(self) -> int:
        """Remove the conversations that have expired, with all that belongs to them. Returns how many."""
        name = "clean_up" if self._one("can_clean_up")["there"] else "remove_expired"
        return int(self._one(name)["removed"])

    def stats(self) -> dict[str, Any]:
        """`total_conversations`, `total_messages`, `expired_conversations` and the store's `ttl_hours`."""
        return {name: int(value) for name, value in self._one("stats").items()} | {"ttl_hours": self.ttl_hours}

    def export_conversation(self, conversation_id: str | UUID) -> dict[str, Any]:
        """A conversation with all its messages, as `json.dumps` takes it."""
        conversation = self.get_conversation(conversation_id)
        messages = self.get_messages(conversation["conversation_id"], limit=None)
        kept = ("role", "content", "timestamp", "tool_calls", "tool_call_id", "name", "metadata")
        names = ("conversation_id", "session_id", "user_id", "title", "state", "created_at", "updated_at")
        return {
            **{name: _plain(conversation[name]) for name in names},
            "messages": [
                {name: _plain(one[name]) for name in kept if one[name] is not None or name == "content"}
                for one in messages
            ],
            "metadata": conversation["metadata"],
        }

    # -- states

    def move(self, conversation_id: str | UUID, state: str) -> None:
        """Move a conversation to another of its nine states; ConversationError says which are open to it."""
        self._one("move", id=self._find(conversation_id), state=state)

    def complete(self, conversation_id: str | UUID) -> None:
        """Mark a conversation as delivered."""
        self.move(conversation_id, "delivered")

    def cancel(self, conversation_id: str | UUID) -> None:
        """Mark a conversation as cancelled."""
        self.move(conversation_id, "cancelled")

    # -- messages

    def add_message(
        self,
        conversation_id: str | UUID,
        role: str,
        content: str | Sequence[Any] | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        tool_call_id: str | None = None,
        name: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        token_count: int | None = None,
        cost: Decimal | float | None = None,
        response_time_ms: float | None = None,
        created_at: datetime | None = None,
    ) -> str:
        """Add a message to a conversation.

        Args:
            conversation_id: which.
            role: user, assistant, system or tool.
            content: the text, or a list of content parts.
            metadata: anything, as JSON.
            tool_calls: what an assistant asks of tools.
            tool_call_id: which of these a tool answers.
            name: the speaker's or tool's.
            model: that answered.
            provider: of the model.
            token_count: the message's own size.
            cost: in USD.
            response_time_ms: until the answer was there.
            created_at: when it was said, with its time zone; now where not given.

        Returns:
            The message's id. When the tracer records the same message, that is the `added_id` of its row.
        """
        message = {"role": role, "content": content, "metadata": metadata, "tool_calls": tool_calls}
        message |= {"tool_call_id": tool_call_id, "name": name, "model": model, "provider": provider}
        message |= {"token_count": token_count, "cost": cost, "response_time_ms": response_time_ms}
        return self.add_messages(conversation_id, [message | {"created_at": created_at}])[0]

    def add_messages(self, conversation_id: str | UUID, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """Add several at once, in this order: each has the arguments of `add_message` as keys. Returns their ids."""
        now = datetime.now(UTC)
        rows = [_row(one, place, now) for place, one in enumerate(messages)]
        if rows:
            found = self._find(conversation_id)
            if not self._rows("add_messages", id=found, messages=_json(rows)):
                self._one("conversation", id=found)
                raise ConversationExpiredError(f"The conversation {str(conversation_id)[:100]!r} has expired")
        return [row["id"] for row in rows]

    def get_messages(self, conversation_id: str | UUID, limit: int | None = 10) -> list[Row]:
        """The latest messages, the earliest of them first: what user and assistant said, and all that was added here.

        Each has `id` (of its row), `added_id` (that `add_message` returned; None: only the tracer told of it), `role`,
        `content` (text), `parts` (where it was more than a text), `tool_calls`, `tool_call_id`, `name`, `model`,
        `provider`, `token_count`, `cost` (USD), `response_time_ms`, `metadata`, `timestamp` and `conversation_run_id`.

        Args:
            conversation_id: which.
            limit: most messages; None: all.
        """
        wanted = MOST_ROWS if limit is None else limit
        rows = self._rows("messages", id=self._find(conversation_id), limit=wanted)
        for row in rows:
            row["timestamp"] = row.pop("created_at")
            for name in ("id", "added_id", "conversation_run_id"):
                row[name] = None if row[name] is None else str(row[name])
        return rows

    def get_added_messages(self, conversation_id: str | UUID) -> list[Row]:
        """The messages that were added here, in their order and as they were; not what only the tracer told of."""
        return self._rows("added", id=self._find(conversation_id))

    def forget_added_messages(self, conversation_id: str | UUID) -> None:
        """Remove what was added here; what the tracer recorded stays."""
        self._run("forget_rows", "forget_said", id=self._find(conversation_id))

    def close(self) -> None:
        """Close the connections that are free; the next call opens anew."""
        self._pool.close()

    def __enter__(self) -> Self:
        """The store; `with` closes it at its end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- SQL

    def _find(self, conversation_id: str | UUID) -> UUID:
        name = _name(conversation_id) or ""
        try:
            uuid = UUID(name)
        except ValueError:
            uuid = None
        found = self._one("find", id=uuid, name=name)["id"]
        if found is None:
            raise ConversationNotFoundError(f"No conversation {name[:100]!r}")
        return found

    def _one(self, statement: str, **parameters: object) -> Row:
        rows = self._rows(statement, **parameters)
        if not rows:
            # It went since it was found.
            raise ConversationNotFoundError("The conversation is gone")
        return rows[0]

    def _rows(self, statement: str, **parameters: object) -> list[Row]:
        def ask(connection: Connection) -> list[Row]:
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(statements.load("conversations.sql")[statement], parameters).fetchall()

        return self._retried(ask)

    def _run(self, *names: str, **parameters: object) -> None:
        def run(connection: Connection) -> None:
            with connection.transaction():
                for name in names:
                    connection.execute(statements.load("conversations.sql")[name], parameters)

        self._retried(run)

    def _retried(self, do: Callable[[Connection], R]) -> R:
        """A transaction that stood in another's way was undone as a whole, and is done again."""
        with _told(), self._pool.connection() as connection:
            for _ in range(RETRIES):
                try:
                    return do(connection)
                except (pg.DeadlockDetected, pg.LockNotAvailable, pg.SerializationFailure):
                    time.sleep(random.uniform(0.01, 0.1))
            return do(connection)


def _awaitable(
    method: Callable[Concatenate[ConversationStore, P], R],
) -> Callable[Concatenate[AsyncConversationStore, P], Coroutine[Any, Any, R]]:
    @wraps(method)
    async def call(self: AsyncConversationStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.store, *args, **kwargs)

    return call


class AsyncConversationStore:
    """A `ConversationStore` whose methods are awaited: each runs on a thread, so that the event loop goes on.

    Takes what `ConversationStore` takes. A call that is cancelled is not waited for; what it began is finished.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        settings: Settings | None = None,
        ttl_hours: float | None = None,
        max_connections: int = 4,
    ) -> None:
        self.store = ConversationStore(
            database_url, settings=settings, ttl_hours=ttl_hours, max_connections=max_connections
        )
        """The same, for code that does not wait."""

    create_conversation = _awaitable(ConversationStore.create_conversation)
    get_conversation = _awaitable(ConversationStore.get_conversation)
    find_conversation = _awaitable(ConversationStore.find_conversation)
    get_user_conversations = _awaitable(ConversationStore.get_user_conversations)
    extend_ttl = _awaitable(ConversationStore.extend_ttl)
    clear = _awaitable(ConversationStore.clear)
    cleanup_expired = _awaitable(ConversationStore.cleanup_expired)
    stats = _awaitable(ConversationStore.stats)
    export_conversation = _awaitable(ConversationStore.export_conversation)
    move = _awaitable(ConversationStore.move)
    complete = _awaitable(ConversationStore.complete)
    cancel = _awaitable(ConversationStore.cancel)
    add_message = _awaitable(ConversationStore.add_message)
    add_messages = _awaitable(ConversationStore.add_messages)
    get_messages = _awaitable(ConversationStore.get_messages)
    get_added_messages = _awaitable(ConversationStore.get_added_messages)
    forget_added_messages = _awaitable(ConversationStore.forget_added_messages)
    close = _awaitable(ConversationStore.close)

    async def __aenter__(self) -> Self:
        """The store; `async with` closes it at its end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _schema_check(*, auto: bool) -> Callable[[Connection], None]:
    """Checks the schema of the first connection; `auto` brings it up to date."""
    is_checked = False

    def check(connection: Connection) -> None:
        nonlocal is_checked
        if not is_checked:
            migrate.ensure(connection, auto=auto)
            is_checked = True

    return check


@contextmanager
def _told() -> Generator[None]:
    with explained():
        try:
            yield
        except pg.NoDataFound as error:
            raise ConversationNotFoundError(_reason(error)) from error
        except pg.CardinalityViolation as error:
            raise ConversationAmbiguousError(_reason(error)) from error
        except (pg.IntegrityError, pg.DataError) as error:
            raise ConversationError(" ".join(filter(None, (_reason(error), error.diag.message_hint)))) from error


def _reason(error: pg.Error) -> str:
    text = error.diag.message_primary or str(error)
    return f"{text.strip().splitlines()[0].rstrip('.')}."


def _name(value: object) -> str | None:
    """A name as the tracer keeps it: text, and a UUID in lower case."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        return str(UUID(text)) if len(text) == 36 else text
    except ValueError:
        return text


def _seconds(hours: float | None, name: str) -> float | None:
    if hours is not None and not (hours > 0 and math.isfinite(hours)):
        raise ConversationError(f"{name} is a number above 0, and not {hours!r}.")
    return None if hours is None else hours * 3600


def _conversation(row: Row) -> Row:
    return {"conversation_id": str(row.pop("id")), **row}


def _row(message: Mapping[str, Any], place: int, now: datetime) -> dict[str, Any]:
    unknown = set(message) - TAKEN if isinstance(cast("object", message), Mapping) else {"what is no mapping"}
    if unknown or "role" not in message:
        told = f"it has {', '.join(sorted(map(str, unknown)))}" if unknown else "it has no role"
        raise ConversationError(f"A message is a mapping with the arguments of add_message as keys, but {told}.")
    role, content = message["role"], message.get("content")
    if role not in ROLES:
        raise ConversationError(f"A message's role is {', '.join(ROLES[:-1])} or {ROLES[-1]}, and not {role!r}.")
    calls = [dict(call) for call in message.get("tool_calls") or ()]
    name, call_id = message.get("name"), message.get("tool_call_id")
    row: dict[str, Any] = {"id": str(uuid4()), "role": role, "content": text_of(content), "position": place}
    if content is not None and not isinstance(content, str):
        row["parts"] = content
    if calls:
        row["tool_calls"] = calls
    if calls or "parts" in row:
        # The database knows how to identify a text; this is how sources identify the rest.
        core = [
            role,
            "" if content is None else content,
            calls,
            call_id or "",
            "" if role == "assistant" else name or "",
        ]
        row["body_id"] = parts_id(_dumped(core))
    row |= {"tool_call_id": call_id, "name": name, "metadata": message.get("metadata")}
    row |= {column: message.get(column) for column in COLUMNS}
    if isinstance(row["cost"], Decimal):
        row["cost"] = str(row["cost"])
    # As the tracer has it: neither said by the user nor an answer.
    row["is_internal"] = role in ("system", "tool") or bool(calls)
    # So that those of one call keep their order.
    row["created_at"] = message.get("created_at") or now + timedelta(microseconds=place)
    if row["created_at"].tzinfo is None:
        raise ConversationError("created_at needs a time zone.")
    return row


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError) as error:
        try:
            # Texts with lone surrogates, as the tracer stores them.
            return storable(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)).encode()
        except (TypeError, ValueError):
            raise ConversationError(f"What is not JSON cannot be stored: {error}.") from None


def _json(value: Any) -> str:
    """As PostgreSQL takes it, which knows no NUL."""
    return _NUL.sub("\\1\ufffd", _dumped(value).decode())


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
