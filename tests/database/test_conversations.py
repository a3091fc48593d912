"""ConversationStore: what an application keeps itself, on the tables that the tracer writes to."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from fix_postgres import Regime
from read_rows import ingest, run, span

from chopsky_trace import AsyncConversationStore, ConversationStore
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import (
    ConnectError,
    ConversationAmbiguousError,
    ConversationError,
    ConversationExpiredError,
    ConversationNotFoundError,
    NoDatabaseError,
    SchemaError,
)
from chopsky_trace.settings import Settings


@pytest.fixture
def conversations(database_url: str) -> Iterator[ConversationStore]:
    made = ConversationStore(database_url)
    yield made
    made.close()


def contents(conversations: ConversationStore, conversation: str, limit: int | None = 10) -> list[tuple[str, str]]:
    return [(row["role"], row["content"]) for row in conversations.get_messages(conversation, limit)]


def test_a_conversation_from_beginning_to_export(conversations: ConversationStore, connection: Connection):
    made = conversations.create_conversation("ann", "acme", title="Dinner", metadata={"channel": "web"}, ttl_hours=24)
    asked = conversations.add_message(made, "user", "Is there soup?", {"page": 3})
    call = {"name": "find", "args": {"dish": "soup"}, "id": "c1", "type": "tool_call"}
    conversations.add_messages(
        made,
        [
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "yes", "tool_call_id": "c1", "name": "find"},
        ],
    )
    conversations.add_message(
        made, "assistant", "Yes.", model="m", provider="p", token_count=3, cost=Decimal("0.001"), response_time_ms=12.5
    )
    found = conversations.get_messages(made)
    assert [row["role"] for row in found] == ["user", "system", "assistant", "tool", "assistant"]
    assert (found[0]["added_id"], found[0]["metadata"], found[0]["content"]) == (asked, {"page": 3}, "Is there soup?")
    assert (found[2]["tool_calls"], found[3]["tool_call_id"], found[3]["name"]) == ([call], "c1", "find")
    assert [found[4][name] for name in ("model", "token_count", "cost", "response_time_ms")] == [
        "m", 3, Decimal("0.001"), Decimal("12.5"),
    ]  # fmt: skip
    assert contents(conversations, made, 2) == [("tool", "yes"), ("assistant", "Yes.")]
    # A user reads of it what user and assistant said.
    visible = connection.execute("select content from conversation_messages where not is_internal order by created_at")
    assert visible.fetchall() == [("Is there soup?",), ("Yes.",)]

    conversation = conversations.get_conversation(made)
    assert (conversation["conversation_id"], conversation["session_id"]) == (made, made)
    assert timedelta(hours=23) < conversation["expires_at"] - datetime.now(UTC) <= timedelta(hours=24)
    exported = json.loads(json.dumps(conversations.export_conversation(made)))
    assert {"conversation_id", "created_at", "updated_at", "messages", "metadata"} <= set(exported)
    assert exported["metadata"] == {"channel": "web"}
    assert [one["content"] for one in exported["messages"]] == ["Is there soup?", "Be kind.", "", "yes", "Yes."]
    assert {"role", "content", "timestamp", "metadata"} <= set(exported["messages"][0])
    assert conversations.stats() == {
        "total_conversations": 1, "total_messages": 2, "expired_conversations": 0, "ttl_hours": None,
    }  # fmt: skip


def test_ten_messages_by_default_the_latest(conversations: ConversationStore):
    made = conversations.create_conversation()
    conversations.add_messages(made, [{"role": "user", "content": str(n)} for n in range(12)])
    assert [content for _, content in contents(conversations, made)] == [str(n) for n in range(2, 12)]
    assert len(contents(conversations, made, None)) == 12


def test_the_name_is_a_users_own(conversations: ConversationStore, connection: Connection):
    ann = conversations.create_conversation("ann", session_id="1", title="Soup")
    ben = conversations.create_conversation("ben", session_id="1")
    assert ann != ben
    assert conversations.create_conversation("ann", session_id="1", metadata={"a": 1}) == ann
    assert conversations.get_conversation(ann)["title"] == "Soup"
    with pytest.raises(ConversationAmbiguousError, match=r"named '1'.*id that `create_conversation` returned"):
        conversations.get_messages("1")
    assert conversations.find_conversation("1", "ben") == ben
    assert conversations.find_conversation("1") is None
    conversations.add_message(ann, "user", "Hi")
    assert contents(conversations, ben) == []
    # A run that was traced under the id, without its user, is another session; the id is the conversation's own.
    ingest(connection, span("a", "a"), runs=[run("a", session_id=ann)])
    assert contents(conversations, ann) == [("user", "Hi")]


def test_a_users_list_is_what_is_neither_put_away_nor_expired(conversations: ConversationStore, connection: Connection):
    ids = [conversations.create_conversation("ann", "acme" if n else None) for n in range(5)]
    conversations.create_conversation("ben")
    conversations.add_message(ids[0], "user", "Hi")
    connection.execute("update conversation_sessions set is_archived = true where id = %s", [ids[1]])
    connection.execute("update conversation_sessions set expires_at = now() where id = %s", [ids[2]])

    def listed(**narrow: object) -> list[str]:
        rows = conversations.get_user_conversations("ann", **narrow)  # pyright: ignore[reportArgumentType]
        return [row["conversation_id"] for row in rows]

    assert listed() == [ids[0], ids[4], ids[3]]
    assert listed(limit=1) == [ids[0]]
    assert listed(tenant_id="acme") == [ids[4], ids[3]]


def test_expiry(conversations: ConversationStore, database_url: str, connection: Connection):
    kept = conversations.create_conversation("ann")
    assert conversations.get_conversation(kept)["expires_at"] is None
    assert conversations.extend_ttl(kept, 24) is None
    short = ConversationStore(database_url, ttl_hours=1)
    made = short.create_conversation("ann")
    first = conversations.get_conversation(made)["expires_at"]
    assert conversations.extend_ttl(made, 24) == first + timedelta(hours=24)
    assert short.stats()["ttl_hours"] == 1
    short.add_message(made, "user", "Hi")
    connection.execute("update conversation_sessions set expires_at = now() - interval '1 day' where id = %s", [made])
    assert short.stats()["expired_conversations"] == 1
    assert short.cleanup_expired() == 1
    short.close()
    with pytest.raises(ConversationNotFoundError, match=made):
        conversations.get_conversation(made)
    assert conversations.get_conversation(kept)["conversation_id"] == kept
    assert connection.execute("select count(*) from conversation_messages").fetchone() == (0,)


def test_an_expired_conversation_takes_messages_only_once_it_is_taken_up_again(
    conversations: ConversationStore, connection: Connection
):
    made = conversations.create_conversation("ann", session_id="1", ttl_hours=2)
    conversations.add_message(made, "user", "Hi")

    def expire() -> None:
        connection.execute(
            "update conversation_sessions set created_at = now() - interval '3 h', expires_at = now() - interval '1 h'"
        )

    def ends_in_hours() -> int:
        left = conversations.get_conversation(made)["expires_at"] - datetime.now(UTC)
        return round(left / timedelta(hours=1))

    for take_up, hours in (
        (lambda: conversations.extend_ttl(made, 5), 5),
        (lambda: conversations.create_conversation("ann", session_id="1", ttl_hours=7), 7),
        # As long again as it had.
        (lambda: conversations.create_conversation("ann", session_id="1"), 2),
    ):
        expire()
        with pytest.raises(ConversationExpiredError, match=r"'1' has expired.*`extend_ttl` keeps it"):
            conversations.add_message("1", "user", "Hello?")
        take_up()
        assert ends_in_hours() == hours
        conversations.add_message(made, "user", "Again")
    assert contents(conversations, made) == [("user", "Hi"), *[("user", "Again")] * 3]


def test_what_is_no_time_to_live_is_told(conversations: ConversationStore, database_url: str):
    made = conversations.create_conversation(ttl_hours=1)
    for hours in (0, -1, float("nan"), float("inf")):
        for call in (
            lambda hours=hours: ConversationStore(database_url, ttl_hours=hours),
            lambda hours=hours: conversations.create_conversation(ttl_hours=hours),
            lambda hours=hours: conversations.extend_ttl(made, hours),
        ):
            with pytest.raises(ConversationError, match="a number above 0, and not"):
                call()
    with pytest.raises(ConversationError, match="at most 500 characters, and this one has 501"):
        conversations.create_conversation(title="x" * 501)
    assert conversations.stats()["total_conversations"] == 1


def test_clearing_keeps_the_conversation(conversations: ConversationStore, connection: Connection):
    made = conversations.create_conversation("ann", session_id="1", title="Soup")
    conversations.add_message(made, "user", "Hi")
    ingest(connection, span("a", "a"), runs=[run("a", session_id="1", user_id="ann", project="p")])
    assert conversations.clear(made) == 1
    assert contents(conversations, made) == []
    assert connection.execute("select count(*) from conversation_runs").fetchone() == (0,)
    assert conversations.get_conversation(made)["title"] == "Soup"
    connection.execute("update conversation_sessions set legal_hold = true")
    with pytest.raises(ConversationError, match="legal hold"):
        conversations.clear(made)


def test_states(conversations: ConversationStore):
    made = conversations.create_conversation("ann")
    conversations.move(made, "gathering")
    with pytest.raises(ConversationError, match=r"gathering cannot become delegated.*clarifying, planning"):
        conversations.move(made, "delegated")
    with pytest.raises(ConversationError, match=r"no state 'soup' of a session.*gathering, clarifying"):
        conversations.move(made, "soup")
    conversations.complete(made)
    conversations.complete(made)
    assert conversations.get_conversation(made)["state"] == "delivered"
    with pytest.raises(ConversationError, match="delivered cannot become cancelled"):
        conversations.cancel(made)


def test_wrong_calls_are_told_plainly(conversations: ConversationStore):
    for wrong in ("nothing", str(uuid4()), ""):
        for call in (conversations.get_messages, conversations.get_conversation, conversations.clear):
            with pytest.raises(ConversationNotFoundError, match="No conversation"):
                call(wrong)
        with pytest.raises(ConversationNotFoundError):
            conversations.add_message(wrong, "user", "Hi")
    made = conversations.create_conversation()
    for role, content, columns in (
        ("human", "Hi", {}),
        ("user", "Hi", {"metadata": {"x": object()}}),
        ("user", "Hi", {"cost": -1}),
        ("user", "Hi", {"token_count": "many"}),
        ("user", "Hi", {"created_at": datetime(2026, 1, 1)}),  # noqa: DTZ001 - what is refused
    ):
        with pytest.raises(ConversationError):
            conversations.add_message(made, role, content, **columns)  # pyright: ignore[reportArgumentType]
    assert contents(conversations, made) == []
    conversations.add_message(made, "user", "a\x00b and \\u0000", {"a\x00": "\x00"})
    conversations.add_message(made, "user", "a\ud800b \ud83c\udf72", {"\udfff": datetime(2026, 1, 1, tzinfo=UTC)})
    assert contents(conversations, made) == [("user", "a\ufffdb and \\u0000"), ("user", "a\ufffdb \U0001f372")]


def test_what_is_no_message_is_told(conversations: ConversationStore):
    made = conversations.create_conversation()
    wrong: list[Any] = [{"content": "x"}, "x", ("user", "x"), {"role": "user", "content": "x", "nope": 1}]
    for message in wrong:
        with pytest.raises(ConversationError, match="arguments of add_message"):
            conversations.add_messages(made, [{"role": "user", "content": "fine"}, message])
    assert contents(conversations, made) == []


def test_a_store_is_closed_by_with(database_url: str):
    with ConversationStore(database_url) as store:
        assert store.create_conversation() is not None

    async def use() -> int:
        async with AsyncConversationStore(database_url) as store:
            return (await store.stats())["total_conversations"]

    # What is left open is warned about when it is collected, and a warning fails the test.
    assert asyncio.run(use()) == 1


def test_no_database_and_no_schema_say_what_to_do(
    make_database: Callable[[Regime], str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NoDatabaseError, match="CHOPSKY_TRACE_DATABASE_URL"):
        ConversationStore(settings=Settings())
    with pytest.raises(SchemaError, match="chopsky-trace migrate"):
        ConversationStore(make_database("shim")).stats()
    with pytest.raises(ConnectError, match="No connection"):
        ConversationStore("postgresql://127.0.0.1:1/x").stats()


def test_a_connection_that_the_server_ended_is_replaced(conversations: ConversationStore, admin: Connection):
    made = conversations.create_conversation()
    ended = admin.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
        " where application_name = 'chopsky-trace conversations' and datname = current_database()"
    ).fetchone()
    assert ended is not None
    assert ended[0] >= 1
    assert conversations.get_messages(made) == []


def test_a_forked_child_has_connections_of_its_own(conversations: ConversationStore):
    made = conversations.create_conversation()
    child = os.fork()
    if child == 0:
        try:
            conversations.add_message(made, "user", "from the child")
            conversations.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert contents(conversations, made) == [("user", "from the child")]


def test_awaited_on_an_event_loop(database_url: str):
    async def talk() -> list[str]:
        store = AsyncConversationStore(database_url, max_connections=2)
        made = await store.create_conversation(user_id="ann")
        await asyncio.gather(*(store.add_message(made, "user", f"{n}") for n in range(8)))
        found = await store.get_messages(made, limit=20)
        with pytest.raises(ConversationNotFoundError):
            await store.get_conversation("nothing")
        await store.close()
        return [row["content"] for row in found]

    assert sorted(asyncio.run(talk())) == [str(n) for n in range(8)]


def test_both_stores_have_the_same_methods():
    names = {name for name in vars(ConversationStore) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncConversationStore) if not name.startswith("_")}
