"""Messages that travel as log records: whenever they come, what was said is what it would have been on the span."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Tracer
from otel_spans import Row, call_attributes, emit, made, recorded, rows, transcript

from chopsky_trace import SupabaseLogExporter, SupabaseSpanExporter

TAKEN, SUCCESS = LogRecordExportResult.SUCCESS, SpanExportResult.SUCCESS

LOOKUP = {"id": "call_1", "type": "function", "function": {"name": "recipe", "arguments": '{"dish": "ramen"}'}}
FIRST: list[tuple[str, Row]] = [
    ("gen_ai.system.message", {"content": "You are a cook."}),
    ("gen_ai.user.message", {"content": "How do I make ramen?"}),
    ("gen_ai.choice", {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [LOOKUP]}}),
]
SECOND: list[tuple[str, Row]] = [
    *FIRST[:2],
    ("gen_ai.assistant.message", {"tool_calls": [LOOKUP]}),
    ("gen_ai.tool.message", {"content": "noodles, broth", "id": "call_1"}),
    ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Boil the noodles."}}),
]
ASKED = {"name": "recipe", "args": {"dish": "ramen"}, "id": "call_1"}
PROMPT = [
    ("system", "You are a cook.", None, None),
    ("user", "How do I make ramen?", None, None),
    ("assistant", "", ASKED, None),
    ("tool", "noodles, broth", None, "call_1"),
]


def turn(tracer: Tracer) -> None:
    """An agent with two calls; no message is on any span."""
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        for name in ("first", "second"):
            with tracer.start_as_current_span(name, attributes=call_attributes(None, None)):
                pass


@pytest.fixture
def logs(database_url: str) -> Iterator[SupabaseLogExporter]:
    """A log exporter into the test's own database."""
    made_ = SupabaseLogExporter(database_url)
    yield made_
    made_.shutdown()


class Turn:
    """The spans and log records of `turn`."""

    def __init__(self) -> None:
        self.spans = made(turn)
        first, second = (next(s for s in self.spans if s.name == name) for name in ("first", "second"))
        self.first, self.second = recorded(first, FIRST), recorded(second, SECOND)
        self.records = [*self.first, *self.second]


Step = Sequence[ReadableSpan] | Sequence[ReadableLogRecord]
DELIVERIES: dict[str, Callable[[Turn], Sequence[Step]]] = {
    "before the spans": lambda t: [t.records, t.spans],
    "after the spans": lambda t: [t.spans, t.records],
    "one by one before the spans": lambda t: [*([record] for record in t.records), t.spans],
    "one by one after the spans": lambda t: [t.spans, *([record] for record in t.records)],
    "cut in the middle of a prompt by the spans": lambda t: [t.records[:5], t.spans, t.records[5:]],
    "each span in the middle of its prompt": lambda t: [
        t.first[:1], t.spans[:1], t.first[1:], t.second[:3], t.spans[1:], t.second[3:]
    ],
    "the answers before the spans, the prompts after": lambda t: [
        [t.first[-1], t.second[-1]], t.spans, [*t.first[:-1], *t.second[:-1]]
    ],
    "twice before the spans": lambda t: [t.records, t.records, t.spans],
    "twice after the spans": lambda t: [t.spans, t.records, t.records],
    "before the spans and again after them": lambda t: [t.records, t.spans, t.records],
    "part of them again": lambda t: [t.spans, t.records[:5], t.records[3:]],
    "two calls interleaved, before the spans": lambda t: [
        [r for pair in itertools.zip_longest(t.first, t.second) for r in pair if r is not None], t.spans
    ],
    "two calls interleaved one by one, after the spans": lambda t: [
        t.spans, *([r] for pair in itertools.zip_longest(t.first, t.second) for r in pair if r is not None)
    ],
    "the second call's first": lambda t: [t.second, t.spans, t.first],
}  # fmt: skip


