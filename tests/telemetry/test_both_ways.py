"""LangChain's callback and OpenTelemetry in one process: what was done once is there once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lc_langsmith import langsmith_server
from lc_scripted_server import scripted_server
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_spans import rows, transcript

from chopsky_trace import SupabaseSpanExporter, SupabaseTracer, traced_embeddings
from chopsky_trace.cli import main

CHILD = Path(__file__).with_name("both_ways_child.py")
QUESTIONS = ["What do I need for ramen?", "And for soup?"]
CALL_TOKENS, CALLS = 120, 4
TURN_COST = Decimal("0.000054")
"""Two calls of 100 tokens in, 20 out: gpt-4o-mini takes 0.15 and 0.60 USD a million."""
_numbers = itertools.count()


def answered(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """A tool call after a question, an answer after a tool's result; each response has an id of its own."""
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": n, "embedding": [0.5, 1.0]} for n, _ in enumerate(request["input"])]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}
    number = next(_numbers)
    last = request["messages"][-1]
    if last["role"] == "user" and request.get("tools"):
        dish = json.dumps({"dish": last["content"].rstrip("?").split()[-1]})
        calls = [{"id": f"call_{number}", "type": "function", "function": {"name": "recipe", "arguments": dish}}]
        message, reason = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    else:
        message, reason = {"role": "assistant", "content": f"Answer to {len(request['messages'])} messages."}, "stop"
    return {
        "id": f"chatcmpl-{os.getpid()}-{number}",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


@pytest.fixture
def provider_url() -> Iterator[str]:
    with scripted_server(answered) as address:
        yield address + "/v1"


@contextmanager
def instrumented(traces: TracerProvider, names: tuple[str, ...]) -> Iterator[None]:
    """Instrumentors in use, the first first."""
    with ExitStack() as undo:
        for name in names:
            instrumentor: Any
            if name == "langchain":
                from openinference.instrumentation.langchain import LangChainInstrumentor

                instrumentor = LangChainInstrumentor()
            elif name == "openinference openai":
                from openinference.instrumentation.openai import OpenAIInstrumentor

                instrumentor = OpenAIInstrumentor()
            else:
                from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Official

                instrumentor = Official()
            instrumentor.instrument(tracer_provider=traces)
            undo.callback(instrumentor.uninstrument)
        yield


def hold(provider_url: str, tracer: SupabaseTracer | None) -> None:
    """Two turns of one session with an agent that calls a tool in each; the second is sent the first again."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def recipe(dish: str) -> str:
        """Look a recipe up."""
        return f"{dish}: boil it"

    model = ChatOpenAI(model="gpt-4o-mini", base_url=provider_url, api_key="none", max_retries=0)  # type: ignore[arg-type]
    agent = create_agent(model, [recipe], system_prompt="You are a cook.")
    history: list[Any] = []
    for question in QUESTIONS:
        history.append({"role": "user", "content": question})
        config: Any = {
            "callbacks": [tracer] if tracer else [],
            "metadata": {"session_id": "s-1", "user_id": "ada"},
        }
        history = agent.invoke({"messages": history}, config)["messages"]


def command(database_url: str, *arguments: str) -> Any:
    """What a command says, as JSON."""
    done = CliRunner().invoke(main, [*arguments, "--json"], env={"CHOPSKY_TRACE_DATABASE_URL": database_url})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def check_once(database_url: str) -> None:
    """Runs, totals and the session's transcript are those of the two turns."""
    listed = command(database_url, "runs")["runs"]
    assert [row["total_tokens_used"] for row in listed] == [2 * CALL_TOKENS] * 2
    assert [Decimal(row["total_cost"]) for row in listed] == [TURN_COST] * 2
    total = command(database_url, "cost")["total"]
    assert (Decimal(total["cost"]), int(total["input_tokens"]), int(total["output_tokens"])) == (2 * TURN_COST, 400, 80)
    assert total["unpriced_calls"] == 0
    said = rows(
        database_url, "select role, content from conversation_session_transcript('s-1', user_id => 'ada') order by 1, 2"
    )
    assert [tuple(row.values()) for row in said] == [
        ("assistant", "Answer to 4 messages."),
        ("assistant", "Answer to 8 messages."),
        ("user", "And for soup?"),
        ("user", "What do I need for ramen?"),
    ]
    shown = command(database_url, "show", "s-1")["runs"]
    assert {row["run"]["id"] for row in shown} == {row["id"] for row in listed}
    assert command(database_url, "check")["exceptions"] == []


def merged_runs(database_url: str) -> list[tuple[bool, str]]:
    """Whether each run is merged, and whence its spans came."""
    found = rows(
        database_url,
        "select distinct r.id, r.merged, s.source from conversation_runs r"
        " join conversation_spans s on s.conversation_run_id = r.id",
    )
    return sorted((row["merged"], row["source"]) for row in found)


WAYS: dict[str, tuple[str, ...]] = {
    "the framework": ("langchain",),
    "the framework and the provider": ("langchain", "openinference openai"),
    "the framework and the provider, officially": ("langchain", "official openai"),
    "the provider": ("openinference openai",),
    "the provider, officially": ("official openai",),
}


@pytest.mark.parametrize("flushed_first", ["callback", "spans"])
@pytest.mark.parametrize("way", WAYS)
def test_an_agent_seen_both_ways_is_there_once(
    way: str, flushed_first: str, database_url: str, provider_url: str
) -> None:
    tracer = SupabaseTracer(database_url)
    exporter = SupabaseSpanExporter(database_url)
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    with instrumented(traces, WAYS[way]):
        hold(provider_url, tracer)
    ends: list[Callable[[], object]] = [lambda: tracer.flush(10), lambda: (traces.shutdown(), exporter.force_flush())]
    for end in ends if flushed_first == "callback" else ends[::-1]:
        end()

    assert {source for merged, source in merged_runs(database_url) if not merged} == {"langchain"}
    # Each call of the model is told by everyone who saw it.
    calls = rows(database_url, "select source, count(*) from conversation_spans where kind = 'llm' group by source")
    assert {row["source"]: row["count"] for row in calls} == {"langchain": CALLS, "otel": CALLS * len(WAYS[way])}
    assert {merged for merged, source in merged_runs(database_url) if source == "otel"} == {True}
    check_once(database_url)


@pytest.mark.parametrize("way", [name for name, used in WAYS.items() if used[0] == "langchain"])
def test_framework_and_provider_are_one_without_a_callback(way: str, database_url: str, provider_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url)
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    with instrumented(traces, WAYS[way]):
        hold(provider_url, None)
    traces.shutdown()
    assert exporter.force_flush()

    check_once(database_url)


def test_langsmiths_opentelemetry_beside_the_callback(database_url: str, provider_url: str, tmp_path: Path) -> None:
    with langsmith_server() as langsmith:
        done = subprocess.run(
            [sys.executable, str(CHILD), provider_url],
            env={
                **os.environ,
                "CHOPSKY_TRACE_DATABASE_URL": database_url,
                "CHOPSKY_TRACE_DATA_DIR": str(tmp_path / "child"),
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_OTEL_ENABLED": "true",
                "LANGSMITH_OTEL_ONLY": "true",
                "LANGSMITH_API_KEY": "none",
                "LANGSMITH_ENDPOINT": langsmith.url,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr

    calls = rows(database_url, "select source, count(*) from conversation_spans where kind = 'llm' group by source")
    assert {row["source"]: row["count"] for row in calls} == {"langchain": CALLS, "otel": CALLS}
    assert {merged for merged, source in merged_runs(database_url) if source == "otel"} == {True}
    check_once(database_url)


@pytest.mark.parametrize("provider", ["openinference openai", "official openai"])
def test_a_rag_chain_seen_both_ways_is_there_once(provider: str, database_url: str, provider_url: str) -> None:
    from langchain_core.documents import Document
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import RunnablePassthrough
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    tracer = SupabaseTracer(database_url)
    exporter = SupabaseSpanExporter(database_url)
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    access: Any = {"base_url": provider_url, "api_key": "none", "max_retries": 0}
    embeddings = traced_embeddings(
        OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False, **access), tracer
    )
    vectors = InMemoryVectorStore(embeddings)
    vectors.add_documents([Document("Ramen: noodles and broth.")], ids=["1"])
    prompt = ChatPromptTemplate.from_messages([("system", "Answer from: {found}"), ("human", "{question}")])
    model = ChatOpenAI(model="gpt-4o-mini", **access)
    found = {"found": vectors.as_retriever(), "question": RunnablePassthrough()}
    with instrumented(traces, ("langchain", provider)):
        config: Any = {"callbacks": [tracer], "metadata": {"session_id": "s-1", "user_id": "ada"}}
        (found | prompt | model | StrOutputParser()).invoke("What is ramen?", config)
    traces.shutdown()
    assert exporter.force_flush()
    assert tracer.flush(10)

    (run,) = (row for row in command(database_url, "runs")["runs"] if row["session_id"] == "s-1")
    assert run["total_tokens_used"] == CALL_TOKENS + 7
    total = command(database_url, "cost")["total"]
    # The document was embedded before the instrumentors were there.
    assert (int(total["input_tokens"]), int(total["output_tokens"])) == (100 + 7 + 7, 20)
    said = rows(database_url, "select role, content from conversation_session_transcript('s-1', user_id => 'ada')")
    assert [tuple(row.values()) for row in said] == [("user", "What is ramen?"), ("assistant", "Answer to 2 messages.")]
    assert command(database_url, "check")["exceptions"] == []


@pytest.mark.parametrize("around", [True, False], ids=["in a span", "alone"])
@pytest.mark.parametrize(
    "order", [("openinference openai", "official openai"), ("official openai", "openinference openai")], ids=" in ".join
)
def test_what_only_one_of_two_instrumentors_tells_is_there(
    order: tuple[str, str], around: bool, database_url: str, provider_url: str
) -> None:
    """The official one tells no messages unless it is asked to."""
    from openai import OpenAI

    exporter = SupabaseSpanExporter(database_url)
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    with ExitStack() as stack:
        stack.enter_context(instrumented(traces, order))
        client = stack.enter_context(OpenAI(base_url=provider_url, api_key="none"))
        if around:
            stack.enter_context(traces.get_tracer("app").start_as_current_span("turn"))
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Ramen?"}])
    traces.shutdown()
    assert exporter.force_flush()

    (run,) = command(database_url, "runs")["runs"]
    assert run["total_tokens_used"] == CALL_TOKENS
    assert transcript(database_url) == [("user", "Ramen?"), ("assistant", "Answer to 1 messages.")]
    assert command(database_url, "check")["exceptions"] == []
