"""OTLP's JSON: ids in hex, keys in lowerCamelCase, 64-bit integers as text or number, what is unknown ignored."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from itertools import islice
from typing import Any, cast

import orjson

from chopsky_trace.errors import UndecodableError
from chopsky_trace.sources.otlp.parts import (
    MOST_DEPTH,
    MOST_EVENTS,
    NO_ID,
    NO_SPAN,
    NO_TRACE,
    Bounds,
    Decoded,
    RefusedError,
    cut,
)
from chopsky_trace.telemetry.conventions.native import Attributes, NativeEvent, NativeLog, NativeSpan

is_trace_id = re.compile(r"[0-9a-f]{32}").fullmatch
is_span_id = re.compile(r"[0-9a-f]{16}").fullmatch
is_whole = re.compile(r"[+-]?[0-9]{1,20}").fullmatch
has_surrogate = re.compile(rb"\\u[dD][89a-fA-F]").search
find_tokens = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL).finditer
MOST_JSON_DEPTH = 6 * MOST_DEPTH
"""Lists and objects in each other that are parsed: four make a level of a value, so what is kept is all within it."""
MOST_FLATTENED_BYTES = 4_000_000
"""A longer body that lies too deep is refused: to go through it would take longer than all else."""
REMOTE = 0x300
WRONG = (TypeError, ValueError, KeyError, AttributeError, OverflowError)
"""What reading a value as what it should be raises, where it is something else."""


def traces(body: bytes) -> Decoded[NativeSpan]:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        UndecodableError: it is none.
    """
    taken: list[NativeSpan] = []
    bounds = Bounds()
    for scope, resource, span in _walk(body, "resourceSpans", "scopeSpans", "spans", bounds):
        try:
            taken.append(_span(span, scope, resource, bounds))
        except RefusedError as error:
            bounds.refuse(error)
    return bounds.decoded(taken)


def logs(body: bytes) -> Decoded[NativeLog]:
    """The log records of an ExportLogsServiceRequest that belong to a span.

    Raises:
        UndecodableError: it is none.
    """
    taken: list[NativeLog] = []
    bounds = Bounds()
    aside = 0
    for scope, resource, record in _walk(body, "resourceLogs", "scopeLogs", "logRecords", bounds):
        try:
            if isinstance(record, dict) and not _names_a_span(cast("dict[str, Any]", record)):
                aside += 1
            else:
                taken.append(_log(record, scope, resource, bounds))
        except RefusedError as error:
            bounds.refuse(error)
    return bounds.decoded(taken, aside)


def event_name(attributes: Attributes) -> str:
    """An event's name, where it is no field of its own yet."""
    name = attributes.get("event.name")
    return name if isinstance(name, str) else ""


def _walk(body: bytes, outer: str, middle: str, inner: str, bounds: Bounds) -> list[tuple[str, dict[str, Any], Any]]:
    """(scope's name, resource's attributes, item) of every item of a request."""
    found: list[tuple[str, dict[str, Any], Any]] = []
    try:
        for by_resource in _list(_parsed(body), outer):
            resource = _attributes(_part(by_resource, "resource").get("attributes"), bounds)
            for by_scope in _list(by_resource, middle):
                scope = _text(_part(by_scope, "scope").get("name"))
                found += [(scope, resource, item) for item in _list(by_scope, inner)]
    except WRONG:
        raise UndecodableError(f"The body is no JSON of this request: {outer}, {middle}, {inner}") from None
    return found


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        # "depth limit exceeded", or "recursion limit", by version: only then is it worth a look.
        deep = _flattened(body) if "limit" in str(error) else None
        if deep is not None:
            return _parsed(deep)
        # A text that an SDK cut between the halves of a character: JavaScript writes it so, orjson refuses it.
        if has_surrogate(body) is None:
            raise
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except RecursionError:
        raise ValueError from None


