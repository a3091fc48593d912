"""The readable conversation: each message once, the exact prompt of every call, what was said and answered."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from lc_support import ScriptedChat, Shelf, Store, StreamingChat, ai, answer_last, as_prompt, call, find_recipe


def check_prompts(store: Store, *models: ScriptedChat) -> None:
    """Every call's prompt, put together from references, is what the model really received."""
    expected = sorted((as_prompt(messages) for model in models for messages in model.received), key=repr)
    stored = sorted((store.prompt(span["id"]) for span in store.spans(kind="llm")), key=repr)
    assert stored == expected


def agent(turns: int) -> tuple[Any, ScriptedChat]:
    from langchain.agents import create_agent

    replies = [
        ai(f"thinking {turn}", calls=[call("find_recipe", f"call_{turn}", dish=f"dish {turn}")])
        for turn in range(turns)
    ]
    model = ScriptedChat(replies=[*replies, ai("Here is all of it.")])
    return create_agent(model, [find_recipe], system_prompt="You are Chef Chopsky."), model


def test_an_agent_loop_is_stored_once(store: Store, tracer: Any) -> None:
    loop, model = agent(30)
    loop.invoke({"messages": [HumanMessage("everything please")]}, {"callbacks": [tracer], "recursion_limit": 200})
    assert tracer.flush(20)
    expected: list[tuple[str, str, bool]] = [("user", "everything please", False)]
    for turn in range(30):
        expected += [("assistant", f"thinking {turn}", True), ("tool", f"dish {turn}: boil, season, serve", True)]
    expected.append(("assistant", "Here is all of it.", False))
    assert store.said() == expected
    assert [row["content"] for row in store.messages() if row["role"] == "system"] == ["You are Chef Chopsky."]
    assert [row["sequence"] for row in store.messages()] == list(range(1, 64))
    check_prompts(store, model)
    assert store.run()["total_messages"] == 2
    assert store.transcript() == [("user", "everything please"), ("assistant", "Here is all of it.")]


def test_storage_grows_with_the_messages_not_with_their_square(store: Store, tracer: Any) -> None:
    sizes = []
    for turns in (10, 40):
        loop, _ = agent(turns)
        loop.invoke({"messages": [HumanMessage("everything please")]}, {"callbacks": [tracer], "recursion_limit": 300})
        assert tracer.flush(20)
        (size,) = store.rows("""select sum(length(coalesce(inputs::text, '')) + length(coalesce(outputs::text, ''))
            + 16 * coalesce(cardinality(prompt_bodies), 0)) as bytes from conversation_spans
            where conversation_run_id = (select id from conversation_runs order by started_at desc limit 1)""")
        sizes.append(size["bytes"])
    assert sizes[1] < 6 * sizes[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_session_of_several_turns_with_a_checkpointer(store: Store, tracer: Any, streaming: bool) -> None:
    from langchain.agents import create_agent
    from langgraph.checkpoint.memory import InMemorySaver

    model = (StreamingChat if streaming else ScriptedChat)(
        replies=[
            ai(calls=[call("find_recipe", "call_1", dish="ramen")]),
            ai("Boil it."),
            ai("Salt it."),
            ai("You are welcome."),
        ]
    )
    made = create_agent(model, [find_recipe], system_prompt="You are Chef Chopsky.", checkpointer=InMemorySaver())
    config: Any = {"callbacks": [tracer], "configurable": {"thread_id": "table 9"}}
    for question in ("How?", "And then?", "Thanks"):
        if streaming:
            for _ in made.stream({"messages": [HumanMessage(question)]}, config, stream_mode="messages"):
                pass
        else:
            made.invoke({"messages": [HumanMessage(question)]}, config)
    assert tracer.flush(10)
    assert store.said() == [
        ("user", "How?", False),
        ("assistant", "", True),
        ("tool", "ramen: boil, season, serve", True),
        ("assistant", "Boil it.", False),
        ("user", "And then?", False),
        ("assistant", "Salt it.", False),
        ("user", "Thanks", False),
        ("assistant", "You are welcome.", False),
    ]
    assert [store.transcript(run["id"]) for run in store.runs()] == [
        [("user", "How?"), ("assistant", "Boil it.")],
        [("user", "And then?"), ("assistant", "Salt it.")],
        [("user", "Thanks"), ("assistant", "You are welcome.")],
    ]
    assert [run["total_messages"] for run in store.runs()] == [2, 2, 2]
    assert [row["content"] for row in store.messages() if row["role"] == "system"] == ["You are Chef Chopsky."]
    check_prompts(store, model)


def test_yes_said_twice_is_two_messages(store: Store, tracer: Any) -> None:
    history: list[BaseMessage] = []
    model = ScriptedChat(replies=[ai("More salt?"), ai("More salt?"), ai("Done.")])
    for said in ("cook", "yes", "yes"):
        history.append(HumanMessage(said))
        history.append(model.invoke(history, {"callbacks": [tracer], "metadata": {"thread_id": "t"}}))
    assert tracer.flush(10)
    assert store.said() == [
        ("user", "cook", False),
        ("assistant", "More salt?", False),
        ("user", "yes", False),
        ("assistant", "More salt?", False),
        ("user", "yes", False),
        ("assistant", "Done.", False),
    ]
    check_prompts(store, model)


def test_two_users_of_one_thread_do_not_swallow_each_other(store: Store, tracer: Any) -> None:
    for user in ("ada", "bob"):
        history: list[BaseMessage] = []
        model = ScriptedChat(replies=[ai("Hello!"), ai("Soup.")])
        for said in ("hi", "what is there?"):
            history.append(HumanMessage(said))
            history.append(
                model.invoke(history, {"callbacks": [tracer], "metadata": {"thread_id": "1", "user_id": user}})
            )
    assert tracer.flush(10)
    for user in ("ada", "bob"):
        assert [row["content"] for row in store.messages() if row["user_id"] == user] == [
            "hi",
            "Hello!",
            "what is there?",
            "Soup.",
        ]


def test_two_runs_without_a_session_share_nothing(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("Hello!")])
    for _ in range(2):
        model.invoke([SystemMessage("Be kind."), HumanMessage("hi")], {"callbacks": [tracer]})
    assert tracer.flush(10)
    for run in store.runs():
        assert [(row["role"], row["content"]) for row in store.messages(run["id"])] == [
            ("system", "Be kind."),
            ("user", "hi"),
            ("assistant", "Hello!"),
        ]