def check_turn(database_url: str) -> None:
    """Prompts, answers, transcript, finish reasons and totals of `turn`."""
    calls = rows(
        database_url,
        "select id, name, finish_reason, output_tokens from conversation_spans where kind = 'llm' order by name",
    )
    assert [(call["name"], call["finish_reason"]) for call in calls] == [("first", "tool_calls"), ("second", "stop")]
    assert [prompt(database_url, call["id"]) for call in calls] == [PROMPT[:2], PROMPT]
    assert [outputs(database_url, call["id"]) for call in calls] == [
        [("assistant", "", ASKED, None)],
        [("assistant", "Boil the noodles.", None, None)],
    ]
    assert transcript(database_url) == [("user", "How do I make ramen?"), ("assistant", "Boil the noodles.")]
    # Each once: the second call's prompt says the first's again.
    assert sorted(row["role"] for row in rows(database_url, "select role from conversation_messages")) == [
        "assistant", "assistant", "system", "tool", "user"
    ]  # fmt: skip
    (run,) = rows(database_url, "select total_messages, total_tokens_used, status from conversation_runs")
    assert tuple(run.values()) == (2, 30, "completed")


def prompt(database_url: str, span_id: Any) -> list[tuple[Any, ...]]:
    """A call's exact prompt."""
    return said(rows(database_url, "select * from conversation_prompt(%s) order by position", span_id))


def outputs(database_url: str, span_id: Any) -> list[tuple[Any, ...]]:
    """A call's answers, in order."""
    return said(
        rows(
            database_url,
            "select m.* from conversation_spans s cross join unnest(s.output_bodies) with ordinality o(body, place)"
            " left join conversation_messages m on m.body_id = o.body and m.span_id = s.id"
            " where s.id = %s order by o.place",
            span_id,
        )
    )


def said(messages: Sequence[Row]) -> list[tuple[Any, ...]]:
    """(role, text, the one tool call without its type, the call that is answered)."""
    return [
        (m["role"], m["content"] or "", next(iter(without_type(m["tool_calls"])), None), m["tool_call_id"])
        for m in messages
    ]


def without_type(calls: list[Row] | None) -> list[Row]:
    """Tool calls as name, arguments and id."""
    return [{k: v for k, v in call.items() if k != "type"} for call in calls or ()]


@pytest.mark.parametrize("order", DELIVERIES)
def test_messages_are_whole_whenever_they_come(
    order: str, database_url: str, exporter: SupabaseSpanExporter, logs: SupabaseLogExporter
) -> None:
    for step in DELIVERIES[order](Turn()):
        if isinstance(step[0], ReadableSpan):
            assert exporter.export([item for item in step if isinstance(item, ReadableSpan)]) is SUCCESS
        else:
            assert logs.export([item for item in step if isinstance(item, ReadableLogRecord)]) is TAKEN
    exporter.shutdown()
    logs.shutdown()

    check_turn(database_url)
    assert sum(logs.stats()["losses"].values()) == 0


@pytest.mark.parametrize("done", ["flushed", "shut down"])
def test_messages_may_come_after_the_spans_exporter_is_done(
    done: str, database_url: str, exporter: SupabaseSpanExporter, logs: SupabaseLogExporter
) -> None:
    told = Turn()
    assert exporter.export(told.spans) is SUCCESS
    if done == "flushed":
        assert exporter.force_flush()
    else:
        exporter.shutdown()
    assert logs.export(told.records) is TAKEN
    logs.shutdown()
    exporter.shutdown()

    check_turn(database_url)


def test_messages_may_be_settled_before_their_spans_come(
    database_url: str, exporter: SupabaseSpanExporter, logs: SupabaseLogExporter
) -> None:
    told = Turn()
    assert logs.export(told.records) is TAKEN
    logs.shutdown()
    assert exporter.export(told.spans) is SUCCESS
    exporter.shutdown()

    check_turn(database_url)


def test_with_processors_that_send_each_at_once(database_url: str) -> None:
    told = Turn()
    logs = SupabaseLogExporter(database_url)
    exporter = SupabaseSpanExporter(database_url)
    for span, events in ((told.spans[0], FIRST), (told.spans[1], SECOND)):
        emit(logs, span, events)
        assert exporter.export([span]) is SUCCESS
    assert exporter.export(told.spans[2:]) is SUCCESS
    exporter.shutdown()
    logs.shutdown()

    check_turn(database_url)


def test_messages_of_a_span_that_never_comes_are_kept(database_url: str, logs: SupabaseLogExporter) -> None:
    assert logs.export(Turn().records) is TAKEN
    logs.shutdown()

    kept = rows(database_url, "select role, content from conversation_messages order by sequence")
    assert {(row["role"], row["content"] or "") for row in kept} == {
        ("system", "You are a cook."),
        ("user", "How do I make ramen?"),
        ("assistant", ""),
        ("tool", "noodles, broth"),
        ("assistant", "Boil the noodles."),
    }
    assert len(kept) == 5


