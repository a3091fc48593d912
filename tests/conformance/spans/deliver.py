"""The same telemetry, by every way in: an SDK's exporters in the process, and the receiver over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance.spans.corpus import Scenario
from opentelemetry._logs import LogRecord
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from chopsky_trace import SupabaseLogExporter, SupabaseSpanExporter

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def value_of(value: AnyValue) -> Any:
    """As an instrumentor gave it to the SDK."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind)


def attributes_of(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    """A list of keys and values as a mapping."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def _context(trace_id: bytes, span_id: bytes, *, remote: bool = False) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), remote, SAMPLED)


def readable_spans(request: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """The request's spans as an SDK hands them to its exporter."""
    for group in request.resource_spans:
        resource = Resource(attributes_of(group.resource.attributes))
        for scoped in group.scope_spans:
            scope = InstrumentationScope(scoped.scope.name, scoped.scope.version)
            for span in scoped.spans:
                yield ReadableSpan(
                    span.name,
                    context=_context(span.trace_id, span.span_id),
                    parent=_context(span.trace_id, span.parent_span_id) if span.parent_span_id else None,
                    resource=resource,
                    attributes=attributes_of(span.attributes),
                    events=[
                        Event(event.name, attributes_of(event.attributes), event.time_unix_nano)
                        for event in span.events
                    ],
                    kind=SpanKind(max(0, span.kind - 1)),
                    status=Status(StatusCode(span.status.code), span.status.message or None),
                    start_time=span.start_time_unix_nano,
                    end_time=span.end_time_unix_nano,
                    instrumentation_scope=scope,
                )


def readable_logs(request: ExportLogsServiceRequest) -> Iterator[ReadableLogRecord]:
    """The request's log records as an SDK hands them to its exporter."""
    for group in request.resource_logs:
        resource = Resource(attributes_of(group.resource.attributes))
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                context = _context(record.trace_id, record.span_id)
                yield ReadableLogRecord(
                    LogRecord(
                        timestamp=record.time_unix_nano,
                        observed_timestamp=record.observed_time_unix_nano,
                        context=set_span_in_context(NonRecordingSpan(context)),
                        body=value_of(record.body),
                        attributes=attributes_of(record.attributes),
                        event_name=record.event_name or None,
                    ),
                    resource,
                    InstrumentationScope(scoped.scope.name, scoped.scope.version),
                )


class Exporters:
    """The exporters of a process."""

    def __init__(self, database_url: str) -> None:
        self.spans = SupabaseSpanExporter(database_url)
        self.logs = SupabaseLogExporter(database_url)

    def traces(self, path: Path) -> None:
        """Export what a file holds."""
        request = ExportTraceServiceRequest.FromString(path.read_bytes())
        assert self.spans.export(list(readable_spans(request))).name == "SUCCESS"

    def log_records(self, path: Path) -> None:
        """Export what a file holds."""
        request = ExportLogsServiceRequest.FromString(path.read_bytes())
        assert self.logs.export(list(readable_logs(request))).name == "SUCCESS"

    def finish(self) -> None:
        """All of it is in the database, and nothing was lost."""
        self.logs.shutdown()
        self.spans.shutdown()
        assert self.spans.force_flush(60_000)
        stats = self.spans.stats()
        assert stats.get("callback_errors") is None, stats
        assert sum(stats["losses"].values()) == 0, stats


def deliver(exporters: Exporters, scenario: Scenario) -> None:
    """Everything of one scenario, spans first."""
    spans, logs = scenario.file(".pb"), scenario.file(".logs.pb")
    if spans is not None:
        exporters.traces(spans)
    if logs is not None:
        exporters.log_records(logs)