def test_history_sent_again_as_dicts_adds_nothing(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("one"), ai("two"), ai("three")])
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
    for said in ("a", "b", "c"):
        history.append({"role": "user", "content": said})
        answer = model.invoke(list(history), {"callbacks": [tracer], "metadata": {"session_id": "s"}})
        history.append({"role": "assistant", "content": answer.content})
    assert tracer.flush(10)
    assert [(row["role"], row["content"]) for row in store.messages() if row["role"] != "system"] == [
        ("user", "a"),
        ("assistant", "one"),
        ("user", "b"),
        ("assistant", "two"),
        ("user", "c"),
        ("assistant", "three"),
    ]
    assert len([row for row in store.messages() if row["role"] == "system"]) == 1
    check_prompts(store, model)


def test_a_trimmed_window_adds_nothing(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai(f"answer {number}") for number in range(6)])
    history: list[BaseMessage] = []
    for number in range(6):
        history.append(HumanMessage(f"question {number}"))
        history.append(model.invoke(history[-3:], {"callbacks": [tracer], "metadata": {"session_id": "s"}}))
    assert tracer.flush(10)
    assert [row["content"] for row in store.messages()] == [
        text for number in range(6) for text in (f"question {number}", f"answer {number}")
    ]
    check_prompts(store, model)


def test_a_history_nobody_recorded_is_kept_as_history(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("Soup.")])
    model.invoke(
        [HumanMessage("hi"), AIMessage("Hello!"), HumanMessage("what is there?")],
        {"callbacks": [tracer], "metadata": {"session_id": "s"}},
    )
    assert tracer.flush(10)
    assert [(row["role"], row["content"], row["is_history"]) for row in store.messages()] == [
        ("user", "hi", True),
        ("assistant", "Hello!", True),
        ("user", "what is there?", False),
        ("assistant", "Soup.", False),
    ]
    check_prompts(store, model)


