"""OTLP export requests -> native spans and log records.

`traces` and `logs` take a request's body in either encoding. What is wrong with one span or log record costs that one;
only a body that cannot be read at all raises. Nothing of what is in a body gets into an error's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from chopsky_trace.errors import UndecodableError
from chopsky_trace.sources.otlp import from_json
from chopsky_trace.sources.otlp.answers import Encoding
from chopsky_trace.sources.otlp.parts import MOST_DEPTH, MOST_EVENTS, NO_ID, Bounds, Decoded, RefusedError, cut
from chopsky_trace.telemetry.conventions.native import Attributes, NativeEvent, NativeLog, NativeSpan

NO_TRACE, NO_SPAN = bytes(16), bytes(8)
REMOTE = 0x300
"""A span's flags: it is known whether its parent is in another process (0x100), and it is (0x200)."""


def traces(body: bytes, encoding: Encoding) -> Decoded[NativeSpan]:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        UndecodableError: it is none.
    """
    if encoding == "json":
        return from_json.traces(body)
    request = _parsed(ExportTraceServiceRequest, body)
    taken: list[NativeSpan] = []
    bounds = Bounds()
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes, bounds)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            for span in scope_spans.spans:
                try:
                    taken.append(_span(span, scope, resource, bounds))
                except RefusedError as error:
                    bounds.refuse(error)
    return bounds.decoded(taken)


def logs(body: bytes, encoding: Encoding) -> Decoded[NativeLog]:
    """The log records of an ExportLogsServiceRequest that belong to a span.

    Raises:
        UndecodableError: it is none.
    """
    if encoding == "json":
        return from_json.logs(body)
    request = _parsed(ExportLogsServiceRequest, body)
    taken: list[NativeLog] = []
    bounds = Bounds()
    aside = 0
    for resource_logs in request.resource_logs:
        resource = _attributes(resource_logs.resource.attributes, bounds)
        for scope_logs in resource_logs.scope_logs:
            scope = scope_logs.scope.name
            for record in scope_logs.log_records:
                if not record.trace_id.strip(b"\0") and not record.span_id.strip(b"\0"):
                    aside += 1
                    continue
                try:
                    taken.append(_log(record, scope, resource, bounds))
                except RefusedError as error:
                    bounds.refuse(error)
    return bounds.decoded(taken, aside)


def _parsed(message: Any, body: bytes) -> Any:
    try:
        return message.FromString(body)
    except (DecodeError, ValueError, RecursionError):
        # Not its words: they may quote the body.
        raise UndecodableError("The body is no protobuf of this request") from None


def _span(span: Span, scope: str, resource: Attributes, bounds: Bounds) -> NativeSpan:
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
        raise RefusedError(NO_ID)
    bounds.item()
    before = bounds.left_out
    attributes = _attributes(span.attributes, bounds)
    events = _events(span.events, bounds) if span.events else []
    status = span.status
    return NativeSpan(
        trace_id.hex(),
        span_id.hex(),
        parent_id.hex() if len(parent_id) == 8 and parent_id != NO_SPAN else None,
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        status.code,
        status.message,
        attributes,
        events,
        scope,
        resource,
        span.dropped_attributes_count + bounds.left_out - before,
        span.flags & REMOTE == REMOTE,
    )


def _log(record: LogRecord, scope: str, resource: Attributes, bounds: Bounds) -> NativeLog:
    trace_id, span_id = record.trace_id, record.span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
        raise RefusedError(NO_ID)
    bounds.item()
    attributes = _attributes(record.attributes, bounds)
    return NativeLog(
        trace_id.hex(),
        span_id.hex(),
        record.event_name or from_json.event_name(attributes),
        record.time_unix_nano or record.observed_time_unix_nano,
        _value(record.body, 0, bounds),
        attributes,
        scope,
        resource,
    )


def _events(events: Sequence[Span.Event], bounds: Bounds) -> list[NativeEvent]:
    return [
        NativeEvent(event.name, event.time_unix_nano, _attributes(event.attributes, bounds))
        for event in islice(events, bounds.kept(len(events), MOST_EVENTS))
    ]


def _attributes(pairs: Sequence[KeyValue], bounds: Bounds) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in islice(pairs, bounds.kept(len(pairs))):
        value = pair.value
        # Nearly all are texts and whole numbers: two looks cost less than asking first which it is.
        found[pair.key] = value.string_value or value.int_value or _value(value, 0, bounds)
    return found


def _value(value: AnyValue, depth: int, bounds: Bounds) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "array_value":
            items = value.array_value.values
            if depth >= MOST_DEPTH:
                return cut("list", len(items))
            return [_value(item, depth + 1, bounds) for item in islice(items, bounds.kept(len(items)))]
        case "kvlist_value":
            pairs = value.kvlist_value.values
            if depth >= MOST_DEPTH:
                return cut("dict", len(pairs))
            return {pair.key: _value(pair.value, depth + 1, bounds) for pair in islice(pairs, bounds.kept(len(pairs)))}
        case "bytes_value":
            return value.bytes_value
        case _:
            return None
