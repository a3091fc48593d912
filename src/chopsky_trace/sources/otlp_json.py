"""OTLP's JSON: ids in hex, keys in lowerCamelCase, 64-bit integers as text or number, what is unknown ignored."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any, cast

import orjson

from chopsky_trace.errors import UndecodableError
from chopsky_trace.sources.otlp_parts import MOST_DEPTH, NO_ID, NO_SPAN, NO_TRACE, Decoded, Refusals, RefusedError, cut
from chopsky_trace.telemetry.conventions.native import Attributes, NativeEvent, NativeLog, NativeSpan

is_trace_id = re.compile(r"[0-9a-f]{32}").fullmatch
is_span_id = re.compile(r"[0-9a-f]{16}").fullmatch
is_whole = re.compile(r"[+-]?[0-9]{1,20}").fullmatch
has_surrogate = re.compile(rb"\\u[dD][89a-fA-F]").search
REMOTE = 0x300
WRONG = (TypeError, ValueError, KeyError, AttributeError, OverflowError)
"""What reading a value as what it should be raises, where it is something else."""


def traces(body: bytes) -> Decoded[NativeSpan]:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        UndecodableError: it is none.
    """
    taken: list[NativeSpan] = []
    refusals = Refusals()
    for scope, resource, span in _walk(body, "resourceSpans", "scopeSpans", "spans"):
        try:
            taken.append(_span(span, scope, resource))
        except RefusedError as error:
            refusals.add(error)
    return Decoded(taken, refusals.count, refusals.reason)


def logs(body: bytes) -> Decoded[NativeLog]:
    """The log records of an ExportLogsServiceRequest that belong to a span.

    Raises:
        UndecodableError: it is none.
    """
    taken: list[NativeLog] = []
    refusals = Refusals()
    aside = 0
    for scope, resource, record in _walk(body, "resourceLogs", "scopeLogs", "logRecords"):
        try:
            if isinstance(record, dict) and not _names_a_span(cast("dict[str, Any]", record)):
                aside += 1
            else:
                taken.append(_log(record, scope, resource))
        except RefusedError as error:
            refusals.add(error)
    return Decoded(taken, refusals.count, refusals.reason, aside)


def event_name(attributes: Attributes) -> str:
    """An event's name, where it is no field of its own yet."""
    name = attributes.get("event.name")
    return name if isinstance(name, str) else ""


def _walk(body: bytes, outer: str, middle: str, inner: str) -> list[tuple[str, dict[str, Any], Any]]:
    """(scope's name, resource's attributes, item) of every item of a request."""
    found: list[tuple[str, dict[str, Any], Any]] = []
    try:
        for by_resource in _list(_parsed(body), outer):
            resource, _ = _attributes(_part(by_resource, "resource").get("attributes"))
            for by_scope in _list(by_resource, middle):
                scope = _text(_part(by_scope, "scope").get("name"))
                found += [(scope, resource, item) for item in _list(by_scope, inner)]
    except WRONG:
        raise UndecodableError(f"The body is no JSON of this request: {outer}, {middle}, {inner}") from None
    return found


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        # A text that an SDK cut between the halves of a character: JavaScript writes it so, orjson refuses it.
        if has_surrogate(body) is None:
            raise
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except RecursionError:
        raise ValueError from None


def _span(span: Any, scope: str, resource: Attributes) -> NativeSpan:
    trace_id, span_id = _ids(span)
    try:
        parent_id = span.get("parentSpanId")
        parent_id = parent_id.lower() if isinstance(parent_id, str) else ""
        status = _part(span, "status")
        attributes, unread = _attributes(span.get("attributes"))
        return NativeSpan(
            trace_id,
            span_id,
            parent_id if is_span_id(parent_id) and parent_id != NO_SPAN else None,
            _text(span.get("name")),
            _enum(span.get("kind"), KINDS),
            _unsigned(span.get("startTimeUnixNano")),
            _unsigned(span.get("endTimeUnixNano")),
            _enum(status.get("code"), CODES),
            _text(status.get("message")),
            attributes,
            [
                NativeEvent(
                    _text(event.get("name")),
                    _unsigned(event.get("timeUnixNano")),
                    _attributes(event.get("attributes"))[0],
                )
                for event in _list(span, "events")
            ],
            scope,
            resource,
            _unsigned(span.get("droppedAttributesCount")) + unread,
            _unsigned(span.get("flags")) & REMOTE == REMOTE,
        )
    except WRONG:
        raise RefusedError("a field that is not of its type") from None


