"""Every shape LangChain runs in: the spans' ids, parents, kinds and statuses, the run's row, the messages."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from lc_support import (
    STREAMING,
    WAYS,
    Recorder,
    ScriptedChat,
    ScriptedLLM,
    Shelf,
    Store,
    StreamingChat,
    ai,
    answer_last,
    assert_mirrored,
    call,
    drive,
    find_recipe,
    heat_oven,
)
from pydantic import BaseModel

QUESTION = {"question": "What is umami?", "style": "short"}
PROMPT = ChatPromptTemplate.from_messages([("system", "You are a cook."), ("human", "{question}")])
# gpt-4o-mini: 0.15 and 0.60 USD a million tokens; 100 in, 20 out.
COST = Decimal("0.000027")


def lcel(model: Any) -> Any:
    return PROMPT | model | StrOutputParser()


@pytest.mark.parametrize("way", WAYS)
def test_lcel_chain(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    model = StreamingChat(replies=[ai("The fifth taste.")])
    drive(lcel(model), QUESTION, {"callbacks": [recorder, tracer], "tags": ["menu"], "metadata": {"shop": 7}}, way)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    assert store.tree() == [
        (
            "chain",
            "RunnableSequence",
            "completed",
            [
                ("prompt", "ChatPromptTemplate", "completed", []),
                ("llm", "StreamingChat", "completed", []),
                ("parser", "StrOutputParser", "completed", []),
            ],
        )
    ]
    run = store.run(recorder.roots[0])
    assert run["status"] == "completed"
    assert run["name"] == "RunnableSequence"
    assert run["error"] is None
    assert "menu" in run["tags"]
    assert run["metadata"]["shop"] == 7
    assert (run["total_input_tokens"], run["total_output_tokens"], run["total_tokens_used"]) == (100, 20, 120)
    assert run["total_cost"] == COST
    assert (run["unpriced_calls"], run["unmeasured_calls"]) == (0, 0)
    assert run["total_messages"] == 2
    assert run["started_at"] <= run["ended_at"]
    llm = store.span(kind="llm")
    assert run["average_response_time"] == llm["response_time_ms"] > 0
    assert (llm["provider"], llm["model"], llm["model_requested"]) == (
        "openai",
        "gpt-4o-mini-2024-07-18",
        "gpt-4o-mini",
    )
    assert (llm["input_tokens"], llm["output_tokens"], llm["total_tokens"]) == (100, 20, 120)
    assert (llm["usage_source"], llm["cost_source"], llm["cost"]) == ("reported", "computed", COST)
    assert llm["finish_reason"] == "stop"
    assert store.transcript(run["id"]) == [("user", "What is umami?"), ("assistant", "The fifth taste.")]
    for span in store.spans():
        assert run["started_at"] <= span["started_at"] <= span["ended_at"]
        if span["kind"] != "llm":
            assert span["total_tokens"] is None
            assert span["cost"] is None


@pytest.mark.parametrize("way", STREAMING)
def test_streaming_root_gets_its_true_inputs_and_first_token(store: Store, tracer: Any, way: str) -> None:
    model = StreamingChat(replies=[ai("one two three four")])
    drive(lcel(model), QUESTION, {"callbacks": [tracer]}, way)
    assert tracer.flush(10)
    root = store.span(name="RunnableSequence")
    assert root["inputs"]["style"] == "short"
    llm = store.span(kind="llm")
    assert 0 <= llm["time_to_first_token_ms"] <= llm["response_time_ms"]
    assert store.messages()[-1]["content"] == "one two three four"


def test_invoke_has_no_first_token_time(store: Store, tracer: Any) -> None:
    lcel(ScriptedChat(replies=[ai("x")])).invoke(QUESTION, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.span(kind="llm")["time_to_first_token_ms"] is None


@pytest.mark.parametrize("asynchronous", [False, True])
def test_batch_gives_as_many_runs_as_inputs(store: Store, tracer: Any, recorder: Recorder, asynchronous: bool) -> None:
    chain = lcel(ScriptedChat(replies=[answer_last]))
    inputs = [{"question": f"q{number}"} for number in range(12)]
    config = {"callbacks": [recorder, tracer]}
    outputs = asyncio.run(chain.abatch(inputs, config)) if asynchronous else chain.batch(inputs, config)
    assert outputs == [f"answer to q{number}" for number in range(12)]
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    runs = store.runs()
    assert {run["id"] for run in runs} == set(recorder.roots)
    assert len(runs) == 12
    assert sorted(tuple(store.transcript(run["id"])) for run in runs) == sorted(
        (("user", f"q{number}"), ("assistant", f"answer to q{number}")) for number in range(12)
    )
    assert [run["total_tokens_used"] for run in runs] == [120] * 12


def test_a_failing_batch_item_fails_its_own_run_only(store: Store, tracer: Any) -> None:
    def reply(messages: list[Any]) -> AIMessage:
        if messages[-1].content == "bad":
            raise ValueError("no such dish")
        return answer_last(messages)

    outputs = lcel(ScriptedChat(replies=[reply])).batch(
        [{"question": "good"}, {"question": "bad"}, {"question": "fine"}],
        {"callbacks": [tracer]},
        return_exceptions=True,
    )
    assert [isinstance(output, ValueError) for output in outputs] == [False, True, False]
    assert tracer.flush(10)
    runs = store.runs()
    assert sorted(run["status"] for run in runs) == ["completed", "completed", "failed"]
    failed = next(run for run in runs if run["status"] == "failed")
    assert "no such dish" in failed["error"]
    assert failed["total_tokens_used"] is None
    assert failed["total_cost"] is None


def test_generate_with_two_prompts_gives_two_runs(store: Store, tracer: Any) -> None:
    ScriptedChat(replies=[answer_last]).generate([[HumanMessage("a")], [HumanMessage("b")]], callbacks=[tracer])
    assert tracer.flush(10)
    runs = store.runs()
    assert [run["total_tokens_used"] for run in runs] == [120, 120]
    assert sorted(tuple(store.transcript(run["id"])) for run in runs) == [
        (("user", "a"), ("assistant", "answer to a")),
        (("user", "b"), ("assistant", "answer to b")),
    ]


def test_generate_whose_second_prompt_fails_leaves_no_invented_numbers(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("paid"), RuntimeError("down"), ai("paid")])
    with pytest.raises(RuntimeError, match="down"):
        model.generate([[HumanMessage("a")], [HumanMessage("b")], [HumanMessage("c")]], callbacks=[tracer])
    assert tracer.flush(10)
    assert sorted((run["status"], run["total_tokens_used"]) for run in store.runs()) == [
        ("active", None),
        ("active", None),
        ("failed", None),
    ]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_create_agent(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    from langchain.agents import create_agent

    model = ScriptedChat(
        replies=[
            ai(calls=[call("find_recipe", "call_1", dish="ramen")], tokens=(100, 20)),
            ai("Boil it.", tokens=(150, 10)),
        ]
    )
    agent = create_agent(model, [find_recipe], system_prompt="You are Chef Chopsky.", name="chopsky")
    drive(agent, {"messages": [HumanMessage("How do I make ramen?")]}, {"callbacks": [recorder, tracer]}, way)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    ((kind, name, status, children),) = store.tree()
    assert kind in ("agent", "chain")
    assert (name, status) == ("chopsky", "completed")
    assert children == [
        ("chain", "model", "completed", [("llm", "ScriptedChat", "completed", [])]),
        ("chain", "tools", "completed", [("tool", "find_recipe", "completed", [])]),
        ("chain", "model", "completed", [("llm", "ScriptedChat", "completed", [])]),
    ]
    run = store.run()
    assert (run["total_input_tokens"], run["total_output_tokens"], run["total_tokens_used"]) == (250, 30, 280)
    assert run["total_cost"] == Decimal("0.0000555")
    assert (run["status"], run["total_messages"]) == ("completed", 2)
    assert store.transcript() == [("user", "How do I make ramen?"), ("assistant", "Boil it.")]
    tool = store.span(kind="tool")
    assert "ramen: boil, season, serve" in str(store.messages())
    assert tool["inputs"] is not None
    calls = store.spans(kind="llm")
    assert "find_recipe" in str(calls[0]["invocation_params"])


def test_hand_made_graph_with_subgraph_and_parallel_branches(store: Store, tracer: Any, recorder: Recorder) -> None:
    from langgraph.graph import END, START, MessagesState, StateGraph

    model = ScriptedChat(replies=[answer_last])

    def taste(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke([HumanMessage("how does it taste")])]}

    def look(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke([HumanMessage("how does it look")])]}

    def plate(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("plated")]}

    inner = (
        StateGraph(MessagesState)
        .add_node("look", look)
        .add_edge(START, "look")
        .add_edge("look", END)
        .compile(name="inner")
    )
    outer = StateGraph(MessagesState).add_node("taste", taste).add_node("inner", inner).add_node("plate", plate)
    outer = (
        outer.add_edge(START, "taste")
        .add_edge(START, "inner")
        .add_edge(["taste", "inner"], "plate")
        .add_edge("plate", END)
    )
    outer.compile(name="outer").invoke({"messages": [HumanMessage("serve")]}, {"callbacks": [recorder, tracer]})
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    run = store.run()
    assert (run["name"], run["status"], run["total_tokens_used"]) == ("outer", "completed", 240)
    by_id = {span["id"]: span for span in store.spans()}
    lines = [[span["name"]] for span in by_id.values()]
    for span, line in zip(by_id.values(), lines, strict=True):
        while span["parent_span_id"]:
            span = by_id[span["parent_span_id"]]
            line.insert(0, span["name"])
    assert sorted(lines) == [
        ["outer"],
        ["outer", "inner"],
        ["outer", "inner", "inner"],
        ["outer", "inner", "inner", "look"],
        ["outer", "inner", "inner", "look", "ScriptedChat"],
        ["outer", "plate"],
        ["outer", "taste"],
        ["outer", "taste", "ScriptedChat"],
    ] or sorted(lines) == [
        ["outer"],
        ["outer", "inner"],
        ["outer", "inner", "look"],
        ["outer", "inner", "look", "ScriptedChat"],
        ["outer", "plate"],
        ["outer", "taste"],
        ["outer", "taste", "ScriptedChat"],
    ]
    assert {span["status"] for span in by_id.values()} == {"completed"}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_runnable_parallel(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    chain = RunnableParallel(a=ScriptedChat(replies=[ai("A")]), b=ScriptedChat(replies=[ai("B")]))
    drive(chain, "go", {"callbacks": [recorder, tracer]}, way)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    ((kind, name, status, children),) = store.tree()
    assert (kind, name, status) == ("chain", "RunnableParallel<a,b>", "completed")
    assert children == [("llm", "ScriptedChat", "completed", [])] * 2
    assert store.run()["total_tokens_used"] == 240


def test_a_tool_that_fails_the_run(store: Store, tracer: Any, recorder: Recorder) -> None:
    from langchain.agents import create_agent

    agent = create_agent(ScriptedChat(replies=[ai(calls=[call("heat_oven", "call_1", degrees=900)])]), [heat_oven])
    with pytest.raises(RuntimeError, match="broken at 900"):
        agent.invoke({"messages": [HumanMessage("heat")]}, {"callbacks": [recorder, tracer]})
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    tool = store.span(kind="tool")
    assert (tool["name"], tool["status"]) == ("heat_oven", "failed")
    assert "broken at 900" in tool["error"]
    run = store.run()
    assert (run["status"], run["total_tokens_used"]) == ("failed", 120)
    assert "broken at 900" in run["error"]
    (analytics,) = store.rows("select * from conversation_analytics")
    assert analytics["error_count"] == 1


def test_a_tool_called_with_wrong_arguments(store: Store, tracer: Any, recorder: Recorder) -> None:
    from langchain.agents import create_agent

    model = ScriptedChat(replies=[ai(calls=[call("heat_oven", "call_1", degrees="very")]), ai("Sorry.")])
    create_agent(model, [heat_oven]).invoke({"messages": [HumanMessage("heat")]}, {"callbacks": [recorder, tracer]})
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    tool = store.span(kind="tool")
    assert tool["status"] == "failed"
    assert "degrees" in tool["error"]
    assert store.run()["status"] == "completed"
    (analytics,) = store.rows("select * from conversation_analytics")
    assert analytics["error_count"] == 1
    assert store.transcript() == [("user", "heat"), ("assistant", "Sorry.")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "astream"])
def test_retrieval_chain(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Context: {context}\n\nQuestion: {question}")])
    chain = (
        {
            "context": Shelf() | (lambda pages: "\n".join(page.page_content for page in pages)),
            "question": RunnablePassthrough(),
        }
        | prompt
        | StreamingChat(replies=[ai("Kelp has it.")])
        | StrOutputParser()
    )
    drive(chain, "Where is umami?", {"callbacks": [recorder, tracer]}, way)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    shelf = store.span(kind="retriever")
    assert (shelf["name"], shelf["status"]) == ("Shelf", "completed")
    assert "Where is umami?" in str(shelf["inputs"])
    assert "Kelp holds much of it." in str(shelf["outputs"])
    assert "kelp.md" in str(shelf["outputs"])
    assert store.transcript() == [("user", "Where is umami?"), ("assistant", "Kelp has it.")]


class Dish(BaseModel):
    """A dish."""

    name: str


def test_structured_output(store: Store, tracer: Any, recorder: Recorder) -> None:
    model = ScriptedChat(replies=[ai(calls=[call("Dish", "call_1", name="ramen")])])
    dish = model.with_structured_output(Dish).invoke("one dish", {"callbacks": [recorder, tracer]})
    assert dish == Dish(name="ramen")
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    llm = store.span(kind="llm")
    assert "Dish" in str(llm["invocation_params"])
    assert (llm["finish_reason"], llm["total_tokens"]) == ("tool_calls", 120)
    assert store.span(kind="parser")["status"] == "completed"
    (answer,) = [row for row in store.messages() if row["role"] == "assistant"]
    assert [(item["name"], item["args"]) for item in answer["tool_calls"]] == [("Dish", {"name": "ramen"})]
    assert store.run()["status"] == "completed"


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_with_retry_each_attempt_is_a_span(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    model = ScriptedChat(replies=[TimeoutError("slow"), TimeoutError("slow"), ai("third time")])
    chain = PROMPT | model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    drive(chain, QUESTION, {"callbacks": [recorder, tracer]}, way)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    assert [span["status"] for span in store.spans(kind="llm")] == ["failed", "failed", "completed"]
    run = store.run()
    assert (run["status"], run["total_tokens_used"], run["total_cost"]) == ("completed", 120, COST)
    (analytics,) = store.rows("select * from conversation_analytics")
    assert (analytics["error_count"], analytics["retry_count"]) == (2, 2)
    assert store.transcript() == [("user", "What is umami?"), ("assistant", "third time")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_with_fallbacks_is_one_run_with_right_parents(store: Store, tracer: Any, way: str) -> None:
    first = ScriptedChat(replies=[ConnectionError("refused")])
    second = ScriptedChat(replies=[ai("from the second")])
    drive(first.with_fallbacks([second]), "hello", {"callbacks": [tracer]}, way)
    assert tracer.flush(10)
    assert store.tree() == [
        (
            "chain",
            "RunnableWithFallbacks",
            "completed",
            [("llm", "ScriptedChat", "failed", []), ("llm", "ScriptedChat", "completed", [])],
        )
    ]
    run = store.run()
    assert (run["status"], run["total_tokens_used"], run["total_cost"]) == ("completed", 120, COST)
    assert (run["unmeasured_calls"], run["unpriced_calls"]) == (0, 0)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_nested_fallbacks_hang_below_their_wrapper(store: Store, tracer: Any, way: str) -> None:
    model = ScriptedChat(replies=[ConnectionError("refused")]).with_fallbacks([ScriptedChat(replies=[ai("second")])])
    drive(PROMPT | model | StrOutputParser(), QUESTION, {"callbacks": [tracer]}, way)
    assert tracer.flush(10)
    ((_, _, status, children),) = store.tree()
    assert status == "completed"
    assert [child[:3] for child in children] == [
        ("prompt", "ChatPromptTemplate", "completed"),
        ("chain", "RunnableWithFallbacks", "completed"),
        ("parser", "StrOutputParser", "completed"),
    ]
    assert children[1][3] == [("llm", "ScriptedChat", "failed", []), ("llm", "ScriptedChat", "completed", [])]


def test_explicit_callbacks_inside_a_lambda_stay_in_the_run(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("inner")])
    RunnableLambda(lambda text: model.invoke(text, {"callbacks": [tracer]})).invoke("hi", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.tree() == [("chain", "RunnableLambda", "completed", [("llm", "ScriptedChat", "completed", [])])]


@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_message_history_finds_the_session(store: Store, tracer: Any, way: str) -> None:
    kept: dict[str, InMemoryChatMessageHistory] = {}
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You are a cook."), MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | ScriptedChat(replies=[ai("one"), ai("two")]),
        lambda session_id: kept.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="question",
        history_messages_key="history",
    )
    config: Any = {"callbacks": [tracer], "configurable": {"session_id": "table 9"}}
    drive(chain, {"question": "first?"}, config, way)
    drive(chain, {"question": "second?"}, config, way)
    assert tracer.flush(10)
    runs = store.runs()
    assert [run["session_id"] for run in runs] == ["table 9", "table 9"]
    assert [store.transcript(run["id"]) for run in runs] == [
        [("user", "first?"), ("assistant", "one")],
        [("user", "second?"), ("assistant", "two")],
    ]
    assert [run["total_tokens_used"] for run in runs] == [120, 120]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_plain_llm(store: Store, tracer: Any, way: str) -> None:
    drive(ScriptedLLM(), "salt", {"callbacks": [tracer]}, way)
    assert tracer.flush(10)
    assert store.tree() == [("llm", "ScriptedLLM", "completed", [])]
    llm = store.span(kind="llm")
    assert (llm["input_tokens"], llm["output_tokens"], llm["total_tokens"]) == (7, 2, 9)
    assert (llm["provider"], llm["model_requested"]) == ("openai", "gpt-3.5-turbo-instruct")
    # 1.50 and 2.00 USD a million tokens.
    assert llm["cost"] == Decimal("0.0000145")
    assert store.transcript() == [("user", "salt"), ("assistant", "salt indeed")]


def test_plain_llm_generate_puts_the_whole_usage_on_the_first(store: Store, tracer: Any) -> None:
    ScriptedLLM().generate(["salt", "sugar"], callbacks=[tracer])
    assert tracer.flush(10)
    assert sorted((run["total_tokens_used"] is None, run["total_tokens_used"]) for run in store.runs()) == [
        (False, 18),
        (True, None),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_an_error_fails_every_level_and_counts_once(store: Store, tracer: Any, recorder: Recorder, way: str) -> None:
    with pytest.raises(ValueError, match="kitchen closed"):
        drive(
            lcel(ScriptedChat(replies=[ValueError("kitchen closed")])), QUESTION, {"callbacks": [recorder, tracer]}, way
        )
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    run = store.run()
    assert run["status"] == "failed"
    assert "kitchen closed" in run["error"]
    assert run["total_tokens_used"] is None
    assert run["total_cost"] is None
    assert store.span(kind="llm")["status"] == "failed"
    assert "kitchen closed" in store.span(kind="llm")["error"]
    (analytics,) = store.rows("select * from conversation_analytics")
    assert analytics["error_count"] == 1
    assert store.transcript() == [("user", "What is umami?")]


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_stream_that_breaks_keeps_its_text_and_no_numbers(store: Store, tracer: Any, way: str) -> None:
    with pytest.raises(ConnectionError, match="went dead"):
        drive(StreamingChat(replies=[ai("one two three four")], fail_after=2), "count", {"callbacks": [tracer]}, way)
    assert tracer.flush(10)
    llm = store.span(kind="llm")
    assert llm["status"] == "failed"
    assert (llm["input_tokens"], llm["output_tokens"], llm["total_tokens"], llm["cost"]) == (None, None, None, None)
    run = store.run()
    assert (run["total_tokens_used"], run["total_cost"], run["unmeasured_calls"], run["unpriced_calls"]) == (
        None,
        None,
        1,
        1,
    )
    assert "one two " in store.dump()


def test_async_cancellation(store: Store, tracer: Any, recorder: Recorder) -> None:
    model = ScriptedChat(replies=[ai("never")], hang=True)

    async def go() -> None:
        task = asyncio.create_task(lcel(model).ainvoke(QUESTION, {"callbacks": [recorder, tracer]}))
        while not model.begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    run = store.run()
    assert run["status"] in ("failed", "interrupted", "abandoned")
    assert run["ended_at"] is not None
    assert (run["total_tokens_used"], run["total_cost"]) == (None, None)
    # LangChain never ends this call, so nothing may be claimed of it.
    llm = store.span(kind="llm")
    assert llm["status"] != "completed"
    assert llm["total_tokens"] is None


def test_abandoned_sync_chain_stream_counts_what_the_model_went_on_to_use(
    store: Store, tracer: Any, recorder: Recorder
) -> None:
    stream = lcel(StreamingChat(replies=[ai("one two three four")])).stream(QUESTION, {"callbacks": [recorder, tracer]})
    assert next(stream) == "one "
    stream.close()
    gc.collect()
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    # LangChain ends the root first, then drains the model: the call ends after its root, with its usage.
    llm = store.span(kind="llm")
    assert llm["status"] == "completed"
    assert llm["total_tokens"] == 120
    run = store.run()
    assert run["status"] != "active"
    assert (run["total_tokens_used"], run["total_cost"]) == (120, COST)


def test_abandoned_sync_model_stream_has_unknown_numbers(store: Store, tracer: Any) -> None:
    stream = StreamingChat(replies=[ai("one two three four")]).stream("count", {"callbacks": [tracer]})
    assert next(stream).content == "one "
    stream.close()
    assert tracer.flush(10)
    llm = store.span(kind="llm")
    assert llm["status"] not in ("active", "completed")
    assert (llm["input_tokens"], llm["output_tokens"], llm["total_tokens"], llm["cost"]) == (None, None, None, None)
    assert llm["usage_source"] in (None, "unknown")
    run = store.run()
    assert (run["total_tokens_used"], run["total_cost"]) == (None, None)
    assert (run["unmeasured_calls"], run["unpriced_calls"]) == (1, 1)


def test_abandoned_async_stream_has_unknown_numbers(store: Store, tracer: Any, recorder: Recorder) -> None:
    async def go() -> None:
        stream = lcel(StreamingChat(replies=[ai("one two three four")])).astream(
            QUESTION, {"callbacks": [recorder, tracer]}
        )
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(go())
    gc.collect()
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    run = store.run()
    assert run["status"] not in ("active", "completed")
    llm = store.span(kind="llm")
    assert (llm["total_tokens"], llm["cost"]) == (None, None)
    assert (run["total_tokens_used"], run["total_cost"]) == (None, None)


def test_interrupt_and_resume(store: Store, tracer: Any, recorder: Recorder) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.types import Command, interrupt

    model = ScriptedChat(replies=[ai("approved")])

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(interrupt("may I?"))]}

    def tell(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = (
        StateGraph(MessagesState)
        .add_node("ask", ask)
        .add_node("tell", tell)
        .add_edge(START, "ask")
        .add_edge("ask", "tell")
        .add_edge("tell", END)
        .compile(checkpointer=InMemorySaver())
    )
    config: Any = {"callbacks": [recorder, tracer], "configurable": {"thread_id": "table 4"}}
    graph.invoke({"messages": [HumanMessage("cook it")]}, config)
    graph.invoke(Command(resume="go on"), config)
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    first, second = store.runs()
    assert (first["status"], second["status"]) == ("interrupted", "completed")
    assert (first["session_id"], second["session_id"]) == ("table 4", "table 4")
    assert second["resumes"] == first["id"]
    assert first["resumed_at"] == second["started_at"]
    assert first["resumes"] is None
    asked = [span["status"] for span in store.spans() if span["name"] == "ask"]
    assert asked == ["interrupted", "completed"]
    (counts,) = store.rows("select sum(error_count) as errors from conversation_analytics")
    assert counts["errors"] == 0
    assert (first["total_tokens_used"], second["total_tokens_used"]) == (None, 120)


def test_an_interrupt_that_nobody_resumed_stays_interrupted(store: Store, tracer: Any) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.types import interrupt

    model = ScriptedChat(replies=[ai("draft")])

    def ask(state: MessagesState) -> dict[str, Any]:
        model.invoke(state["messages"])
        return {"messages": [HumanMessage(interrupt("may I?"))]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": [HumanMessage("cook it")]}, {"callbacks": [tracer], "configurable": {"thread_id": "t"}})
    assert tracer.flush(10)
    run = store.run()
    assert (run["status"], run["resumed_at"], run["error"], run["total_tokens_used"]) == (
        "interrupted",
        None,
        None,
        120,
    )


def test_a_cached_answer_costs_nothing_and_says_so(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("cached")], cache=InMemoryCache())
    model.invoke("same", {"callbacks": [tracer]})
    model.invoke("same", {"callbacks": [tracer]})
    assert len(model.received) == 1
    assert tracer.flush(10)
    first, second = store.runs()
    assert (first["total_cost"], second["total_cost"]) == (COST, 0)
    assert second["unpriced_calls"] == 0
    paid, hit = store.spans(kind="llm")
    assert (paid["cost"], hit["cost"]) == (COST, 0)
    assert "cache" in str(hit["price_rates"]) + str(hit["usage_details"]) + str(hit["end_metadata"])
    assert "cache_hit" not in str(paid["price_rates"])
    assert hit["duplicate_of"] is None
    assert store.transcript(second["id"]) == [("user", "same"), ("assistant", "cached")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
def test_one_tracer_given_twice_is_recorded_once(store: Store, tracer: Any, way: str) -> None:
    chain = lcel(StreamingChat(replies=[ai("once")])).with_config(callbacks=[tracer])
    drive(chain, QUESTION, {"callbacks": [tracer, tracer]}, way)
    assert tracer.flush(10)
    assert [span["name"] for span in store.spans()] == [
        "RunnableSequence",
        "ChatPromptTemplate",
        "StreamingChat",
        "StrOutputParser",
    ]
    run = store.run()
    assert (run["status"], run["total_tokens_used"], run["total_cost"]) == ("completed", 120, COST)
    assert store.transcript() == [("user", "What is umami?"), ("assistant", "once")]
    if way != "invoke":
        return
    assert store.span(name="RunnableSequence")["inputs"]["style"] == "short"


def test_two_tracers_for_one_destination_record_once(store: Store, tracer: Any, database_url: str) -> None:
    from chopsky_trace import SupabaseTracer

    other = SupabaseTracer(database_url)
    lcel(ScriptedChat(replies=[ai("once")])).invoke(QUESTION, {"callbacks": [tracer, other]})
    assert tracer.flush(10)
    assert other.flush(10)
    assert len(store.spans()) == 4
    run = store.run()
    assert (run["total_tokens_used"], run["total_cost"], run["total_messages"]) == (120, COST, 2)


def test_model_level_callbacks_alone(store: Store, tracer: Any) -> None:
    lcel(ScriptedChat(replies=[ai("alone")], callbacks=[tracer])).invoke(QUESTION)
    assert tracer.flush(10)
    span = store.span()
    assert (span["kind"], span["status"]) == ("llm", "completed")
    run = store.run()
    assert (run["status"], run["total_tokens_used"], run["total_cost"]) == ("completed", 120, COST)
    assert store.transcript() == [("user", "What is umami?"), ("assistant", "alone")]


def test_model_level_and_chain_callbacks_record_once(store: Store, tracer: Any, recorder: Recorder) -> None:
    lcel(ScriptedChat(replies=[ai("once")], callbacks=[tracer])).invoke(QUESTION, {"callbacks": [recorder, tracer]})
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    assert store.run()["total_tokens_used"] == 120


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_stream_events_v3(store: Store, tracer: Any, asynchronous: bool) -> None:
    model = StreamingChat(replies=[ai("one two three")])
    if asynchronous:

        async def go() -> str:
            stream = await model.astream_events("count", {"callbacks": [tracer]}, version="v3")
            return "".join([text async for text in stream.text])

        assert asyncio.run(go()) == "one two three"
    else:
        assert "".join(model.stream_events("count", {"callbacks": [tracer]}, version="v3").text) == "one two three"
    assert tracer.flush(10)
    llm = store.span(kind="llm")
    assert (llm["status"], llm["total_tokens"], llm["cost"]) == ("completed", 120, COST)
    assert llm["time_to_first_token_ms"] is not None
    assert store.transcript() == [("user", "count"), ("assistant", "one two three")]


def test_iterator_input_is_not_consumed_by_the_tracer(store: Store, tracer: Any) -> None:
    chain = RunnableLambda(lambda text: text.upper()) | StreamingChat(replies=[ai("done")])
    chunks = list(chain.transform(iter(["a", "b", "c"]), {"callbacks": [tracer]}))
    assert "".join(str(chunk.content) for chunk in chunks) == "done"
    assert tracer.flush(10)
    assert store.transcript() == [("user", "abc"), ("assistant", "done")]


def test_a_caller_that_names_the_run_id(store: Store, tracer: Any) -> None:
    from uuid import UUID

    run_id = UUID("0f0f0f0f-0000-4000-8000-000000000001")
    lcel(ScriptedChat(replies=[ai("x")])).invoke(
        QUESTION, {"callbacks": [tracer], "run_id": run_id, "run_name": "dinner"}
    )
    assert tracer.flush(10)
    assert store.run(run_id)["name"] == "dinner"


def test_several_generations_of_one_call_are_one_usage(store: Store, tracer: Any) -> None:
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Twins(ScriptedChat):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=ai("left")), ChatGeneration(message=ai("right"))])

    Twins(replies=[ai()]).invoke("two please", {"callbacks": [tracer]})
    assert tracer.flush(10)
    run = store.run()
    assert (run["total_tokens_used"], run["total_cost"]) == (120, COST)
    assert {row["content"] for row in store.messages() if row["role"] == "assistant"} == {"left", "right"}


def test_a_graph_node_that_is_retried(store: Store, tracer: Any, recorder: Recorder) -> None:
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.types import RetryPolicy

    model = ScriptedChat(replies=[ConnectionError("refused"), ai("second try")])

    def cook(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    policy = RetryPolicy(initial_interval=0.001, max_attempts=2, retry_on=ConnectionError)
    graph = StateGraph(MessagesState).add_node("cook", cook, retry_policy=policy).add_edge(START, "cook").compile()
    graph.invoke({"messages": [HumanMessage("cook")]}, {"callbacks": [recorder, tracer]})
    assert tracer.flush(10)
    assert_mirrored(store, recorder)
    assert [span["status"] for span in store.spans(kind="llm")] == ["failed", "completed"]
    run = store.run()
    assert (run["status"], run["total_tokens_used"]) == ("completed", 120)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_graph_stream_that_is_left(store: Store, tracer: Any, asynchronous: bool) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    model = ScriptedChat(replies=[ai("first"), ai("second")])

    def cook(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = (
        StateGraph(MessagesState)
        .add_node("one", cook)
        .add_node("two", cook)
        .add_edge(START, "one")
        .add_edge("one", "two")
        .compile()
    )
    value: Any = {"messages": [HumanMessage("cook")]}
    if asynchronous:

        async def go() -> None:
            stream = graph.astream(value, {"callbacks": [tracer]}, stream_mode="updates")
            async for _ in stream:
                break
            await stream.aclose()

        asyncio.run(go())
    else:
        stream = graph.stream(value, {"callbacks": [tracer]}, stream_mode="updates")
        next(stream)
        stream.close()
    assert tracer.flush(10)
    run = store.run()
    assert run["status"] not in ("active", "completed")
    assert run["ended_at"] is not None
    assert run["total_tokens_used"] == 120
    assert "first" in [row["content"] for row in store.messages()]


def test_a_graph_that_loops_too_long_fails(store: Store, tracer: Any) -> None:
    from langgraph.errors import GraphRecursionError
    from langgraph.graph import START, MessagesState, StateGraph

    model = ScriptedChat(replies=[ai("again")])

    def cook(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = (
        StateGraph(MessagesState).add_node("round", cook).add_edge(START, "round").add_edge("round", "round").compile()
    )
    with pytest.raises(GraphRecursionError):
        graph.invoke({"messages": [HumanMessage("go")]}, {"callbacks": [tracer], "recursion_limit": 3})
    assert tracer.flush(10)
    runs = store.runs()
    assert [run["status"] for run in runs] == ["failed"]
    assert "Recursion" in runs[0]["error"]


@pytest.mark.parametrize("tracers", [1, 2])
def test_custom_events_are_kept_with_their_span(store: Store, tracer: Any, database_url: str, tracers: int) -> None:
    """Once, though every tracer for the destination is told them."""
    from langchain_core.callbacks import dispatch_custom_event

    from chopsky_trace import SupabaseTracer

    model = ScriptedChat(replies=[ai("x")])

    def cook(_: Any) -> str:
        for degrees in (180, 180):
            dispatch_custom_event("oven", {"degrees": degrees})
        return str(model.invoke("q").content)

    RunnableLambda(cook).invoke("in", {"callbacks": [tracer, SupabaseTracer(database_url)][:tracers]})
    assert tracer.flush(10)
    assert store.span(name="cook")["end_metadata"]["events"] == [{"name": "oven", "data": {"degrees": 180}}] * 2
