"""The span exporter by the SDK's contract, and what of a trace it keeps."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from otel_spans import Row, ask, call_attributes, made, rows, text, transcript

from chopsky_trace import SupabaseSpanExporter, SupabaseSpanProcessor, context
from chopsky_trace.database.migrate import migrate

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def web_request(tracer: Tracer) -> None:
    """A server's span, a query, an agent with a call and a tool, and one query more after it."""
    with tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER, attributes={"session.id": "s-1"}):
        with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes={"db.system": "postgresql"}):
            pass
        with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            ask(tracer, "What is hummus?", "A dip.", tokens=(12, 3))
            with tracer.start_as_current_span(
                "execute_tool", attributes={"gen_ai.operation.name": "execute_tool", "user.id": "ada"}
            ):
                pass
        with tracer.start_as_current_span("UPDATE", kind=SpanKind.CLIENT, attributes={"db.system": "postgresql"}):
            pass


def landed(database_url: str) -> list[tuple[Any, ...]]:
    """What of a trace must not depend on how it was delivered."""
    run = rows(
        database_url,
        "select name, status, session_id, user_id, total_tokens_used, total_messages, error from conversation_runs",
    )
    spans = rows(
        database_url,
        "select s.name, s.kind, s.status, p.name as parent, s.input_tokens, s.native_id from conversation_spans s"
        " left join conversation_spans p on p.id = s.parent_span_id order by s.started_at, s.native_id",
    )
    messages = rows(
        database_url, "select role, content, is_internal, is_history from conversation_messages order by sequence"
    )
    return [tuple(row.values()) for row in (*run, *spans, *messages)]


def test_a_trace_is_a_run_with_its_id(database_url: str, exporter: SupabaseSpanExporter) -> None:
    spans = made(web_request)

    assert exporter.export(spans) is SUCCESS
    assert exporter.force_flush()

    trace = spans[0].get_span_context().trace_id
    (run,) = rows(database_url, "select * from conversation_runs")
    assert run["id"].int == trace
    assert (run["session_id"], run["user_id"], run["status"]) == ("s-1", "ada", "completed")
    assert (run["total_tokens_used"], run["total_messages"], run["name"]) == (15, 2, "POST /chat")
    kinds = rows(database_url, "select name, kind, source, instrumentor from conversation_spans order by started_at")
    assert [(row["name"], row["kind"]) for row in kinds] == [
        ("POST /chat", "other"),
        ("SELECT", "other"),
        ("invoke_agent", "agent"),
        ("chat gpt-4o-mini", "llm"),
        ("execute_tool", "tool"),
        ("UPDATE", "other"),
    ]
    assert {(row["source"], row["instrumentor"]) for row in kinds} == {("otel", "test.genai")}
    assert transcript(database_url) == [("user", "What is hummus?"), ("assistant", "A dip.")]


@pytest.mark.parametrize("order", ["root first", "root last", "shuffled", "one by one", "twice"])
def test_the_order_of_delivery_does_not_matter(
    order: str, database_url: str, make_database: Callable[[Any], str]
) -> None:
    spans = made(web_request)
    root = [span for span in spans if span.parent is None]
    rest = [span for span in spans if span.parent is not None]
    batches: dict[str, list[Sequence[ReadableSpan]]] = {
        "root first": [root, rest[::-1]],
        "root last": [rest[::-1], root],
        "shuffled": [[spans[i] for i in (4, 1)], [spans[i] for i in (5, 0, 3)], [spans[2]]],
        "one by one": [[span] for span in spans],
        "twice": [spans, spans[::-1]],
    }
    other_database_url = make_database("shim")
    with psycopg.connect(other_database_url, autocommit=True) as connection:
        migrate(connection)
    plain, awkward = SupabaseSpanExporter(database_url), SupabaseSpanExporter(other_database_url)
    assert plain.export(spans) is SUCCESS
    for batch in batches[order]:
        assert awkward.export(batch) is SUCCESS
    for exporter in (plain, awkward):
        exporter.shutdown()
        assert exporter.force_flush()

    assert landed(other_database_url) == landed(database_url)


def test_a_root_that_never_comes_leaves_its_calls(database_url: str, exporter: SupabaseSpanExporter) -> None:
    spans = [span for span in made(web_request) if span.name not in ("POST /chat", "invoke_agent")]

    assert exporter.export(spans) is SUCCESS
    exporter.shutdown()

    (run,) = rows(database_url, "select status, total_tokens_used, user_id from conversation_runs")
    assert (run["status"], run["total_tokens_used"], run["user_id"]) == ("completed", 15, "ada")
    assert transcript(database_url) == [("user", "What is hummus?"), ("assistant", "A dip.")]


