"""SupabaseChatMessageHistory beside the tracer: each message is stored once, and comes back exactly as it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from lc_conversations import Talk, batches, clear, differences, tables
from lc_listening import chat
from lc_support import ai, call, find_recipe

from chopsky_trace import ConversationStore, SupabaseChatMessageHistory
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")

SAID = "select chopsky_said_row(m) as row from conversation_messages m where m.said is not null"
BY_HAND = "select to_jsonb(m)::text as row from conversation_messages m where m.conversation_run_id is null"


class Watched(SupabaseChatMessageHistory):
    """Remembers what it was given."""

    seen: ClassVar[list[BaseMessage]]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        type(self).seen += [message.model_copy(deep=True) for message in messages]
        super().add_messages(messages)


def questions() -> Runnable[Any, Any]:
    """A prompt and a model; the history goes in by its own key."""
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{input}")]
    )
    return prompt | chat("yes", "yes", AIMessage([{"type": "text", "text": "Enjoy!"}]))


def tools() -> Runnable[Any, Any]:
    """A model that calls a tool each turn; all that is new comes out."""
    replies: list[Any] = []
    for n in range(3):
        replies += [ai(calls=[call("find_recipe", f"call_{n}", dish=f"dish {n}", a=1)], tokens=None), f"answer {n}"]
    model = chat(*replies)

    def turn(value: dict[str, Any], config: RunnableConfig) -> list[BaseMessage]:
        messages = [*value["past"], HumanMessage(value["input"])]
        asks: Any = model.invoke(messages, config)
        said = find_recipe.invoke({"dish": asks.tool_calls[0]["args"]["dish"]}, config)
        result = ToolMessage(said, tool_call_id=asks.tool_calls[0]["id"], name="find_recipe", artifact={"n": [1]})
        return [asks, result, model.invoke([*messages, asks, result], config)]

    return RunnableLambda(turn)


def prove_in_any_order(talk: Talk) -> None:
    """Records and the application's own rows, written again in other orders and batches, give the same rows."""
    expected = tables(talk.connection)
    said = [row["row"] for row in talk.rows(f"select to_jsonb(r.row)::text as row from ({SAID}) r")]
    said += [row["row"] for row in talk.rows(BY_HAND)]
    insert = "insert into conversation_messages select * from jsonb_populate_record(null::conversation_messages, %s)"
    for seed in range(3):
        chance = random.Random(seed)
        clear(talk.connection)
        steps: list[Callable[[], object]] = [
            lambda batch=batch: write_batch(talk.connection, Builder(keep_media=True).build(batch).payload)
            for batch in batches(talk.lines, chance)
        ]
        steps += [lambda row=row: talk.connection.execute(insert, [row]) for row in said]
        chance.shuffle(steps)
        for step in steps:
            step()
        assert differences(expected, tables(talk.connection)) == [], f"other rows with seed {seed}"


@pytest.mark.parametrize("build", [questions, tools])
def test_three_turns_beside_the_tracer(talk: Talk, build: Callable[[], Runnable[Any, Any]]) -> None:
    Watched.seen = []
    chain = RunnableWithMessageHistory(
        build(),
        lambda session_id: Watched(session_id, database_url=talk.url),
        input_messages_key="input",
        history_messages_key="past",
    )
    # A genuine repeat in it.
    asked = ["Hi", "yes", "yes"]
    for question in asked:
        talk.process()
        chain.invoke({"input": question}, {**talk.config(), "configurable": {"session_id": "s"}})
    assert talk.flush()
    history = SupabaseChatMessageHistory("s", database_url=talk.url)
    assert history.messages == Watched.seen
    assert len(Watched.seen) == (6 if build is questions else 12)
    if build is tools:
        said = [
            line
            for n, question in enumerate(asked)
            for line in (
                f"user: {question}",
                "assistant:  ['find_recipe']",
                f"tool: dish {n}: boil, season, serve",
                f"assistant: answer {n}",
            )
        ]
        assert [type(one) for one in history.messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage] * 3
    else:
        said = ["system: Be kind.", "user: Hi", "assistant: yes", *["user: yes", "assistant: yes"]]
        said += ["user: yes", "assistant: Enjoy!"]
    assert talk.said() == {"s": said}
    assert talk.rows("select count(*) from conversation_messages")[0]["count"] == len(said)
    assert talk.findings() == []
    prove_in_any_order(talk)
    store = ConversationStore(talk.url)
    found = [f"{row['role']}: {row['content']}" for row in store.get_messages("s", limit=None)]
    assert found == [line.split(" ['")[0] for line in said if not line.startswith("system")]
    history.clear()
    assert history.messages == []
    assert talk.said() == {"s": said}
    store.close()


