"""What must not be stored is not on the disk either: the journal is searched, with the database down."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from otel_spans import Row, call_attributes, made, recorded, rows, text, transcript

from chopsky_trace import SupabaseLogExporter, SupabaseSpanExporter
from chopsky_trace.writer import all_writers

DOWN = "postgresql://nobody@127.0.0.1:1/none"
"""No database listens on port 1: what is accepted stays in the journal."""
SUCCESS = SpanExportResult.SUCCESS


def plant(name: str) -> str:
    """A text that occurs nowhere else."""
    return f"planted {name} q7zx"


def traced(tracer: Tracer) -> None:
    """Planted texts wherever instrumentors put content."""
    with tracer.start_as_current_span(
        "POST /chat",
        kind=SpanKind.SERVER,
        attributes={"http.target": plant("target"), "app.note": plant("other attribute")},
    ) as request:
        request.add_event("noted", {"note": plant("other event")})
        with tracer.start_as_current_span("SELECT", attributes={"db.statement": plant("statement")}):
            pass
        with tracer.start_as_current_span(
            "agent",
            attributes={
                "openinference.span.kind": "AGENT",
                "input.value": json.dumps({"question": plant("agent input")}),
                "output.value": plant("agent output"),
                "metadata": json.dumps({"note": plant("metadata")}),
                "tag.tags": [plant("tag")],
            },
        ):
            official(tracer)
            others(tracer)
        request.set_status(Status(StatusCode.ERROR, plant("request error")))


def official(tracer: Tracer) -> None:
    """A call and a tool as OpenTelemetry's conventions have them."""
    asked = {"type": "tool_call", "id": "c1", "name": "lookup", "arguments": {"dish": plant("tool argument")}}
    attributes = call_attributes(
        [text("user", plant("question"))], {"role": "assistant", "parts": [asked]}, gen_ai__response__id="r-1"
    )
    attributes["gen_ai.system_instructions"] = json.dumps([{"type": "text", "content": plant("instructions")}])
    attributes["gen_ai.tool.definitions"] = json.dumps([{"name": "lookup", "description": plant("tool definition")}])
    attributes["gen_ai.request.stop_sequences"] = [plant("stop sequence")]
    with tracer.start_as_current_span("chat", attributes=attributes) as span:
        span.add_event("gen_ai.choice", {"content": plant("span event")})
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
        "gen_ai.tool.call.arguments": json.dumps({"dish": plant("tool span argument")}),
        "gen_ai.tool.call.result": plant("tool result"),
    }
    with tracer.start_as_current_span("execute_tool lookup", attributes=tool) as span:
        span.record_exception(ValueError(plant("exception")))
        span.set_status(Status(StatusCode.ERROR, plant("status")))


def others(tracer: Tracer) -> None:
    """The same as others tell it."""
    flat: Row = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o-mini",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": plant("flat question"),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": plant("flat answer"),
        "llm.invocation_parameters": json.dumps({"temperature": 0.5, "user": plant("parameter")}),
        "llm.token_count.prompt": 10,
        "llm.token_count.completion": 5,
    }
    documents: Row = {
        "openinference.span.kind": "RETRIEVER",
        "retrieval.documents.0.document.content": plant("document"),
        "retrieval.documents.0.document.metadata": json.dumps({"source": plant("document metadata")}),
    }
    embedding: Row = {"openinference.span.kind": "EMBEDDING", "embedding.embeddings.0.embedding.text": plant("text")}
    vercel: Row = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.prompt.messages": json.dumps([{"role": "user", "content": plant("vercel prompt")}]),
        "ai.response.text": plant("vercel answer"),
        "ai.telemetry.metadata.note": plant("vercel metadata"),
    }
    langsmith: Row = {
        "langsmith.span.kind": "llm",
        "gen_ai.prompt": json.dumps({"messages": [{"role": "user", "content": plant("langsmith prompt")}]}),
        "gen_ai.completion": plant("langsmith answer"),
        "langsmith.metadata.note": plant("langsmith metadata"),
    }
    mlflow: Row = {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.spanInputs": json.dumps({"messages": [{"role": "user", "content": plant("mlflow prompt")}]}),
        "mlflow.spanOutputs": json.dumps({"text": plant("mlflow answer")}),
    }
    langfuse: Row = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.input": json.dumps([{"role": "user", "content": plant("langfuse prompt")}]),
        "langfuse.observation.output": plant("langfuse answer"),
        "langfuse.observation.metadata.note": json.dumps(plant("langfuse metadata")),
    }
    failed: Row = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.status_message": plant("langfuse error"),
    }
    for attributes in (flat, documents, embedding, vercel, langsmith, mlflow, langfuse, failed):
        with tracer.start_as_current_span("told otherwise", attributes=attributes):
            pass


