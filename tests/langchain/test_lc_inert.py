"""The application sees the same with and without us: outputs, chunks, events, warnings, log lines."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from lc_support import (
    UNREACHABLE,
    WAYS,
    ScriptedChat,
    Shelf,
    Store,
    StreamingChat,
    ai,
    call,
    drive,
    find_recipe,
    heat_oven,
)

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def plain(value: Any) -> str:
    """Its text, with each id replaced by the order in which it turned up and no addresses."""
    seen: dict[str, str] = {}
    text = repr(value)
    return re.sub(r"0x[0-9a-f]+", "0x", ID.sub(lambda found: seen.setdefault(found[0], f"<{len(seen)}>"), text))


@contextmanager
def observed() -> Iterator[dict[str, list[str]]]:
    """What was warned and logged, our own logger's lines apart."""
    kept: dict[str, list[str]] = {"log": [], "warnings": []}

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.name.startswith("chopsky_trace"):
                kept["log"].append(f"{record.levelname} {record.name} {record.getMessage()}")

    handler = Keep(level=logging.INFO)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield kept
        kept["warnings"] = [
            f"{item.category.__name__} {item.message}" for item in caught if item.category is not ResourceWarning
        ]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def agent(replies: list[Any] | None = None) -> Any:
    from langchain.agents import create_agent

    replies = replies or [ai(calls=[call("find_recipe", "call_1", dish="ramen")]), ai("Boil it well and long.")]
    return create_agent(StreamingChat(replies=replies), [find_recipe, heat_oven], system_prompt="Cook.")


def rag() -> Any:
    # One step after the other: LangChain itself gives the events of parallel branches in any order.
    return (
        Shelf()
        | RunnableLambda(lambda pages: {"context": pages})
        | ChatPromptTemplate.from_messages([("human", "{context}")])
        | StreamingChat(replies=[ai("Kelp has it.")])
        | StrOutputParser()
    )


def failing() -> Any:
    return agent([ai(calls=[call("heat_oven", "call_1", degrees=900)])])


def fallback() -> Any:
    return (
        ScriptedChat(replies=[ConnectionError("refused")])
        .with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        .with_fallbacks([ScriptedChat(replies=[ai("second")])])
        | StrOutputParser()
    )


MESSAGES = {"messages": [HumanMessage("How do I make ramen?")]}
SCENARIOS = {
    "agent": (agent, MESSAGES),
    "rag": (rag, "Where?"),
    "failing": (failing, MESSAGES),
    "fallback": (fallback, "hello"),
}


def experience(scenario: str, way: str, callbacks: list[Any]) -> dict[str, Any]:
    build, value = SCENARIOS[scenario]
    with observed() as kept:
        try:
            outcome = plain(drive(build(), value, {"callbacks": callbacks}, way))
        except RuntimeError as error:
            outcome = f"raised {plain(error)}"
    return {"outcome": outcome, **kept}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same_experience_with_and_without(tracer: Any, scenario: str, way: str) -> None:
    without = experience(scenario, way, [])
    if scenario in ("rag",) and way in ("invoke", "ainvoke", "stream", "astream"):
        assert "Kelp" in without["outcome"]
    assert experience(scenario, way, [tracer]) == without
    assert tracer.flush(10)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_unreachable_database_changes_nothing(scenario: str) -> None:
    from chopsky_trace import SupabaseTracer

    lost = SupabaseTracer(UNREACHABLE)
    for way in ("invoke", "astream_events"):
        assert experience(scenario, way, [lost]) == experience(scenario, way, [])
    assert lost.close(0.5) is False


def test_no_database_at_all_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from chopsky_trace import SupabaseTracer

    for name in ("CHOPSKY_TRACE_DATABASE_URL", "SUPABASE_DB_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CI", "true")
    without = experience("agent", "invoke", [])
    assert experience("agent", "invoke", [SupabaseTracer()]) == without


# What holds the guard itself, and what no callback passes through.
GUARDS = ("_model_start", "_plain_end", "_plain_error", "_failed", "flush", "close", "stats")


def internals() -> list[str]:
    """Every function of ours that a callback may pass through: module functions, and the tracer's own methods."""
    import importlib

    names: set[str] = set()
    parts = ("tracer", "events", "fields", "messages", "out")
    places = [
        *(f"sources.langchain.{part}" for part in parts),
        *("sources.destination", "telling.memory", "telling.bodies", "telling.outlet"),
    ]
    for place in places:
        module = importlib.import_module(f"chopsky_trace.{place}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") != module.__name__:
                continue
            if isinstance(value, FunctionType):
                names.add(f"{module.__name__}.{name}")
            elif isinstance(value, type):
                names |= {
                    f"{module.__name__}.{name}.{method}"
                    for method, code in vars(value).items()
                    if isinstance(code, FunctionType) and method not in GUARDS and not method.startswith(("on_", "__"))
                }
    return sorted(names)