def test_what_hangs_beneath_a_lost_span_is_said_all_the_same(database_url: str, exporter: SupabaseSpanExporter) -> None:
    def job(tracer: Tracer) -> None:
        said = call_attributes([text("user", "What is hummus?")], text("assistant", "A dip."), tokens=None)
        with (
            tracer.start_as_current_span("job"),
            tracer.start_as_current_span("lost"),
            tracer.start_as_current_span("agent", attributes=said | {"gen_ai.operation.name": "invoke_agent"}),
        ):
            pass

    assert exporter.export([span for span in made(job) if span.name != "lost"]) is SUCCESS
    exporter.shutdown()

    assert transcript(database_url) == [("user", "What is hummus?"), ("assistant", "A dip.")]


def test_a_trace_about_no_model_makes_no_run_and_is_counted(database_url: str, exporter: SupabaseSpanExporter) -> None:
    def plain(tracer: Tracer) -> None:
        with tracer.start_as_current_span("GET /"), tracer.start_as_current_span("SELECT"):
            pass

    assert exporter.export(made(plain)) is SUCCESS
    assert exporter.force_flush()
    assert exporter.stats()["other_spans_waiting"] == 2
    exporter.shutdown()

    assert rows(database_url, "select 1 from conversation_runs") == []
    assert exporter.stats()["other_spans_without_run"] == 2