def _log(record: Any, scope: str, resource: Attributes) -> NativeLog:
    trace_id, span_id = _ids(record)
    try:
        attributes, _ = _attributes(record.get("attributes"))
        return NativeLog(
            trace_id,
            span_id,
            _text(record.get("eventName")) or event_name(attributes),
            _unsigned(record.get("timeUnixNano")) or _unsigned(record.get("observedTimeUnixNano")),
            _value(record.get("body"), 0),
            attributes,
            scope,
            resource,
        )
    except WRONG:
        raise RefusedError("a field that is not of its type") from None


def _ids(item: Any) -> tuple[str, str]:
    try:
        trace_id, span_id = item["traceId"].lower(), item["spanId"].lower()
        valid = is_trace_id(trace_id) and is_span_id(span_id) and trace_id != NO_TRACE and span_id != NO_SPAN
    except WRONG:
        valid = trace_id = span_id = None
    if not valid:
        raise RefusedError(NO_ID)
    return cast("str", trace_id), cast("str", span_id)


def _names_a_span(record: dict[str, Any]) -> bool:
    for key in ("traceId", "spanId"):
        given = record.get(key)
        if given and not (isinstance(given, str) and not given.strip("0")):
            return True
    return False


def _list(holder: Any, key: str) -> list[Any]:
    found = holder.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise TypeError(key)
    return cast("list[Any]", found)


def _part(holder: Any, key: str) -> dict[str, Any]:
    found = holder.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TypeError(key)
    return cast("dict[str, Any]", found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, str):
        if not is_whole(value):
            raise ValueError
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _unsigned(value: Any) -> int:
    if value is None:
        return 0
    number = _whole(value)
    if not 0 <= number < 1 << 64:
        raise ValueError
    return number


def _signed(value: Any) -> int:
    number = _whole(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError
    return number


KINDS = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
CODES = {f"STATUS_CODE_{name}": number for number, name in enumerate(("UNSET", "OK", "ERROR"))}


def _enum(value: Any, names: dict[str, int]) -> int:
    # OTLP wants the number; protobuf's usual JSON has the name, and what is unknown is 0 there.
    return names.get(value, 0) if isinstance(value, str) else _unsigned(value)


def _attributes(pairs: Any) -> tuple[dict[str, Any], int]:
    """The attributes, and how many cannot be read: one of a wrong type costs that one."""
    found: dict[str, Any] = {}
    if pairs is None:
        return found, 0
    if not isinstance(pairs, list):
        raise TypeError
    unread = 0
    for pair in cast("list[Any]", pairs):
        try:
            found[_text(pair["key"])] = _value(pair.get("value"), 0)
        except WRONG:
            unread += 1
    return found, unread


def _value(value: Any, depth: int) -> Any:
    if value is None:
        return None
    for kind, held in value.items():
        read = READERS.get(kind)
        if read is not None and held is not None:
            return read(held, depth)
    return None


def _boolean(value: Any, depth: int) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _double(value: Any, depth: int) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _array(value: Any, depth: int) -> Any:
    items = _list(value, "values")
    return [_value(item, depth + 1) for item in items] if depth < MOST_DEPTH else cut(items)


def _object(value: Any, depth: int) -> Any:
    pairs = _list(value, "values")
    if depth >= MOST_DEPTH:
        return cut({pair["key"]: None for pair in pairs})
    return {_text(pair["key"]): _value(pair.get("value"), depth + 1) for pair in pairs}


READERS: dict[str, Callable[[Any, int], Any]] = {
    "stringValue": lambda value, depth: _text(value),
    "intValue": lambda value, depth: _signed(value),
    "boolValue": _boolean,
    "doubleValue": _double,
    "arrayValue": _array,
    "kvlistValue": _object,
    "bytesValue": lambda value, depth: b64decode(value, validate=True),
}