def test_log_records_that_are_no_messages_are_counted(database_url: str, logs: SupabaseLogExporter) -> None:
    (span,) = made(lambda tracer: tracer.start_span("GET /").end())
    assert logs.export(recorded(span, [("", {"content": "Listening"}), ("app.started", {"port": 80})])) is TAKEN
    logs.shutdown()

    assert logs.stats()["other_logs"] == 2
    assert rows(database_url, "select 1 from conversation_runs") == []


def test_log_records_of_no_span_are_left(database_url: str, logs: SupabaseLogExporter) -> None:
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    logger = provider.get_logger("test.genai")
    for name, body in FIRST:
        logger.emit(body=body, event_name=name)
    logs.shutdown()

    assert rows(database_url, "select 1 from conversation_messages") == []
    assert logs.stats().get("accepted_records", 0) == 0


def test_without_content_tool_calls_are_all_there_is(
    database_url: str, exporter: SupabaseSpanExporter, logs: SupabaseLogExporter
) -> None:
    told = Turn()
    bare: list[tuple[str, Row]] = [
        ("gen_ai.system.message", {}),
        ("gen_ai.user.message", {}),
        ("gen_ai.assistant.message", {"tool_calls": [{**LOOKUP, "function": {"name": "recipe"}}]}),
        ("gen_ai.tool.message", {"id": "call_1"}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}),
    ]
    assert logs.export(recorded(told.spans[1], bare)) is TAKEN
    assert exporter.export(told.spans) is SUCCESS
    exporter.shutdown()
    logs.shutdown()

    assert transcript(database_url) == []
    found = rows(database_url, "select role, tool_calls, tool_call_id from conversation_messages order by sequence")
    assert [(row["role"], row["tool_call_id"]) for row in found] == [("assistant", None), ("tool", "call_1")]


def test_several_choices_are_several_answers(
    database_url: str, exporter: SupabaseSpanExporter, logs: SupabaseLogExporter
) -> None:
    (span,) = made(lambda tracer: tracer.start_span("chat", attributes=call_attributes(None, None)).end())
    choices: list[tuple[str, Row]] = [
        ("gen_ai.choice", {"index": n, "finish_reason": reason, "message": {"content": text}})
        for n, text, reason in ((1, "Boil it.", "length"), (0, "Fry it.", "stop"))
    ]
    assert exporter.export([span]) is SUCCESS
    assert logs.export(recorded(span, [("gen_ai.user.message", {"content": "How?"}), *choices])) is TAKEN
    exporter.shutdown()
    logs.shutdown()

    assert transcript(database_url) == [("user", "How?"), ("assistant", "Fry it."), ("assistant", "Boil it.")]


@pytest.mark.parametrize("wanted", ["event_only", "span_and_event"])
def test_events_of_opentelemetrys_own_instrumentor(
    wanted: str, database_url: str, monkeypatch: pytest.MonkeyPatch, openai_url: str
) -> None:
    from openai import OpenAI
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", wanted)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT", "true")
    spans, logs = SupabaseSpanExporter(database_url), SupabaseLogExporter(database_url)
    traces, events = TracerProvider(), LoggerProvider()
    traces.add_span_processor(BatchSpanProcessor(spans))
    events.add_log_record_processor(BatchLogRecordProcessor(logs))
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=traces, logger_provider=events)
    try:
        with OpenAI(base_url=openai_url, api_key="none") as client:
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[
                    {"role": "system", "content": "You are a cook."},
                    {"role": "user", "content": "How do I make ramen?"},
                ],
            )
    finally:
        instrumentor.uninstrument()
    traces.shutdown()
    events.shutdown()

    (call,) = rows(database_url, "select id, finish_reason, total_tokens from conversation_spans")
    assert (call["finish_reason"], call["total_tokens"]) == ("stop", 75)
    assert prompt(database_url, call["id"]) == PROMPT[:2]
    assert transcript(database_url) == [
        ("user", "How do I make ramen?"),
        ("assistant", "Boil the noodles, then season."),
    ]
