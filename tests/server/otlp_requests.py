"""OTLP requests, made by hand."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def request(count: int = 1, *, name: str = "chat", trace_id: bytes = b"t" * 16) -> ExportTraceServiceRequest:
    """A request of so many good spans."""
    made = ExportTraceServiceRequest()
    scope_spans = made.resource_spans.add().scope_spans.add()
    for number in range(1, count + 1):
        scope_spans.spans.add(trace_id=trace_id, span_id=number.to_bytes(8, "big"), name=name)
    return made


def log_request(count: int = 1) -> ExportLogsServiceRequest:
    """A request of so many good log records."""
    made = ExportLogsServiceRequest()
    scope_logs = made.resource_logs.add().scope_logs.add()
    for number in range(1, count + 1):
        scope_logs.log_records.add(trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"), event_name="gen_ai.choice")
    return made