def test_nothing_escapes_whatever_breaks_inside(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chopsky_trace import SupabaseTracer

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("an internal of ours broke")

    expected = {way: experience("agent", way, []) for way in ("invoke", "astream_events")}
    found = internals()
    assert len(found) >= 20
    showed: list[str] = []
    for name in found:
        tracer = SupabaseTracer(database_url)
        with monkeypatch.context() as patch:
            patch.setattr(name, broken)
            showed += [
                f"{name} ({way})" for way, without in expected.items() if experience("agent", way, [tracer]) != without
            ]
    assert showed == []


def test_no_callback_is_left_to_the_base_class() -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    from chopsky_trace import SupabaseTracer

    mine = {
        name for base in SupabaseTracer.__mro__ if base.__module__.startswith("chopsky_trace") for name in vars(base)
    }
    events = {name for name, _ in inspect.getmembers(BaseCallbackHandler, inspect.isfunction) if name.startswith("on_")}
    assert {"on_chain_start", "on_llm_end", "on_tool_error", "on_custom_event"} <= events
    assert events <= mine


def test_handler_traits(tracer: Any) -> None:
    from langchain_core.tracers.base import BaseTracer
    from langchain_core.tracers.langchain import LangChainTracer

    assert tracer.run_inline is True
    assert tracer.raise_error is False
    assert isinstance(tracer, BaseTracer)
    assert not isinstance(tracer, LangChainTracer)
    assert not isinstance(tracer, _StreamingCallbackHandler)


def test_invoke_does_not_begin_to_stream(tracer: Any) -> None:
    streamed: list[int] = []
    model = StreamingChat(replies=[ai("one two")], before_chunk=streamed.append)
    model.invoke("q", {"callbacks": [tracer]})
    asyncio.run(model.ainvoke("q", {"callbacks": [tracer]}))
    assert streamed == []


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_chunks_arrive_one_by_one(tracer: Any, way: str) -> None:
    order: list[str] = []
    model = StreamingChat(replies=[ai("a b c")], before_chunk=lambda place: order.append(f"made {place}"))
    chain = model | StrOutputParser()
    config: Any = {"callbacks": [tracer]}
    if way == "stream":
        for chunk in chain.stream("q", config):
            order.append(f"got {chunk.strip()}")
    else:

        async def go() -> None:
            async for chunk in chain.astream("q", config):
                order.append(f"got {chunk.strip()}")

        asyncio.run(go())
    assert [step for step in order if step != "got "] == ["made 0", "got a", "made 1", "got b", "made 2", "got c"]


def test_no_hop_to_an_executor(tracer: Any) -> None:
    async def hops(callbacks: list[Any]) -> int:
        loop = asyncio.get_running_loop()
        count = 0
        real = loop.run_in_executor

        def counted(*args: Any) -> Any:
            nonlocal count
            count += 1
            return real(*args)

        loop.run_in_executor = counted  # type: ignore[method-assign]  # the one place where a hop shows
        await (ScriptedChat(replies=[ai("x")]) | StrOutputParser()).ainvoke("q", {"callbacks": callbacks})
        return count

    assert asyncio.run(hops([tracer])) == asyncio.run(hops([]))


def test_no_context_is_attached(tracer: Any) -> None:
    def names(_: Any) -> list[str]:
        return sorted(variable.name for variable in contextvars.copy_context())

    chain = RunnableLambda(names)
    without = chain.invoke("q", {"callbacks": []})
    assert chain.invoke("q", {"callbacks": [tracer]}) == without
    before = {variable.name: value for variable, value in contextvars.copy_context().items()}
    chain.invoke("q", {"callbacks": [tracer]})
    assert {variable.name: value for variable, value in contextvars.copy_context().items()} == before


def test_constructing_starts_nothing(database_url: str) -> None:
    from chopsky_trace import SupabaseTracer

    before = threading.active_count()
    for _ in range(50):
        SupabaseTracer(database_url)
    assert threading.active_count() <= before + 1


def test_trace_policy_is_honoured(store: Store, tracer: Any) -> None:
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.types import TracePolicy, omit_payload

    class State(MessagesState):
        secret: str

    model = ScriptedChat(replies=[ai("nothing to hide")])
    policy = TracePolicy(process_inputs=omit_payload, process_outputs=omit_payload)

    def learn(state: State) -> dict[str, Any]:
        return {"secret": "canary-7f3a", "messages": [model.invoke(state["messages"])]}

    def forget(state: State) -> dict[str, Any]:
        assert state["secret"] == "canary-7f3a"
        return {"secret": ""}

    graph = (
        StateGraph(State).add_node("learn", learn, trace_policy=policy).add_node("forget", forget, trace_policy=policy)
    )
    graph = graph.add_edge(START, "learn").add_edge("learn", "forget").add_edge("forget", END).compile()
    out = graph.invoke({"messages": [HumanMessage("hello")], "secret": "none yet"}, {"callbacks": [tracer]})
    assert out["secret"] == ""
    assert tracer.flush(10)
    assert [span["name"] for span in store.spans() if span["name"] in ("learn", "forget")] == ["learn", "forget"]
    dump = store.dump()
    assert "nothing to hide" in dump
    assert "canary-7f3a" not in dump


def test_what_the_application_changes_afterwards_is_not_recorded(store: Store, tracer: Any) -> None:
    messages = [HumanMessage("as it was")]
    model = ScriptedChat(replies=[ai("answer as it was")])
    answer = model.invoke(messages, {"callbacks": [tracer]})
    messages[0].content = "as it became"
    messages.append(HumanMessage("added"))
    answer.content = "answer as it became"
    assert tracer.flush(10)
    assert store.transcript() == [("user", "as it was"), ("assistant", "answer as it was")]
    assert "became" not in store.dump()
    assert "added" not in json.dumps(store.transcript())