def test_a_stuffed_prompt_is_internal(store: Store, tracer: Any) -> None:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Use the context."), ("human", "Context: {context}\n\nQuestion: {question}")]
    )
    model = ScriptedChat(replies=[ai("In kelp.")])
    chain = (
        {
            "context": Shelf() | (lambda pages: " ".join(page.page_content for page in pages)),
            "question": RunnablePassthrough(),
        }
        | prompt
        | model
        | StrOutputParser()
    )
    chain.invoke("Where is umami?", {"callbacks": [tracer], "metadata": {"session_id": "s"}})
    chain.invoke("And salt?", {"callbacks": [tracer], "metadata": {"session_id": "s"}})
    assert tracer.flush(10)
    stuffed = "Context: Umami is the fifth taste. Kelp holds much of it.\n\nQuestion: "
    first, second = store.runs()
    assert sorted(store.said(first["id"])) == sorted(
        [
            ("user", "Where is umami?", False),
            ("user", stuffed + "Where is umami?", True),
            ("assistant", "In kelp.", False),
        ]
    )
    assert store.transcript(first["id"]) == [("user", "Where is umami?"), ("assistant", "In kelp.")]
    assert store.transcript(second["id"]) == [("user", "And salt?"), ("assistant", "In kelp.")]
    check_prompts(store, model)


def test_intermediate_answers_are_internal(store: Store, tracer: Any) -> None:
    draft, final = ScriptedChat(replies=[ai("a draft")]), ScriptedChat(replies=[ai("the final text")])
    chain = (
        ChatPromptTemplate.from_messages([("human", "Draft: {topic}")])
        | draft
        | StrOutputParser()
        | ChatPromptTemplate.from_messages([("human", "Improve: {text}")])
        | final
        | StrOutputParser()
    )
    chain.invoke({"topic": "ramen"}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.transcript() == [("user", "ramen"), ("assistant", "the final text")]
    assert ("assistant", "a draft", True) in store.said()
    check_prompts(store, draft, final)


def test_content_blocks_and_tool_errors_keep_their_form(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("A carrot.")])
    blocks: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    model.invoke(
        [
            HumanMessage(blocks),
            AIMessage("", tool_calls=[call("look", "call_7", closely=True)]),
            ToolMessage("too dark", tool_call_id="call_7", status="error"),
            HumanMessage("well?"),
        ],
        {"callbacks": [tracer]},
    )
    assert tracer.flush(10)
    rows = store.rows("select * from conversation_prompt(%s) order by position", store.span(kind="llm")["id"])
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", "What is this?"),
        ("assistant", ""),
        ("tool", "too dark"),
        ("user", "well?"),
    ]
    assert rows[0]["parts"] == blocks
    assert [(item["name"], item["args"], item["id"]) for item in rows[1]["tool_calls"]] == [
        ("look", {"closely": True}, "call_7")
    ]
    assert rows[2]["tool_call_id"] == "call_7"


def test_a_message_changed_in_place_is_told_again(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[answer_last])
    message = HumanMessage("first wording")
    from langchain_core.runnables import RunnableLambda

    def twice(_: Any) -> str:
        model.invoke([message])
        message.content = "second wording"
        return str(model.invoke([message]).content)

    RunnableLambda(twice).invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    check_prompts(store, model)


def test_messages_carry_their_calls_numbers(store: Store, tracer: Any) -> None:
    from decimal import Decimal

    loop, _ = agent(1)
    loop.invoke({"messages": [HumanMessage("one please")]}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    rows = store.messages()
    answers = [row for row in rows if row["role"] == "assistant"]
    assert [(row["token_count"], row["cost"], row["model"], row["provider"]) for row in answers] == [
        (20, Decimal("0.000027"), "gpt-4o-mini-2024-07-18", "openai")
    ] * 2
    calls = store.spans(kind="llm")
    assert [row["span_id"] for row in answers] == [span["id"] for span in calls]
    assert [row["response_time_ms"] for row in answers] == [span["response_time_ms"] for span in calls]
    assert (
        sum(row["cost"] for row in rows if row["cost"] is not None) == store.run()["total_cost"] == Decimal("0.000054")
    )


def test_payloads_refer_to_messages_instead_of_repeating_them(store: Store, tracer: Any) -> None:
    loop, _ = agent(2)
    loop.invoke({"messages": [HumanMessage("a rather long question")]}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    payloads = "".join(f"{span['inputs']} {span['outputs']}" for span in store.spans())
    assert "a rather long question" not in payloads
    assert "$message" in payloads
    bodies = {str(row["body_id"]).replace("-", "") for row in store.messages()}
    import re

    referred = {found.replace("-", "") for found in re.findall(r"'([0-9a-f-]{32,36})'", payloads)}
    spans = {str(span["id"]).replace("-", "") for span in store.spans()}
    assert referred - spans
    assert referred - spans <= bodies