def _flattened(body: bytes) -> bytes | None:
    """The body with null in the place of what lies too deep, which parsers refuse; None where nothing does."""
    if len(body) > MOST_FLATTENED_BYTES:
        return None
    pieces: list[bytes] = []
    depth = kept = 0
    for token in find_tokens(body):
        if token.group() in (b"[", b"{"):
            depth += 1
            if depth == MOST_JSON_DEPTH + 1:
                pieces.append(body[kept : token.start()])
        elif token.group() in (b"]", b"}"):
            if depth == MOST_JSON_DEPTH + 1:
                pieces.append(b"null")
                kept = token.end()
            depth -= 1
    # What is not closed stays, and is refused.
    return b"".join((*pieces, body[kept:])) if pieces and not depth else None


def _span(span: Any, scope: str, resource: Attributes, bounds: Bounds) -> NativeSpan:
    trace_id, span_id = _ids(span)
    bounds.item()
    before = bounds.left_out
    try:
        parent_id = span.get("parentSpanId")
        parent_id = parent_id.lower() if isinstance(parent_id, str) else ""
        status = _part(span, "status")
        attributes = _attributes(span.get("attributes"), bounds)
        events = _list(span, "events")
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
                    _attributes(event.get("attributes"), bounds),
                )
                for event in islice(events, bounds.kept(len(events), MOST_EVENTS))
            ],
            scope,
            resource,
            _unsigned(span.get("droppedAttributesCount")) + bounds.left_out - before,
            _unsigned(span.get("flags")) & REMOTE == REMOTE,
        )
    except WRONG:
        raise RefusedError("a field that is not of its type") from None


def _log(record: Any, scope: str, resource: Attributes, bounds: Bounds) -> NativeLog:
    trace_id, span_id = _ids(record)
    bounds.item()
    try:
        attributes = _attributes(record.get("attributes"), bounds)
        return NativeLog(
            trace_id,
            span_id,
            _text(record.get("eventName")) or event_name(attributes),
            _unsigned(record.get("timeUnixNano")) or _unsigned(record.get("observedTimeUnixNano")),
            _value(record.get("body"), 0, bounds),
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


def _attributes(given: Any, bounds: Bounds) -> dict[str, Any]:
    """The attributes: one of a wrong type costs that one."""
    found: dict[str, Any] = {}
    if given is None:
        return found
    if not isinstance(given, list):
        raise TypeError
    pairs = cast("list[Any]", given)
    for pair in islice(pairs, bounds.kept(len(pairs))):
        try:
            found[_text(pair["key"])] = _value(pair.get("value"), 0, bounds)
        except WRONG:
            bounds.left_out += 1
    return found


def _value(value: Any, depth: int, bounds: Bounds) -> Any:
    if value is None:
        return None
    for kind, held in value.items():
        read = READERS.get(kind)
        if read is not None and held is not None:
            return read(held, depth, bounds)
    return None


def _boolean(value: Any, depth: int, bounds: Bounds) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _double(value: Any, depth: int, bounds: Bounds) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _array(value: Any, depth: int, bounds: Bounds) -> Any:
    items = _list(value, "values")
    if depth >= MOST_DEPTH:
        return cut("list", len(items))
    return [_value(item, depth + 1, bounds) for item in islice(items, bounds.kept(len(items)))]


def _object(value: Any, depth: int, bounds: Bounds) -> Any:
    pairs = _list(value, "values")
    if depth >= MOST_DEPTH:
        return cut("dict", len(pairs))
    return {
        _text(pair["key"]): _value(pair.get("value"), depth + 1, bounds)
        for pair in islice(pairs, bounds.kept(len(pairs)))
    }


READERS: dict[str, Callable[[Any, int, Bounds], Any]] = {
    "stringValue": lambda value, depth, bounds: _text(value),
    "intValue": lambda value, depth, bounds: _signed(value),
    "boolValue": _boolean,
    "doubleValue": _double,
    "arrayValue": _array,
    "kvlistValue": _object,
    "bytesValue": lambda value, depth, bounds: b64decode(value, validate=True),
}
