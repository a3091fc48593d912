"""Spans and log records of an SDK's own making, and the tables they land in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, Span, Tracer, set_span_in_context
from psycopg.rows import dict_row

MODEL = "gpt-4o-mini"
Row = dict[str, Any]


def text(role: str, content: str) -> Row:
    """A message of one text, as the GenAI conventions have it."""
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def call_attributes(
    prompt: Sequence[Row] | None, answer: Row | None, *, tokens: tuple[int, int] | None = (10, 5), **more: Any
) -> Row:
    """The attributes of a chat call."""
    found: Row = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": f"{MODEL}-2024-07-18",
    }
    if tokens is not None:
        found |= {"gen_ai.usage.input_tokens": tokens[0], "gen_ai.usage.output_tokens": tokens[1]}
    if prompt is not None:
        found["gen_ai.input.messages"] = json.dumps(list(prompt))
    if answer is not None:
        found["gen_ai.output.messages"] = json.dumps([answer])
    return found | {name.replace("__", "."): value for name, value in more.items()}


def ask(tracer: Tracer, question: str, answer: str, **more: Any) -> Span:
    """One call with one question, ended."""
    with tracer.start_as_current_span(
        f"chat {MODEL}", attributes=call_attributes([text("user", question)], text("assistant", answer), **more)
    ) as span:
        return span


def made(work: Callable[[Tracer], object]) -> list[ReadableSpan]:
    """The spans that some work makes, in the order of their ends."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    work(provider.get_tracer("test.genai"))
    return list(kept.get_finished_spans())


def rows(database_url: str, query: str, *values: Any) -> list[Row]:
    """The rows of a query."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()


def transcript(database_url: str) -> list[tuple[str, str]]:
    """What users said and were answered, in order."""
    found = rows(
        database_url,
        "select m.role, m.content from conversation_messages m join conversation_runs r on r.id = m.conversation_run_id"
        " where not m.is_internal and not r.merged"
        " order by r.started_at, r.id, m.sequence",
    )
    return [(row["role"], row["content"]) for row in found]


def emit(exporter: LogRecordExporter, span: ReadableSpan, events: Sequence[tuple[str, Row]]) -> None:
    """Message events of a span, one by one."""
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("test.genai")
    assert span.start_time is not None
    context = set_span_in_context(NonRecordingSpan(span.get_span_context()))
    for place, (name, body) in enumerate(events):
        logger.emit(
            LogRecord(
                timestamp=span.start_time + place,
                context=context,
                severity_number=SeverityNumber.INFO,
                body=body,
                attributes={"gen_ai.system": "openai"},
                event_name=name,
            )
        )


def recorded(span: ReadableSpan, events: Sequence[tuple[str, Row]]) -> list[ReadableLogRecord]:
    """The log records that `emit` would send, to be delivered in any way."""
    kept = InMemoryLogRecordExporter()
    emit(kept, span, events)
    return list(kept.get_finished_logs())