EVENTS: list[tuple[str, Row]] = [
    ("gen_ai.user.message", {"content": plant("log question")}),
    ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": plant("log answer")}}),
]


def journalled(data_dir: Path) -> str:
    """All that is in the data folder's files."""
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 0
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


def deliver(spans: list[ReadableSpan], data_dir: Path, **options: Any) -> str:
    """Export spans, and messages as log records of the call among them; what is then on disk."""
    exporter, logs = SupabaseSpanExporter(DOWN, **options), SupabaseLogExporter(DOWN, **options)
    call = next((span for span in spans if span.name == "chat"), spans[0])
    logs.export(recorded(call, EVENTS))
    assert exporter.export(spans) is SUCCESS
    exporter.shutdown(1)
    return journalled(data_dir)


def planted(found: str) -> set[str]:
    """Which of the planted texts are in it."""
    return set(re.findall(r"planted ([\w ]+?) q7zx", found))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def not_patient(own_environment: None, data_dir: Path) -> Iterator[None]:
    """No test waits for the database that is down."""
    yield
    for writer in all_writers():
        writer.close(0.01)
    shutil.rmtree(data_dir, ignore_errors=True)


IN_FULL = {"question", "tool argument", "tool result", "metadata", "flat answer", "document", "log answer", "exception"}


def test_what_is_searched_for_can_be_found(data_dir: Path) -> None:
    assert planted(deliver(made(traced), data_dir)) >= IN_FULL