def test_without_a_history_key(talk: Talk) -> None:
    """LangChain then takes the old messages off the new ones by their number: it must not change during a run."""
    Watched.seen = []
    chain = RunnableWithMessageHistory(
        chat("answer 0", "answer 1"), lambda session_id: Watched(session_id, database_url=talk.url)
    )
    talk.process()
    for n in range(2):
        chain.invoke([HumanMessage(f"question {n}")], {**talk.config(), "configurable": {"session_id": "s"}})
        assert talk.flush()
    assert [one.content for one in Watched.seen] == ["question 0", "answer 0", "question 1", "answer 1"]
    assert SupabaseChatMessageHistory("s", database_url=talk.url).messages == Watched.seen
    assert talk.rows("select count(*) from conversation_messages")[0]["count"] == 4


def test_every_kind_of_message_comes_back_as_it_was(database_url: str) -> None:
    kinds: list[BaseMessage] = [
        HumanMessage("Hi", id="h1", name="Ann", additional_kwargs={"b": 1, "a": None}),
        HumanMessage([{"type": "text", "text": "What is it?"}, {"type": "image", "url": "http://x/y.png"}]),
        AIMessage(
            [{"type": "text", "text": "One"}, "two"],
            id="lc_run--1",
            usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
            response_metadata={"model_name": "m", "logprobs": [0.5]},
        ),
        AIMessage(
            "",
            tool_calls=[{"name": "f", "args": {"zz": 1, "a": {"y": 2, "b": 3}}, "id": "c1", "type": "tool_call"}],
            invalid_tool_calls=[
                {"name": "g", "args": "{", "id": "c2", "error": "no JSON", "type": "invalid_tool_call"}
            ],
        ),
        ToolMessage("done", tool_call_id="c1", status="error", artifact=[{"k": 1}]),
        SystemMessage("Be kind."),
        ChatMessage("As it were", role="narrator"),
        AIMessageChunk("a piece", id="run-2"),
        HumanMessage(""),
    ]
    history = SupabaseChatMessageHistory("s", user_id="ann", tenant_id="acme", database_url=database_url)
    assert history.messages == []
    history.add_messages([])
    history.add_messages(kinds)
    assert history.messages == kinds
    # So that a tracer knows the calls again when they are sent: order of keys and all.
    assert str(history.messages[3].model_dump()["tool_calls"]) == str(kinds[3].model_dump()["tool_calls"])
    assert SupabaseChatMessageHistory("s", user_id="ben", database_url=database_url).messages == []


def test_a_chat_goes_on_when_its_session_expires_or_is_gone(talk: Talk) -> None:
    store = ConversationStore(talk.url, ttl_hours=1)
    history = SupabaseChatMessageHistory("s", user_id="ann", store=store)
    history.add_messages([HumanMessage("one")])
    talk.connection.execute("update conversation_sessions set expires_at = now() - interval '1 minute'")
    assert [one.content for one in history.messages] == ["one"], "until it is removed"
    history.add_messages([HumanMessage("two")])
    assert [one.content for one in history.messages] == ["one", "two"]
    assert talk.rows("select expires_at > now() as lives from conversation_sessions") == [{"lives": True}]
    talk.connection.execute("delete from conversation_sessions")
    assert history.messages == []
    history.clear()
    history.add_messages([HumanMessage("three")])
    talk.connection.execute("delete from conversation_sessions")
    history.add_messages([HumanMessage("four")])
    assert [one.content for one in history.messages] == ["four"]
    store.close()


def test_what_a_store_added_is_there_too_and_awaited(database_url: str) -> None:
    async def talk() -> list[BaseMessage]:
        history = SupabaseChatMessageHistory("s", database_url=database_url)
        await history.aadd_messages([HumanMessage("Hi", id="1")])
        await asyncio.to_thread(store.add_message, "s", "tool", "done", tool_call_id="c1")
        await asyncio.to_thread(store.add_message, "s", "assistant", "Hello")
        found = await history.aget_messages()
        await history.aclear()
        assert await history.aget_messages() == []
        return found

    store = ConversationStore(database_url)
    found = asyncio.run(talk())
    assert [(one.type, one.content) for one in found] == [("human", "Hi"), ("tool", "done"), ("ai", "Hello")]
    assert found[0].id == "1"
    store.close()


@pytest.mark.parametrize("chars", [4_000, 400_000])
def test_a_picture_that_the_application_and_the_tracer_tell_is_one_message(talk: Talk, chars: int) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * (chars // 4)}}
    asked = [{"type": "text", "text": "What is this?"}, picture]
    store = ConversationStore(talk.url)
    store.create_conversation(session_id="s")
    store.add_message("s", "user", asked)
    talk.process()
    chat("A carrot.").invoke([HumanMessage(asked)], {**talk.config(), "metadata": {"session_id": "s"}})
    assert talk.flush()
    assert talk.said() == {"s": ["user: What is this?", "assistant: A carrot."]}
    assert talk.rows("select count(*) from conversation_messages") == [{"count": 2}]
    store.close()
