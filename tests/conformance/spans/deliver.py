"""The same telemetry, by every way in: an SDK's exporters in the process, and the receiver over HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx
from conformance.spans.corpus import Scenario
from opentelemetry._logs import LogRecord
from opentelemetry.attributes import BoundedAttributes
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
from server.process import serving
from server.serving import JSON, PROTOBUF

from chopsky_trace import SupabaseLogExporter, SupabaseSpanExporter
from chopsky_trace.database.connect import Connection

WAYS = ("exporter", "protobuf", "json")
"""Out of the process itself, and over HTTP in either encoding."""
TRACES, LOGS = "traces", "logs"
SUFFIXES = {"exporter": (".pb", ".logs.pb"), "protobuf": (".pb", ".logs.pb"), "json": (".otlp.json", ".logs.otlp.json")}
"""Of files with spans and with log records, by way."""
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


def _limited(pairs: Sequence[KeyValue], dropped: int) -> BoundedAttributes:
    """Attributes as the SDK keeps them: it knows how many its limits cost."""
    kept = BoundedAttributes(attributes=attributes_of(pairs), immutable=False, extended_attributes=True)
    kept.dropped = dropped
    return kept


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
                    attributes=_limited(span.attributes, span.dropped_attributes_count),
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


class Delivered(NamedTuple):
    """A connection to the database into which everything was delivered by one of the ways in."""

    way: str
    connection: Connection


class Sender(Protocol):
    """A way in."""

    def send(self, signal: str, path: Path) -> None:
        """Deliver what a file holds."""
        ...

    def end(self) -> list[str]:
        """All of it is in the database; what went wrong, if anything did."""
        ...


class Exporters:
    """The exporters of a process."""

    def __init__(self, database_url: str) -> None:
        self.spans = SupabaseSpanExporter(database_url)
        self.logs = SupabaseLogExporter(database_url)
        self.problems: list[str] = []

    def send(self, signal: str, path: Path) -> None:
        """Export what a file holds."""
        content = path.read_bytes()
        if signal == TRACES:
            self.export(list(readable_spans(ExportTraceServiceRequest.FromString(content))))
        else:
            self._taken(self.logs.export(list(readable_logs(ExportLogsServiceRequest.FromString(content)))))

    def export(self, spans: Sequence[ReadableSpan]) -> None:
        """Export some spans."""
        self._taken(self.spans.export(spans))

    def _taken(self, result: Any) -> None:
        if result.name != "SUCCESS":
            self.problems.append(f"an export was not accepted: {result}")

    def end(self) -> list[str]:
        """Shut down, as at the process' end."""
        self.logs.shutdown()
        self.spans.shutdown()
        if not self.spans.force_flush(60_000):
            self.problems.append("not all was written in time")
        stats = self.spans.stats()
        for what in ("losses", "callback_errors"):
            if stats.get(what):
                self.problems.append(f"{what}: {stats[what]}")
        return self.problems


class Receiver:
    """A client of `serve`."""

    def __init__(self, address: str, encoding: str) -> None:
        self.kind = JSON if encoding == "json" else PROTOBUF
        self.client = httpx.Client(base_url=address, trust_env=False, timeout=60)
        self.problems: list[str] = []

    def send(self, signal: str, path: Path) -> None:
        """Post what a file holds; JSON compressed."""
        content, headers = path.read_bytes(), {"Content-Type": self.kind}
        if self.kind == JSON:
            content, headers["Content-Encoding"] = gzip.compress(content, 1), "gzip"
        answer = self.client.post(f"/v1/{signal}", content=content, headers=headers)
        if answer.status_code != 200 or answer.content not in (b"", b"{}"):
            self.problems.append(f"{path}: {answer.status_code} {answer.text}")

    def end(self) -> list[str]:
        """Hang up."""
        self.client.close()
        return self.problems


@contextmanager
def way_in(way: str, database_url: str, folder: Path) -> Iterator[Sender]:
    """One of the ways in; when it is left, what was sent is in the database, and nothing was lost.

    Args:
        folder: where a receiver keeps its journal.
    """
    if way == "exporter":
        exporters = Exporters(database_url)
        yield exporters
        problems = exporters.end()
    else:
        with serving(folder, database_url, CHOPSKY_TRACE_SHUTDOWN_TIMEOUT_S="60") as server:
            receiver = Receiver(server.address, way)
            yield receiver
            problems = receiver.end()
            said = server.end()
        if "lost" in said or "stored" not in said:
            problems.append(said)
    assert not problems, "\n".join(problems)


def deliver(sender: Sender, scenarios: Iterable[Scenario], way: str) -> None:
    """Everything of some scenarios: log records after their spans, in JSON before them."""
    for scenario in scenarios:
        files = list(zip((TRACES, LOGS), SUFFIXES[way], strict=True))
        for signal, suffix in reversed(files) if way == "json" else files:
            path = scenario.file(suffix)
            if path is not None:
                sender.send(signal, path)