def test_other_spans_can_be_left_out(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_OTHER_SPANS", "false")
    exporter = SupabaseSpanExporter(database_url)

    assert exporter.export(made(web_request)) is SUCCESS
    exporter.shutdown()

    kinds = rows(database_url, "select kind from conversation_spans order by kind")
    assert [row["kind"] for row in kinds] == ["agent", "llm", "tool"]
    assert exporter.stats()["other_spans_left_out"] == 3
    assert transcript(database_url) == [("user", "What is hummus?"), ("assistant", "A dip.")]


def test_by_the_contract_of_the_sdk(database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    ask(provider.get_tracer("test.genai"), "Hi", "Hello")

    assert provider.force_flush()
    assert exporter.force_flush(timeout_millis=10_000)
    provider.shutdown()
    exporter.shutdown()

    assert exporter.export(made(web_request)) is FAILURE
    assert len(rows(database_url, "select 1 from conversation_spans")) == 1


def test_a_database_that_is_down_costs_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        # Bound, and never listened on: connections are refused.
        taken.bind(("127.0.0.1", 0))
        exporter = SupabaseSpanExporter(f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/nowhere")
        assert exporter.export(made(web_request)) is SUCCESS
        assert not exporter.force_flush(timeout_millis=50)
        assert exporter.stats()["backlog_records"] == exporter.stats()["accepted_records"] > 0


def test_without_a_database_there_is_one_warning_and_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    exporter = SupabaseSpanExporter()
    for _ in range(2):
        assert exporter.export(made(web_request)) is FAILURE
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert exporter.stats()["off"]


def test_what_a_full_journal_refused_can_be_delivered_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = made(web_request)
    monkeypatch.setenv("CHOPSKY_TRACE_JOURNAL_MAX_BYTES", "1500")
    monkeypatch.setenv("CHOPSKY_TRACE_SEGMENT_BYTES", "1000")
    monkeypatch.setenv("CHOPSKY_TRACE_MEMORY_MAX_BYTES", "10")
    exporter = SupabaseSpanExporter(database_url)
    assert exporter.export(spans) is FAILURE
    for span in spans:
        # What is in the database makes room in the journal.
        assert exporter.force_flush()
        assert exporter.export([span]) is SUCCESS
    exporter.shutdown()

    (run,) = rows(database_url, "select total_tokens_used from conversation_runs")
    assert run["total_tokens_used"] == 15
    assert len(rows(database_url, "select 1 from conversation_spans")) == 6


def test_a_prompt_longer_than_any_text_may_be_is_read_message_by_message(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_MAX_FIELD_BYTES", "2000")
    said = [text("user" if place % 2 == 0 else "assistant", f"{place} " + "word " * 100) for place in range(20)]
    said.append(text("user", "x" * 5_000))
    exporter = SupabaseSpanExporter(database_url)
    assert exporter.export(made(lambda tracer: ask_all(tracer, said))) is SUCCESS
    exporter.shutdown()

    (span,) = rows(database_url, "select id from conversation_spans where kind = 'llm'")
    prompt = rows(database_url, "select content from conversation_prompt(%s)", span["id"])
    assert len(prompt) == 21
    assert [row["content"] for row in prompt[:20]] == [message["parts"][0]["content"] for message in said[:20]]
    assert prompt[20]["content"].startswith("xxx")
    assert len(prompt[20]["content"]) < 3_000


def test_what_came_of_an_answer_before_the_call_failed_is_kept(
    database_url: str, exporter: SupabaseSpanExporter
) -> None:
    def work(tracer: Tracer) -> None:
        told = call_attributes([text("user", "Tell me a story")], text("assistant", "Once upon a ti"))
        with tracer.start_as_current_span("chat", attributes=told) as span:
            span.set_status(Status(StatusCode.ERROR, "the stream broke"))

    assert exporter.export(made(work)) is SUCCESS
    exporter.shutdown()

    (span,) = rows(database_url, "select status, outputs from conversation_spans")
    assert span == {"status": "failed", "outputs": {"partial": ["Once upon a ti"]}}
    assert transcript(database_url) == [("user", "Tell me a story")]


def ask_all(tracer: Tracer, said: list[Row]) -> None:
    with tracer.start_as_current_span("chat", attributes=call_attributes(said, text("assistant", "Hello"))):
        pass


def test_a_span_under_way_is_shown(database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url)
    provider = TracerProvider()
    provider.add_span_processor(SupabaseSpanProcessor(exporter))
    tracer = provider.get_tracer("test.genai")
    with context(user_id="ada", session_id="s-9", tenant_id="acme"):
        span = tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"})
    assert exporter.force_flush()
    (active,) = rows(
        database_url,
        "select s.status, r.user_id, r.session_id, r.tenant_id, r.status as run"
        " from conversation_spans s join conversation_runs r on r.id = s.conversation_run_id",
    )
    assert tuple(active.values()) == ("active", "ada", "s-9", "acme", "active")

    for name, value in call_attributes([text("user", "Hi")], text("assistant", "Hello")).items():
        span.set_attribute(name, value)
    span.end()
    provider.shutdown()

    (ended,) = rows(database_url, "select status, total_tokens, model from conversation_spans")
    assert tuple(ended.values()) == ("completed", 15, "gpt-4o-mini-2024-07-18")
    assert transcript(database_url) == [("user", "Hi"), ("assistant", "Hello")]


def test_a_forked_child_begins_anew(database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url)
    spans = made(web_request)
    assert exporter.export(spans[:2]) is SUCCESS
    child = os.fork()
    if not child:
        done = exporter.export(made(lambda tracer: ask(tracer, "In the child", "Yes"))) is SUCCESS
        os._exit(0 if done and exporter.force_flush(20_000) else 1)
    _, status = os.waitpid(child, 0)
    assert exporter.export(spans[2:]) is SUCCESS
    exporter.shutdown()

    assert status == 0
    assert len(rows(database_url, "select 1 from conversation_runs")) == 2
    assert len(rows(database_url, "select 1 from conversation_spans")) == 7


ODD: list[Any] = [
    float("nan"),
    float("inf"),
    b"\xff\x00",
    None,
    "nul\x00here",
    "lone \ud800 surrogate",
    {"nested": {"deep": [1, None, {"a": b"x"}]}},
    [1, "two", None],
    2**80,
    "x" * 1_000_000,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
@pytest.mark.parametrize(
    "name", ["gen_ai.input.messages", "gen_ai.usage.input_tokens", "gen_ai.request.model", "session.id", "metadata"]
)
def test_any_value_costs_at_most_its_field(
    name: str, odd: Any, database_url: str, exporter: SupabaseSpanExporter
) -> None:
    (span,) = made(lambda tracer: ask(tracer, "Hi", "Hello"))
    attributes = {**dict(span.attributes or {}), name: odd}
    spoiled = ReadableSpan(
        span.name,
        context=span.context,
        resource=span.resource,
        attributes=attributes,
        kind=span.kind,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )

    assert exporter.export([spoiled]) is SUCCESS
    assert exporter.force_flush()

    assert sum(exporter.stats()["losses"].values()) == 0
    (call,) = rows(database_url, "select kind, output_tokens from conversation_spans")
    assert tuple(call.values()) == ("llm", 5)
    assert ("assistant", "Hello") in transcript(database_url)


def test_what_limits_cut_off_is_marked(database_url: str, exporter: SupabaseSpanExporter) -> None:
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=6))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ask(provider.get_tracer("test.genai"), "Hi", "Hello")
    exporter.shutdown()

    (call,) = rows(database_url, "select metadata from conversation_spans")
    assert "attributes" in call["metadata"]["partial"]


def test_a_failed_call_says_why(database_url: str, exporter: SupabaseSpanExporter) -> None:
    def refused(tracer: Tracer) -> None:
        with tracer.start_as_current_span(
            "chat", attributes=call_attributes([text("user", "Hi")], None, tokens=None)
        ) as span:
            span.set_attribute("error.type", "RateLimitError")
            span.set_status(Status(StatusCode.ERROR, "Rate limit reached"))

    assert exporter.export(made(refused)) is SUCCESS
    exporter.shutdown()

    (run,) = rows(database_url, "select status, error, total_tokens_used from conversation_runs")
    assert (run["status"], run["total_tokens_used"]) == ("failed", None)
    assert run["error"] == "RateLimitError: Rate limit reached"


def test_threads_may_export_at_once(database_url: str, exporter: SupabaseSpanExporter) -> None:
    from concurrent.futures import ThreadPoolExecutor

    batches = [made(lambda tracer, n=n: ask(tracer, f"Question {n}", "Yes")) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(exporter.export, itertools.chain(batches, batches))) == {SUCCESS}
    exporter.shutdown()

    assert len(rows(database_url, "select 1 from conversation_runs")) == 40
    assert rows(database_url, "select sum(total_tokens_used)::int as sum from conversation_runs") == [{"sum": 600}]
