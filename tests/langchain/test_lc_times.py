"""Times of model calls: which chunk is the first token, whose clock tells, and that each attempt is its own call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic_ns
from typing import Any, ClassVar
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import GenerationChunk, LLMResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy
from lc_scripted_server import chunk, scripted_server, sse
from lc_support import ScriptedChat, Store, StreamingChat, ai

pytest.importorskip("langchain_openai")

from langchain_openai import ChatOpenAI

from chopsky_trace.sources.langchain.streams import chunk_says, event_says

ROLE = chunk({"role": "assistant", "content": ""})
END_OF_IT = chunk({}, "stop")
COUNTED = chunk({}, usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "find_recipe", "arguments": ""}}


THINKING = {"type": "thinking", "signature": ""}
COUNTS = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
CHUNK = {"type": "tool_call_chunk", "name": "f", "args": ""}
FIND = {"name": "find_recipe", "args": {"dish": "ramen"}, "id": "c"}
BETA = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


class Watch(BaseCallbackHandler):
    """When it was told of what. One stands before the tracer and one behind it: the tracer's clock read between."""

    run_inline = True

    def __init__(self) -> None:
        self.began: dict[UUID, int] = {}
        self.told: dict[UUID, list[int]] = {}
        self.ended: dict[UUID, int] = {}

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.began[run_id] = monotonic_ns()
        self.told[run_id] = []

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.on_chat_model_start(serialized, prompts, run_id=run_id)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.told[run_id].append(monotonic_ns())

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.told[run_id].append(monotonic_ns())

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended[run_id] = monotonic_ns()

    def on_llm_error(self, error: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended[run_id] = monotonic_ns()


def check_times(before: Watch, after: Watch, span: dict[str, Any], first: int) -> None:
    """The span's times lie between those of both watches; `first` is the place of the chunk that counts."""
    run = span["id"]
    rounding = 0.002

    def between(value: Any, at_least: int, at_most: int) -> None:
        assert at_least / 1e6 - rounding <= float(value) <= at_most / 1e6 + rounding

    between(
        span["time_to_first_token_ms"],
        before.told[run][first] - after.began[run],
        after.told[run][first] - before.began[run],
    )
    between(span["response_time_ms"], before.ended[run] - after.began[run], after.ended[run] - before.began[run])
    assert span["time_to_first_token_ms"] <= span["response_time_ms"]


def model_of(url: str, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_retries=0, stream_usage=True, **fields)  # type: ignore[arg-type]  # its own Secret type


def drain(runnable: Any, value: Any, config: Any, way: str) -> None:
    if way == "stream":
        list(runnable.stream(value, config))
    elif way == "events":
        list(runnable.stream_events(value, config, version="v3"))
    else:

        async def later() -> None:
            if way == "astream":
                async for _ in runnable.astream(value, config):
                    pass
            else:
                async for _ in await runnable.astream_events(value, config, version="v3"):
                    pass

        asyncio.run(later())


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    ("frames", "first"),
    [
        ([ROLE, chunk({"content": "Boil"}), chunk({"content": " it"}), END_OF_IT, COUNTED], 1),
        ([ROLE, ROLE, chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls"), COUNTED], 2),
        ([chunk({"role": "assistant", "content": "Boil"}), END_OF_IT, COUNTED], 0),
    ],
    ids=["text", "tool call", "at once"],
)
def test_the_first_chunk_that_says_something(
    store: Store, tracer: Any, way: str, frames: list[Any], first: int
) -> None:
    before, after = Watch(), Watch()
    with scripted_server(lambda path, request: sse(*frames)) as url:
        drain(model_of(url), "How?", {"callbacks": [before, tracer, after]}, way)
    assert tracer.flush(10)
    span = store.span(kind="llm")
    assert (span["status"], span["output_tokens"]) == ("completed", 2)
    check_times(before, after, span, first)
    (row,) = store.rows("select output_tokens_per_second as speed from conversation_calls")
    writing = float(span["response_time_ms"] - span["time_to_first_token_ms"])
    assert float(row["speed"]) == pytest.approx(2_000 / writing, rel=1e-3)


@BETA
@pytest.mark.parametrize("way", ["events", "aevents"])
def test_the_newer_stream_events(store: Store, tracer: Any, way: str) -> None:
    before, after = Watch(), Watch()
    frames = [ROLE, chunk({"content": "Boil"}), chunk({"content": " it"}), END_OF_IT, COUNTED]
    with scripted_server(lambda path, request: sse(*frames)) as url:
        drain(model_of(url), "How?", {"callbacks": [before, tracer, after]}, way)
    assert tracer.flush(10)
    span = store.span(kind="llm")
    assert span["time_to_first_token_ms"] is not None
    # The message's start tells nothing of the answer.
    assert len(after.told[span["id"]]) > 2
    assert span["time_to_first_token_ms"] >= (before.told[span["id"]][0] - after.began[span["id"]]) / 1e6 - 0.002
    assert span["time_to_first_token_ms"] <= span["response_time_ms"]


def test_reasoning_counts(store: Store, tracer: Any) -> None:
    package = pytest.importorskip("langchain_deepseek")
    before, after = Watch(), Watch()
    frames = [ROLE, chunk({"reasoning_content": "Hm."}), chunk({"content": "Boil"}), END_OF_IT, COUNTED]
    with scripted_server(lambda path, request: sse(*frames)) as url:
        model = package.ChatDeepSeek(model="deepseek-reasoner", api_base=url, api_key="none", max_retries=0)
        drain(model, "How?", {"callbacks": [before, tracer, after]}, "stream")
    assert tracer.flush(10)
    check_times(before, after, store.span(kind="llm"), 1)


def test_a_block_that_is_only_opened_does_not_count(store: Store, tracer: Any) -> None:
    package = pytest.importorskip("langchain_anthropic")
    usage = {"input_tokens": 5, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-of-tests"}
    events = [
        {"type": "message_start", "message": {**message, "usage": usage, "stop_reason": None, "stop_sequence": None}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Boil"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    frames = [f"event: {event['type']}\ndata: " for event in events]
    says: list[bool] = []

    class Listening(Watch):
        def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **kwargs: Any) -> None:
            says.append("Hm." in str(chunk.message.content) or "Boil" in str(chunk.message.content))
            super().on_llm_new_token(token, run_id=run_id)

    import json

    lines = [head + json.dumps(event) + "\n\n" for head, event in zip(frames, events, strict=True)]
    before, after = Listening(), Watch()
    with scripted_server(lambda path, request: list(lines)) as url:
        model = package.ChatAnthropic(
            model="claude-of-tests",
            base_url=url,
            api_key="none",
            max_retries=0,
            max_tokens=2_000,
            thinking={"type": "enabled", "budget_tokens": 1_024},
        )
        drain(model, "How?", {"callbacks": [before, tracer, after]}, "stream")
    assert tracer.flush(10)
    assert says[0] is False, "an opening comes first"
    check_times(before, after, store.span(kind="llm"), says.index(True))


def test_chunks_and_events_that_say_nothing() -> None:
    def said(**fields: Any) -> bool:
        message = AIMessageChunk(**{"content": "", **fields})
        return chunk_says(message.content, type("Chunk", (), {"message": message})())

    nothing = [
        {},
        {"content": []},
        {"content": [{"type": "text", "text": "", "index": 0, "id": "msg_1", "annotations": []}]},
        {"content": [{"type": "reasoning", "summary": [], "id": "rs_1", "index": 0}]},
        {"content": [{"type": "thinking", "thinking": "", "signature": "x", "index": 0}]},
        {
            "usage_metadata": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
            "response_metadata": {"id": "1"},
        },
        {"additional_kwargs": {"reasoning": {"id": "rs_1", "summary": [], "type": "reasoning"}}},
    ]
    something = [
        {"content": "\n"},
        {"content": ["x"]},
        {"content": [{"type": "tool_use", "id": "t", "name": "find", "input": {}, "index": 1}]},
        {"content": [{"type": "input_json_delta", "partial_json": "{", "index": 1}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}]},
        {"tool_call_chunks": [{"name": None, "args": "{", "id": None, "index": 0, "type": "tool_call_chunk"}]},
        {"additional_kwargs": {"reasoning_content": "Hm"}},
        {"additional_kwargs": {"audio": {"id": "a", "data": "UklG"}}},
    ]
    assert [said(**fields) for fields in nothing] == [False] * len(nothing)
    assert [said(**fields) for fields in something] == [True] * len(something)
    assert [chunk_says(token, None) for token in ("", "x", None, [])] == [False, True, False, False]
    assert chunk_says("", GenerationChunk(text="")) is False
    events: list[tuple[dict[str, Any], bool]] = [
        ({"event": "message-start", "id": "m"}, False),
        ({"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}, False),
        (
            {
                "event": "content-block-start",
                "index": 0,
                "content": {"type": "tool_call_chunk", "name": "f", "args": ""},
            },
            True,
        ),
        ({"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": ""}}, False),
        ({"event": "content-block-delta", "index": 0, "delta": {"type": "reasoning-delta", "reasoning": "Hm"}}, True),
        (
            {"event": "content-block-delta", "delta": {"type": "block-delta", "fields": {"args": "{"}}},
            True,
        ),
        ({"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "all at once"}}, True),
        ({"event": "message-finish", "reason": "stop", "usage": {"output_tokens": 3}}, False),
    ]
    assert [event_says(event) for event, _ in events] == [expected for _, expected in events]


class WordsLLM(BaseLLM):
    """A text model that streams words."""

    @property
    def _llm_type(self) -> str:
        return "words"

    def _generate(self, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
        raise NotImplementedError

    def _stream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        for word in ("", "one ", "two"):
            piece = GenerationChunk(text=word)
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=piece)
            yield piece

    async def _astream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        for word in ("", "one ", "two"):
            piece = GenerationChunk(text=word)
            if run_manager:
                await run_manager.on_llm_new_token(word, chunk=piece)
            yield piece


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_text_models(store: Store, tracer: Any, way: str) -> None:
    before, after = Watch(), Watch()
    drain(WordsLLM(), "How?", {"callbacks": [before, tracer, after]}, way)
    assert tracer.flush(10)
    check_times(before, after, store.span(kind="llm"), 1)


@pytest.mark.parametrize("mode", ["messages", "updates", "invoke"])
def test_a_graphs_calls(store: Store, tracer: Any, mode: str) -> None:
    before, after = Watch(), Watch()
    model = StreamingChat(replies=[ai("", calls=[FIND]), ai("a b")])
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("again", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "again")
    graph.add_edge("again", END)
    runnable = graph.compile()
    config: Any = {"callbacks": [before, tracer, after]}
    question = {"messages": [("user", "How?")]}
    if mode == "invoke":
        runnable.invoke(question, config)
    else:
        list(runnable.stream(question, config, stream_mode=mode))
    assert tracer.flush(10)
    calls = store.spans(kind="llm")
    assert len(calls) == 2
    for span in calls:
        if mode == "messages":
            # The first call's only chunk is a tool call.
            check_times(before, after, span, 0)
        else:
            assert span["time_to_first_token_ms"] is None, "nobody streamed it"
            assert span["response_time_ms"] is not None


@BETA
def test_a_cached_answer_has_no_first_token(store: Store, tracer: Any) -> None:
    class Events(_V2StreamingCallbackHandler, BaseCallbackHandler):
        """What LangGraph attaches for its newer streams: LangChain then plays cached answers back as events."""

        kinds: ClassVar[list[str]] = []

        def on_stream_event(self, event: Any, **kwargs: Any) -> None:
            self.kinds.append(event["event"])

    model = StreamingChat(replies=[ai("one two")], cache=InMemoryCache())
    for _ in range(2):
        model.invoke("How?", {"callbacks": [tracer, Events()]})
    assert Events.kinds.count("message-start") == Events.kinds.count("message-finish") == 2
    assert tracer.flush(10)
    paid, cached = store.rows("select * from conversation_calls order by started_at")
    assert (paid["cache_hit"], paid["time_to_first_token_ms"] is None) == (False, False)
    assert (cached["cache_hit"], cached["time_to_first_token_ms"], cached["cost"]) == (True, None, 0)
    assert cached["output_tokens_per_second"] is None


def _retried(model: ScriptedChat) -> Any:
    return model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)


def _fallen_back(model: ScriptedChat) -> Any:
    return model.with_fallbacks([model, model])


def _node(model: ScriptedChat) -> Any:
    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3, retry_on=ConnectionError)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]}, retry_policy=policy)
    graph.add_edge(START, "ask")
    return RunnableLambda(lambda text: {"messages": [("user", text)]}) | graph.compile()


@pytest.mark.parametrize("wrap", [_retried, _fallen_back, _node], ids=lambda wrap: wrap.__name__)
def test_each_attempt_is_a_call_of_its_own(
    store: Store, tracer: Any, wrap: Callable[[ScriptedChat], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    model = ScriptedChat(replies=[ConnectionError("first"), ConnectionError("second"), ai("fine")])
    began = monotonic_ns()
    wrap(model).invoke("How?", {"callbacks": [tracer]})
    taken = (monotonic_ns() - began) / 1e6
    assert tracer.flush(10)
    calls = store.rows("select * from conversation_calls order by started_at, id")
    assert [(one["status"], one["error"], one["total_tokens"]) for one in calls] == [
        ("failed", "ConnectionError: first", None),
        ("failed", "ConnectionError: second", None),
        ("completed", None, 120),
    ]
    assert all(one["response_time_ms"] > 0 for one in calls)
    assert float(sum(one["response_time_ms"] for one in calls)) <= taken
    assert calls[0]["ended_at"] <= calls[1]["started_at"]
    assert calls[1]["ended_at"] <= calls[2]["started_at"]
    assert {one["conversation_run_id"] for one in calls} == {store.runs()[0]["id"]}


def test_a_providers_own_retries_are_inside_one_call(store: Store, tracer: Any) -> None:
    answers = iter([429, 429])

    def reply(path: str, request: dict[str, Any]) -> Any:
        return next(answers, None) or sse(ROLE, chunk({"content": "Boil"}), END_OF_IT, COUNTED)

    with scripted_server(reply) as url:
        model = model_of(url)
        model.max_retries = 2
        client = model.root_client.with_options(max_retries=2)
        client._calculate_retry_timeout = lambda *args, **kwargs: 0.0
        model.client = client.chat.completions
        drain(model, "How?", {"callbacks": [tracer]}, "stream")
    assert tracer.flush(10)
    span = store.span(kind="llm")
    assert (span["status"], span["total_tokens"]) == ("completed", 7)
    assert next(answers, "none left") == "none left"