def test_metadata_leaves_no_content(data_dir: Path) -> None:
    found = deliver(made(traced), data_dir, capture="metadata", tags=[plant("own tag")], metadata={"a": plant("own")})

    assert planted(found) == set()
    assert all(name in found for name in ("gpt-4o-mini", "r-1", "lookup"))


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_metadata_may_be_said_by_a_variable(by: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "variable":
        monkeypatch.setenv("CHOPSKY_TRACE_CAPTURE", "metadata")
    found = deliver(made(traced), data_dir, **({"capture": "metadata"} if by == "argument" else {}))

    assert planted(found) == set()


PERSONAL = {"ann.smith@example.com": "[email]", "4111 1111 1111 1111": "[card]"}


def swapped(spans: list[ReadableSpan], values: str) -> list[ReadableSpan]:
    """The spans with these words after each planted one."""

    def swap(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("q7zx", f"q7zx {values}")
        return [swap(item) for item in value] if isinstance(value, tuple) else value

    return [
        ReadableSpan(
            span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes={name: swap(value) for name, value in (span.attributes or {}).items()},
            events=span.events,
            kind=span.kind,
            status=Status(span.status.status_code, swap(span.status.description)),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        for span in spans
    ]


def test_masked_leaves_no_address_and_no_card(data_dir: Path) -> None:
    found = deliver(swapped(made(traced), " ".join(PERSONAL)), data_dir, capture="masked")

    assert planted(found) >= {"question", "flat answer", "document", "metadata", "tool span argument", "tool result"}
    for value, marker in PERSONAL.items():
        assert value not in found
        assert marker in found


def test_a_callable_is_applied_to_all_content(data_dir: Path) -> None:
    found = deliver(made(traced), data_dir, redact=lambda value: value.replace("q7zx", "[gone]"))

    assert "q7zx" not in found
    assert "planted question [gone]" in found


def test_a_callable_that_fails_leaves_nothing(data_dir: Path) -> None:
    def fails(value: str) -> str:
        raise LookupError(value)

    assert planted(deliver(made(traced), data_dir, redact=fails)) == set()


SECRETS: dict[str, Callable[[str], Row]] = {
    "metadata as JSON": lambda key: {"metadata": json.dumps({"api_key": key})},
    "metadata as JSON, deeper": lambda key: {"metadata": json.dumps({"a": [{"headers": {"Authorization": key}}]})},
    "metadata's own attribute": lambda key: {"langsmith.metadata.api_key": key},
    "an association": lambda key: {"traceloop.association.properties.openai_api_key": key},
    "vercel's metadata": lambda key: {"ai.telemetry.metadata.password": key},
    "vercel's headers": lambda key: {"ai.request.headers.authorization": f"Bearer {key}"},
    "a request's header": lambda key: {"http.request.header.authorization": [f"Bearer {key}"]},
    "a request's header, one text": lambda key: {"http.request.header.x-api-key": key},
    "a response's cookie": lambda key: {"http.response.header.set-cookie": [f"session={key}"]},
    "an address with a password": lambda key: {"url.full": f"https://ann:{key}@example.com/v1"},
    "an address with a parameter": lambda key: {"http.url": f"https://example.com/v1?api_key={key}&x=1"},
    "a database's address": lambda key: {"db.connection_string": f"postgresql://ann:{key}@db.example.com/app"},
    "parameters as JSON": lambda key: {"llm.invocation_parameters": json.dumps({"api_key": key, "temperature": 1})},
    "langfuse's metadata": lambda key: {"langfuse.observation.metadata.access_token": json.dumps(key)},
    "langfuse's metadata as data": lambda key: {"langfuse.trace.metadata.user": json.dumps({"password": key})},
    "an application's own name": lambda key: {"app.client_secret": key},
    "an application's own data": lambda key: {"app": {"client_secret": key, "more": [{"token": key}]}},
}


@pytest.mark.parametrize("capture", ["full", "masked", "metadata"])
@pytest.mark.parametrize("is_genai", [True, False], ids=["of a call", "about no model"])
@pytest.mark.parametrize("where", SECRETS)
def test_secrets_by_name_are_never_kept(where: str, is_genai: bool, capture: Any, data_dir: Path) -> None:
    attributes = SECRETS[where]("k7hunter2k7")

    def work(tracer: Tracer) -> None:
        call = call_attributes([text("user", "Hi")], text("assistant", "Hello"))
        with tracer.start_as_current_span("chat", attributes={**call, **(attributes if is_genai else {})}) as span:
            span.add_event("told", attributes)
            with tracer.start_as_current_span("GET", attributes={} if is_genai else attributes):
                pass

    found = deliver(made(work), data_dir, capture=capture)

    assert "gpt-4o-mini" in found
    assert "k7hunter2k7" not in found


def test_secrets_of_own_metadata_are_never_kept(data_dir: Path) -> None:
    found = deliver(made(traced), data_dir, metadata={"api_key": "k7hunter2k7", "region": "eu-north"})

    assert "k7hunter2k7" not in found
    assert "eu-north" in found


ASKED = {"question", "instructions", "tool span argument", "flat question", "vercel prompt", "mlflow prompt"}
ASKED |= {"langsmith prompt", "langfuse prompt", "agent input", "log question"}
TOLD = {"tool result", "flat answer", "vercel answer", "mlflow answer", "langsmith answer", "langfuse answer"}
TOLD |= {"agent output", "document", "log answer"}


@pytest.mark.parametrize("name", ["LANGSMITH_HIDE_{}", "LANGCHAIN_HIDE_{}"])
def test_what_langsmith_hides_is_hidden(name: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.format("INPUTS"), "true")
    found = planted(deliver(made(traced), data_dir))
    assert found & ASKED == set()
    assert found >= TOLD


def test_outputs_that_langsmith_hides_are_hidden(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_HIDE_OUTPUTS", "true")
    found = planted(deliver(made(traced), data_dir))
    assert found & TOLD == set()
    # The call that was asked with is an answer, and a prompt no more.
    assert found >= ASKED - {"tool argument"}


def test_hiding_may_be_overruled(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_HIDE_INPUTS", "true")
    monkeypatch.setenv("LANGSMITH_HIDE_OUTPUTS", "true")
    monkeypatch.setenv("CHOPSKY_TRACE_HONOUR_LANGSMITH_HIDE", "false")
    assert planted(deliver(made(traced), data_dir)) >= ASKED | TOLD


def good(tracer: Tracer) -> None:
    """An agent with one call."""
    with (
        tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}),
        tracer.start_as_current_span(
            "chat", attributes=call_attributes([text("user", plant("question"))], text("assistant", plant("answer")))
        ),
    ):
        pass


def bad(tracer: Tracer) -> None:
    """The same, and then a tool that fails."""
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span(
            "chat", attributes=call_attributes([text("user", plant("question"))], text("assistant", plant("answer")))
        ):
            pass
        with tracer.start_as_current_span("tool", attributes={"gen_ai.operation.name": "execute_tool"}) as span:
            span.set_status(Status(StatusCode.ERROR, "Out of noodles"))


def test_a_sample_of_nothing_keeps_numbers_without_content(data_dir: Path) -> None:
    found = deliver(made(good), data_dir, sample_rate=0)

    assert planted(found) == set()
    assert "gpt-4o-mini" in found


@pytest.mark.parametrize("delivered", ["at once", "one by one"])
def test_a_sample_of_nothing_keeps_failures_whole(delivered: str, database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url, sample_rate=0)
    for work in (good, bad):
        spans = made(work)
        for batch in [spans] if delivered == "at once" else [[span] for span in spans]:
            assert exporter.export(batch) is SUCCESS
    exporter.shutdown()

    runs = rows(
        database_url,
        "select status, total_tokens_used, total_cost from conversation_runs order by status",
    )
    assert [(run["status"], run["total_tokens_used"]) for run in runs] == [("completed", 15), ("completed", 15)]
    assert all(run["total_cost"] > 0 for run in runs)
    assert transcript(database_url) == [("user", plant("question")), ("assistant", plant("answer"))]
    (tool,) = rows(database_url, "select error from conversation_spans where status = 'failed'")
    assert "Out of noodles" in tool["error"]
